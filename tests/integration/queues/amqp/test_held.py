"""How much an instance holds of a real RabbitMQ's, over all of its queues."""

import time
from collections.abc import Iterator

import gevent
import pytest

from mspc.calls.call import Call
from mspc.queues.amqp import message as amqp_message
from mspc.queues.amqp.consuming import FIRST_OF_OTHERS
from mspc.queues.amqp.queue import AmqpQueue
from mspc.settings.config import AmqpConfig
from tests.support.opened import Opened
from tests.support.rabbitmq import RETRY_LEVELS, Broker
from tests.support.waiting import eventually

MIB = 2**20


@pytest.fixture
def opened(config: AmqpConfig) -> Iterator[Opened]:
    """An open queue whose deliveries nobody settles but the test."""
    opened = Opened(AmqpQueue(config))
    yield opened
    opened.close()


def publish(broker: Broker, queue: str, count: int, size: int, due: float) -> None:
    payload = b"x" * size
    with broker.connect() as connection, connection.channel() as channel:
        channel.confirm_deliveries()
        for _ in range(count):
            properties = amqp_message.encode(Call(payload), due)
            headers = {"headers": properties.headers, "delivery_mode": 2}
            assert channel.basic.publish(payload, queue, properties=headers)


def test_calls_of_all_queues_together(
    rabbitmq: Broker, opened: Opened, config: AmqpConfig
) -> None:
    levels = [f"{config.name}.retry.{level}" for level in range(RETRY_LEVELS)]
    queues = [*levels[4:], config.name]
    due = time.time() + 60
    jobs = [gevent.spawn(publish, rabbitmq, queue, 150, 100, due) for queue in queues]
    gevent.joinall(jobs, timeout=60, raise_error=True)

    def held() -> int:
        return 150 * len(queues) - rabbitmq.ready(*queues)

    # Those that only wait take a few of each level, however much room there is.
    most = config.prefetch + FIRST_OF_OTHERS * len(levels[4:])
    eventually(lambda: held() == most)
    for _ in range(20):
        assert held() == most <= config.held_calls
    assert len(opened.arrived) == config.prefetch


def test_bytes_of_all_queues_together(
    rabbitmq: Broker, opened: Opened, config: AmqpConfig
) -> None:
    queues = [config.name, f"{config.name}.retry.2", f"{config.name}.retry.5"]
    jobs = [gevent.spawn(publish, rabbitmq, queue, 30, MIB, 0.0) for queue in queues]
    gevent.joinall(jobs, timeout=60, raise_error=True)
    made = 0
    while made < 30 * len(queues):
        delivery = opened.take()
        assert (len(opened.arrived) + 1) * MIB <= config.held_bytes
        delivery.ack()
        made += 1
    opened.expect_nothing()


def test_calls_too_large_to_be_held_until_they_are_due_are_in_time(
    rabbitmq: Broker, opened: Opened, config: AmqpConfig
) -> None:
    due = time.time() + 5
    publish(rabbitmq, f"{config.name}.retry.2", 20, MIB, due)
    # Meanwhile they are not in the way of others that are large and due.
    publish(rabbitmq, config.name, 20, MIB, 0.0)
    for _ in range(20):
        opened.take(timeout=3).ack()
    for _ in range(20):
        delivery = opened.take()
        assert time.time() >= due
        assert time.time() < due + 5
        delivery.ack()
