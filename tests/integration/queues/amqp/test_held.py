"""How much an instance holds of a real RabbitMQ's, over all of its queues."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import gevent
import pytest
from gevent.pool import Pool
from gevent.queue import Empty

from mspc.calls.call import Call
from mspc.lanes.lanes import Lanes
from mspc.queues.amqp import message as amqp_message
from mspc.queues.amqp import unmixing
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


def publish(
    broker: Broker, queue: str, count: int, size: int, due: float, letter: bytes = b"x"
) -> None:
    payload = letter * size
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


class InLanes:
    """An open queue whose calls have lanes: those of `x` another one than of `y`."""

    def __init__(self, config: AmqpConfig, paused: str = "") -> None:
        """`paused`: the letters of lanes that are."""
        self.lanes = Lanes(config.prefetch)
        for letter in paused:
            self.lanes.pause(f"http://{letter}.test:80")
        self.opened = Opened(AmqpQueue(config, self.lanes, self._lane_of))

    def put(self, letter: bytes, size: int, count: int = 1) -> list[Call]:
        calls = [Call(letter * size) for _ in range(count)]
        Pool(8).map(self.opened.queue.put, calls)
        return calls

    def set_aside(self, letter: bytes, size: int, count: int = 1) -> None:
        """Puts calls into the first of the buckets, behind one another."""
        stock = self.opened.queue._aside._stock  # type: ignore[attr-defined]
        for _ in range(count):
            call = Call(letter * size)
            lane = self.lanes.of(self._lane_of(call))
            stock.write(next(iter(stock.buckets)), lane, call)

    def take(self) -> Delivery:
        return self.opened.take()

    def take_all(self, patience: float) -> list[Delivery]:
        """What comes until nothing has come for so many seconds."""
        taken: list[Delivery] = []
        with suppress(Empty):
            while True:
                taken.append(self.opened.take(timeout=patience))
        return taken

    def done(self, delivery: Delivery) -> None:
        delivery.ack()
        self.lanes.ended(delivery)

    def _lane_of(self, call: Call) -> str:
        return f"http://{call.payload[:1].decode()}.test:80"


@pytest.fixture
def in_lanes(config: AmqpConfig) -> Iterator[InLanes]:
    queue = InLanes(config)
    yield queue
    queue.opened.close()


def test_what_is_too_large_for_now_does_not_go_to_and_fro(
    in_lanes: InLanes, given_back: list[int]
) -> None:
    """Neither alone, nor beside others whose calls come and go."""
    in_lanes.put(b"x", 10 * MIB, 3)
    first = in_lanes.take()
    in_lanes.opened.expect_nothing(1)
    for _ in range(50):
        in_lanes.put(b"y", 10_000)
        in_lanes.done(in_lanes.take())
    assert len(given_back) < 20
    for _ in range(2):
        in_lanes.done(first)
        first = in_lanes.take()
    in_lanes.done(first)


@pytest.mark.parametrize(("size", "count"), [(MIB, 60), (3 * MIB, 20)])
def test_a_backlog_of_large_calls_is_made_without_giving_most_of_it_back(
    in_lanes: InLanes, given_back: list[int], size: int, count: int
) -> None:
    """Of a service that is slow, and answers."""
    in_lanes.put(b"x", size, count)
    in_flight = [in_lanes.take()]
    for _ in range(count - 1):
        in_flight += in_lanes.take_all(0.05)
        if not in_flight:
            in_flight.append(in_lanes.take())
        delivery = in_flight.pop(0)
        in_lanes.lanes.judge(delivery.lane, reachable=True, seconds=1.0)
        in_lanes.done(delivery)
    while in_flight:
        in_flight.pop().ack()
    in_lanes.opened.expect_nothing()
    assert len(given_back) <= 2 * count


def test_starved_calls_can_be_withdrawn(in_lanes: InLanes) -> None:
    ids = [call.id for call in in_lanes.put(b"x", MIB, 30)]
    held = [in_lanes.take(), *in_lanes.take_all(1)]
    in_lanes.opened.queue.withdraw(ids)
    for delivery in held:
        in_lanes.done(delivery)
    in_lanes.put(b"x", MIB)
    delivery = in_lanes.take()
    assert delivery.call.id not in ids
    delivery.ack()


def test_a_lane_whose_large_calls_hang_leaves_room_to_others(
    in_lanes: InLanes, config: AmqpConfig, given_back: list[int]
) -> None:
    """Calls that are not small wait for no service but their own."""
    room = config.held_bytes - config.held_bytes // 4
    count = 2 * room // MIB
    in_lanes.put(b"x", MIB, count)
    held = [in_lanes.take(), *in_lanes.take_all(2)]
    assert room // MIB // 2 - 1 <= len(held) <= room // MIB // 2 + 1
    assert len(given_back) < 3 * count

    for size in (10_000, 300_000, MIB):
        for _ in range(3):
            in_lanes.put(b"y", size)
            delivery = in_lanes.take()
            assert len(delivery.call.payload) == size
            in_lanes.done(delivery)
    for delivery in held:  # it answers again
        in_lanes.done(delivery)
    for _ in range(count - len(held)):
        in_lanes.done(in_lanes.take())
    in_lanes.opened.expect_nothing()


@pytest.fixture
def asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left alone in a bucket is asked for again before long."""
    monkeypatch.setattr(unmixing, "ASK_AGAIN_SECONDS", 0.5)


@pytest.mark.usefixtures("asked_often")
def test_large_calls_of_paused_lanes_hide_no_others_after_a_restart(
    rabbitmq: Broker, config: AmqpConfig, given_back: list[int]
) -> None:
    """More than may wait, in several buckets; nobody knows what is behind them."""
    config = replace(config, held_bytes=2 * MIB)
    InLanes(config).opened.close()  # which declares the buckets
    for number, letter in enumerate("abcd"):
        bucket = f"{config.name}.aside.{number}"
        publish(rabbitmq, bucket, 20, MIB // 16, 0.0, letter.encode())
        publish(rabbitmq, bucket, 1, 10, 0.0, b"y")
    queue = InLanes(config, paused="abcd")
    try:
        for _ in range(4):
            delivery = queue.take()
            assert delivery.call.payload == b"y" * 10
            queue.done(delivery)
        _settles(given_back)
        for letter in "abcd":
            queue.lanes.resume(f"http://{letter}.test:80")
        for _ in range(4 * 20):
            queue.done(queue.take())
        queue.opened.expect_nothing()
    finally:
        queue.opened.close()


@pytest.mark.usefixtures("asked_often")
@pytest.mark.parametrize("restart", [True, False])
def test_nor_do_calls_that_are_larger_than_what_may_wait(
    config: AmqpConfig, given_back: list[int], restart: bool
) -> None:
    """Whether nobody knows what is behind them, or its lane wants it by now."""
    config = replace(config, held_bytes=2 * MIB)
    queue = InLanes(config, paused="xy")
    try:
        queue.set_aside(b"x", MIB * 3 // 4, 3)
        queue.set_aside(b"y", 10)
        if restart:
            queue.opened.close()
            queue = InLanes(config, paused="x")
        else:
            _settles(given_back)
            queue.lanes.resume("http://y.test:80")
        delivery = queue.take()
        assert delivery.call.payload == b"y" * 10
        queue.done(delivery)
        _settles(given_back)
        queue.lanes.resume("http://x.test:80")
        for _ in range(3):
            queue.done(queue.take())
        queue.opened.expect_nothing()
    finally:
        queue.opened.close()


def _settles(given_back: list[int]) -> None:
    """What is paused is left alone at last, however often somebody asks."""
    seen = [-1]

    def quiet() -> bool:
        seen.append(len(given_back))
        gevent.sleep(4 * unmixing.ASK_AGAIN_SECONDS)
        return seen[-1] == len(given_back)

    eventually(quiet, 20)
