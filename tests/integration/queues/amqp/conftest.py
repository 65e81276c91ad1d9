"""The settings that most of these tests use."""

from collections.abc import Iterator

import pytest

from mspc.settings.config import AmqpConfig
from tests.support.rabbitmq import Broker
from tests.support.reused import Reused


@pytest.fixture(scope="package")
def reused(rabbitmq: Broker) -> Iterator[Reused]:
    reused = Reused(rabbitmq)
    yield reused
    reused.delete()


@pytest.fixture(params=["classic", "quorum"])
def config(
    request: pytest.FixtureRequest, rabbitmq: Broker, reused: Reused
) -> AmqpConfig:
    """Of queues that are empty; tests before may have used them."""
    hosts = ((rabbitmq.host, rabbitmq.port),)
    kind = str(request.param)
    return AmqpConfig(hosts, reused.take(kind), queue_type=kind)
