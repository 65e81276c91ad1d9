"""What the contracts of queues share."""

from collections.abc import Iterator

import pytest

from tests.support.rabbitmq import Broker
from tests.support.reused import Reused


@pytest.fixture(scope="package")
def reused(rabbitmq: Broker) -> Iterator[Reused]:
    reused = Reused(rabbitmq)
    yield reused
    reused.delete()


@pytest.fixture
def queue_name(reused: Reused, backend: str) -> str:
    """Of queues that are empty; tests before may have used them."""
    return reused.take("quorum" if backend == "amqp-quorum" else "classic")
