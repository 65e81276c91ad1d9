"""The settings that most of these tests use."""

import pytest

from mspc.settings.config import AmqpConfig
from tests.support.rabbitmq import Broker


@pytest.fixture(params=["classic", "quorum"])
def config(
    request: pytest.FixtureRequest, rabbitmq: Broker, queue_name: str
) -> AmqpConfig:
    hosts = ((rabbitmq.host, rabbitmq.port),)
    return AmqpConfig(hosts, queue_name, queue_type=str(request.param))
