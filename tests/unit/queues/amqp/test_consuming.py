"""How much of a broker's is held, with a broker that only counts."""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import cast

import pytest
from pamqp import commands

from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.consuming import Consuming
from mspc.queues.amqp.message import Message
from mspc.queues.amqp.sources import Consumer, Limits

MIB = 2**20
LIMITS = Limits(main=130, calls=300, bytes=32 * MIB)
QUEUES: dict[str, int | None] = {"main": None, **{f"retry.{k}": k for k in range(16)}}


@dataclass
class FakeConsumer:
    queue: str
    prefetch: int
    unsettled: int = 0


@dataclass
class FakeBroker:
    """Delivers as RabbitMQ does: by turns, each consumer up to its prefetch.

    Attributes:
        queues: the sizes of the calls that wait in each.
        wire: what is sent and has not arrived; it arrives although its consumer may
            have been cancelled meanwhile.
        given_back: how many calls were.
    """

    queues: dict[str, deque[int]] = field(
        default_factory=lambda: {name: deque() for name in QUEUES}
    )
    consumers: dict[str, FakeConsumer] = field(default_factory=dict)
    sent: dict[int, tuple[str, str, int]] = field(default_factory=dict)
    wire: deque[tuple[int, str, int]] = field(default_factory=deque)
    given_back: int = 0
    _prefetch: int = 0
    _tag: int = 0

    # What Consuming uses of a channel

    def limit_unsettled(self, count: int) -> None:
        assert count > 0
        self._prefetch = count

    def consume(self, queue: str, consumer: str) -> None:
        assert consumer not in self.consumers
        self.consumers[consumer] = FakeConsumer(queue, self._prefetch)

    def cancel(self, consumer: str) -> None:
        del self.consumers[consumer]

    def give_back(self, tag: int) -> None:
        queue, size = self._settle(tag)
        self.queues[queue].appendleft(size)
        self.given_back += 1

    # The broker itself

    def send(self) -> None:
        busy = True
        while busy:
            busy = False
            for name, one in self.consumers.items():
                if self.queues[one.queue] and one.unsettled < one.prefetch:
                    busy = True
                    one.unsettled += 1
                    self._tag += 1
                    size = self.queues[one.queue].popleft()
                    self.sent[self._tag] = one.queue, name, size
                    self.wire.append((self._tag, name, size))

    def ack(self, tag: int) -> None:
        self._settle(tag)

    def _settle(self, tag: int) -> tuple[str, int]:
        queue, name, size = self.sent.pop(tag)
        if name in self.consumers:
            self.consumers[name].unsettled -= 1
        return queue, size


class Instance:
    """What is lent, in order; settled by the test.

    Args:
        soon: whether calls of the ladder are due soon.
    """

    def __init__(
        self, broker: FakeBroker, limits: Limits = LIMITS, *, soon: bool = True
    ) -> None:
        self.broker = broker
        self.soon = soon
        self.lent: deque[tuple[Consumer, int, int]] = deque()
        self.most_calls = self.most_bytes = 0
        self.consuming = Consuming(
            cast("PipelinedChannel", broker), QUEUES, limits, self._lend
        )
        self.consuming.start()

    def receive(self) -> None:
        """Everything that is on its way arrives, and what follows from that."""
        self.broker.send()
        while self.broker.wire:
            tag, consumer, size = self.broker.wire.popleft()
            body = cast("bytes", range(size))  # has a length, and takes no memory
            message = Message(consumer, tag, commands.Basic.Properties(), body)
            self.consuming.arrived(message)
            self.broker.send()

    def settle(self, index: int = 0) -> None:
        self.lent.rotate(-index)
        consumer, tag, size = self.lent.popleft()
        self.broker.ack(tag)
        self.consuming.settled(consumer, size)

    def held(self) -> dict[str, int]:
        counts = dict.fromkeys(QUEUES, 0)
        for consumer, _, _ in self.lent:
            counts[consumer.source.name] += 1
        return counts

    def _lend(self, consumer: Consumer, message: Message) -> None:
        self.lent.append((consumer, message.tag, len(message.body)))
        self.most_calls = max(self.most_calls, len(self.lent))
        self.most_bytes = max(self.most_bytes, sum(one[2] for one in self.lent))
        if self.soon and not consumer.source.main:
            self.consuming.grow(consumer.source)


def fill(broker: FakeBroker, count: int, size: int, *names: str) -> None:
    for name in names or QUEUES:
        broker.queues[name].extend([size] * count)


def test_new_calls_keep_every_consumer_busy() -> None:
    broker = FakeBroker()
    fill(broker, 1000, 500, "main")
    instance = Instance(broker)
    instance.receive()
    assert len(instance.lent) == LIMITS.main
    assert broker.given_back == 0


def test_one_retry_queue_can_keep_every_consumer_busy() -> None:
    broker = FakeBroker()
    fill(broker, 1000, 500, "retry.2")
    instance = Instance(broker)
    instance.receive()
    assert len(instance.lent) >= 100
    assert broker.given_back == 0


def test_retry_queues_whose_calls_only_wait_leave_the_room_to_others() -> None:
    broker = FakeBroker()
    fill(broker, 1000, 500, "retry.4", "retry.5")
    instance = Instance(broker, soon=False)
    instance.receive()
    assert instance.held()["retry.4"] == instance.held()["retry.5"] == 3


def test_full_queues_together_hold_no_more_than_the_limit() -> None:
    broker = FakeBroker()
    fill(broker, 1000, 500)
    instance = Instance(broker)
    instance.receive()
    assert LIMITS.calls - 2 * len(QUEUES) <= len(instance.lent) <= LIMITS.calls
    assert min(instance.held().values()) > 0


@pytest.mark.parametrize("size", [64_000, MIB, 5 * MIB, 16_000_000])
def test_large_calls_hold_no_more_bytes_than_the_limit(size: int) -> None:
    broker = FakeBroker()
    fill(broker, 100, size)
    instance = Instance(broker)
    instance.receive()
    assert instance.most_bytes <= LIMITS.bytes
    assert instance.lent
    made = 0
    while instance.lent:
        instance.settle()
        instance.receive()
        assert instance.most_bytes <= LIMITS.bytes
        made += 1
    assert made == 100 * len(QUEUES)


def test_one_call_larger_than_the_limit_is_made_alone() -> None:
    broker = FakeBroker()
    limits = Limits(main=20, calls=102, bytes=MIB)
    fill(broker, 5, 16 * MIB, "main", "retry.3")
    instance = Instance(broker, limits)
    instance.receive()
    made = 0
    while instance.lent:
        assert len(instance.lent) == 1
        instance.settle()
        instance.receive()
        made += 1
    assert made == 10


def test_small_calls_never_wait_for_the_bytes_of_large_ones() -> None:
    broker = FakeBroker()
    fill(broker, 100, MIB, "retry.2")
    instance = Instance(broker)
    instance.receive()
    large = len(instance.lent)
    fill(broker, 1000, 500, "main", "retry.5")
    instance.receive()
    held = instance.held()
    assert held["retry.2"] == large
    assert held["main"] == LIMITS.main
    assert held["retry.5"] > 3


def test_a_large_call_is_not_passed_for_ever_by_smaller_ones() -> None:
    broker = FakeBroker()
    fill(broker, 10_000, MIB, "retry.2")
    instance = Instance(broker)
    instance.receive()
    fill(broker, 1, 16 * MIB, "main")
    for _ in range(200):
        instance.settle()
        instance.receive()
        if instance.held()["main"]:
            break
    assert instance.held()["main"] == 1


def test_two_that_wait_for_the_same_room_are_not_refused_for_each_others_sake() -> None:
    broker = FakeBroker()
    fill(broker, 1, 10 * MIB, "retry.0")
    instance = Instance(broker)
    instance.receive()
    fill(broker, 2, 10 * MIB, "main", "retry.5")
    fill(broker, 1, 10 * MIB, "retry.7")
    instance.receive()
    assert len(instance.lent) == 2
    given_back = broker.given_back
    instance.settle()
    instance.receive()
    assert len(instance.lent) == 2  # of those that waited, as many as there is room for
    for _ in range(50):
        fill(broker, 1, 500, "retry.8")
        instance.receive()
        instance.settle(-1)
    assert broker.given_back <= given_back + 3


def test_a_stream_of_large_calls_is_seldom_given_back() -> None:
    broker = FakeBroker()
    fill(broker, 5000, MIB, "main")
    instance = Instance(broker)
    instance.receive()
    while instance.lent:
        instance.settle()
        instance.receive()
    assert broker.given_back <= LIMITS.main + 50


def test_the_window_opens_again_when_calls_are_small_again() -> None:
    broker = FakeBroker()
    fill(broker, 200, MIB, "main")
    instance = Instance(broker)
    instance.receive()
    while instance.lent:
        instance.settle()
        instance.receive()
    fill(broker, 1000, 500, "main")
    for _ in range(300):
        instance.receive()
        instance.settle()
    instance.receive()
    assert len(instance.lent) == LIMITS.main


def test_busy_retry_queues_share_and_get_what_others_no_longer_need() -> None:
    broker = FakeBroker()
    fill(broker, 500, 500, "retry.1")
    instance = Instance(broker)
    instance.receive()
    fill(broker, 2000, 500, "retry.4")
    shared = 0
    while instance.held()["retry.1"]:
        instance.settle()
        instance.receive()
        shared = max(shared, instance.held()["retry.4"])
    assert shared >= 40
    for _ in range(300):
        instance.settle()
        instance.receive()
    assert instance.held()["retry.4"] >= 100


def test_a_paused_queue_is_left_alone_until_it_is_resumed() -> None:
    broker = FakeBroker()
    fill(broker, 500, 500, "retry.7")
    instance = Instance(broker)
    instance.receive()
    source = instance.lent[0][0].source
    instance.consuming.pause(source)
    while instance.lent:
        instance.settle()
    instance.receive()
    assert not instance.lent
    instance.consuming.resume(source)
    instance.receive()
    assert instance.lent


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_the_limits_hold_and_every_call_is_made(seed: int) -> None:
    chance = random.Random(seed)
    broker = FakeBroker()
    limits = chance.choice([LIMITS, Limits(20, 102, MIB), Limits(230, 500, 64 * MIB)])
    instance = Instance(broker, limits)
    sizes = [100, 30_000, 300_000, MIB, 4 * MIB, 16 * MIB]
    expected = made = 0
    paused = []
    for _ in range(600):
        match chance.randrange(6):
            case 0:
                count = chance.choice([1, 5, 60])
                fill(broker, count, chance.choice(sizes), chance.choice([*QUEUES]))
                expected += count
            case 1 if instance.lent:
                paused.append(chance.choice(instance.lent)[0].source)
                instance.consuming.pause(paused[-1])
            case 2 if paused:
                instance.consuming.resume(paused.pop(chance.randrange(len(paused))))
            case 3:
                broker.send()  # it arrives after whatever comes next
            case 4:
                instance.receive()
            case _ if instance.lent:
                instance.settle(chance.randrange(len(instance.lent)))
                made += 1
        assert len(instance.lent) <= limits.calls
        held = sum(size for _, _, size in instance.lent)
        largest = max((size for _, _, size in instance.lent), default=0)
        assert held <= limits.bytes or held - largest <= limits.bytes // 4
    for source in paused:
        instance.consuming.resume(source)
    instance.receive()
    while instance.lent:
        instance.settle()
        made += 1
        instance.receive()
    assert made == expected


def test_nothing_is_delivered_after_a_stop() -> None:
    broker = FakeBroker()
    fill(broker, 100, MIB, "main")
    instance = Instance(broker)
    instance.receive()
    instance.consuming.stop()
    held = len(instance.lent)
    while instance.lent:
        instance.settle()
        instance.receive()
    assert not broker.consumers
    assert len(broker.queues["main"]) == 100 - held
