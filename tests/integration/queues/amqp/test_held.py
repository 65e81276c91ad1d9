"""How much an instance holds of a real RabbitMQ's, over all of its queues."""

import time
from collections.abc import Iterator
from contextlib import suppress

import gevent
import pytest
from gevent.pool import Pool
from gevent.queue import Empty

from mspc.calls.call import Call
from mspc.lanes.lanes import Lanes
from mspc.queues.amqp import message as amqp_message
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.consuming import FIRST_OF_OTHERS
from mspc.queues.amqp.queue import AmqpQueue
from mspc.queues.base import Delivery
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


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tags of what was given back to RabbitMQ, one by one."""
    tags: list[int] = []
    give_back = PipelinedChannel.give_back

    def noting(channel: PipelinedChannel, tag: int) -> None:
        tags.append(tag)
        give_back(channel, tag)

    monkeypatch.setattr(PipelinedChannel, "give_back", noting)
    return tags


def test_what_is_too_large_for_now_does_not_go_to_and_fro(
    config: AmqpConfig, given_back: list[int]
) -> None:
    """Neither alone, nor beside others whose calls come and go."""
    lanes = Lanes(config.prefetch)
    names = {b"x": "http://slow.test:80", b"y": "http://answers.test:80"}
    opened = Opened(AmqpQueue(config, lanes, lambda call: names[call.payload[:1]]))
    for _ in range(3):
        opened.queue.put(Call(b"x" * 10 * MIB))
    first = opened.take()
    opened.expect_nothing(1)
    for _ in range(50):
        opened.queue.put(Call(b"y" * 10_000))
        delivery = opened.take()
        delivery.ack()
        lanes.ended(delivery)
    assert len(given_back) < 20
    for _ in range(2):
        first.ack()
        lanes.ended(first)
        first = opened.take()
    first.ack()
    lanes.ended(first)
    opened.close()


@pytest.mark.parametrize(("size", "count"), [(MIB, 60), (3 * MIB, 20)])
def test_a_backlog_of_large_calls_is_made_without_giving_most_of_it_back(
    config: AmqpConfig, given_back: list[int], size: int, count: int
) -> None:
    """Of a service that is slow, and answers."""
    lanes = Lanes(config.prefetch)
    opened = Opened(AmqpQueue(config, lanes, lambda _: "http://slow.test:80"))
    Pool(8).map(lambda _: opened.queue.put(Call(b"x" * size)), range(count))
    in_flight = [opened.take()]
    for _ in range(count - 1):
        with suppress(Empty):
            while True:
                in_flight.append(opened.take(timeout=0.05))
        if not in_flight:
            in_flight.append(opened.take())
        delivery = in_flight.pop(0)
        delivery.ack()
        lanes.judge(delivery.lane, reachable=True, seconds=1.0)
        lanes.ended(delivery)
    while in_flight:
        in_flight.pop().ack()
    opened.expect_nothing()
    assert len(given_back) <= 2 * count
    opened.close()


def test_starved_calls_can_be_withdrawn(config: AmqpConfig) -> None:
    lanes = Lanes(config.prefetch)
    opened = Opened(AmqpQueue(config, lanes, lambda _: "http://slow.test:80"))
    calls = [Call(b"x" * MIB) for _ in range(30)]
    Pool(8).map(opened.queue.put, calls)
    held = [opened.take()]
    with suppress(Empty):
        while True:
            held.append(opened.take(timeout=1))
    opened.queue.withdraw([call.id for call in calls])
    for delivery in held:
        delivery.ack()
        lanes.ended(delivery)
    opened.queue.put(Call(b"x" * MIB))
    delivery = opened.take()
    assert delivery.call.id not in {call.id for call in calls}
    delivery.ack()
    opened.close()


def test_a_lane_whose_large_calls_hang_leaves_room_to_others(
    config: AmqpConfig, given_back: list[int]
) -> None:
    """Calls that are not small wait for no service but their own."""
    lanes = Lanes(config.prefetch)
    names = {b"x": "http://hangs.test:80", b"y": "http://answers.test:80"}
    opened = Opened(AmqpQueue(config, lanes, lambda call: names[call.payload[:1]]))
    room = config.held_bytes - config.held_bytes // 4
    count = 2 * room // MIB
    Pool(8).map(lambda _: opened.queue.put(Call(b"x" * MIB)), range(count))
    held = [opened.take()]
    with suppress(Empty):
        while True:
            held.append(opened.take(timeout=2))
    assert room // MIB // 2 - 1 <= len(held) <= room // MIB // 2 + 1
    assert len(given_back) < 3 * count

    def done(delivery: Delivery) -> None:
        delivery.ack()
        lanes.ended(delivery)

    for size in (10_000, 300_000, MIB):
        for _ in range(3):
            opened.queue.put(Call(b"y" * size))
            delivery = opened.take()
            assert len(delivery.call.payload) == size
            done(delivery)
    for delivery in held:  # it answers again
        done(delivery)
    for _ in range(count - len(held)):
        done(opened.take())
    opened.expect_nothing()
    opened.close()
