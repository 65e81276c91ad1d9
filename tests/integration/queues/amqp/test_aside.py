"""Calls that are set aside on a real RabbitMQ: no lane is another one's problem."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.lanes.lanes import Lanes
from mspc.queues.amqp import topology
from mspc.queues.amqp.buckets import Bucket
from mspc.queues.amqp.queue import AmqpQueue
from mspc.queues.amqp.stock import Stock
from mspc.queues.base import Delivery
from mspc.settings.config import AmqpConfig
from tests.support.rabbitmq import Broker, RabbitNode
from tests.support.waiting import eventually

BAD, GOOD, OTHER = "http://bad:80", "http://good:80", "http://other:80"

HOUR = 3600.0


@dataclass
class Instance:
    """An open queue with lanes; what it delivers is settled, or kept by the test.

    Attributes:
        done: how often each call was delivered and acknowledged, by its id.
        attempts: of those calls, as they came.
        settles: whether what comes is acknowledged at once.
    """

    queue: AmqpQueue
    lanes: Lanes
    done: Counter[str] = field(default_factory=Counter)
    attempts: set[int] = field(default_factory=set)
    kept: list[Delivery] = field(default_factory=list)
    settles: bool = True

    def __post_init__(self) -> None:
        self.queue.start(lambda error: pytest.fail(str(error)))
        eventually(lambda: self.queue.problem() is None, 30)
        self.taker = gevent.spawn(self._take)

    def close(self) -> None:
        self.queue.close()
        self.taker.join(timeout=5)
        assert self.taker.dead, "deliveries() did not end"

    def put(self, lane: str, count: int) -> list[str]:
        """Puts calls of a lane; their ids."""
        calls = [Call(lane.encode(), lane=lane) for _ in range(count)]
        pool = Pool(50)
        for _ in pool.imap_unordered(self.queue.put, calls, maxsize=50):
            pass
        return [call.id for call in calls]

    def made(self, ids: list[str]) -> int:
        return sum(one in self.done for one in ids)

    def settle(self, delivery: Delivery) -> None:
        self.done[delivery.call.id] += 1
        self.attempts.add(delivery.call.attempts)
        delivery.ack()
        self.lanes.ended(delivery)

    def _take(self) -> None:
        for delivery in self.queue.deliveries():
            if self.settles:
                self.settle(delivery)
            else:
                self.kept.append(delivery)


Open = Callable[..., Instance]


@pytest.fixture
def open_queue(config: AmqpConfig) -> Iterator[Open]:
    opened: list[Instance] = []

    def start(*paused: str, limits: dict[str, int] | None = None) -> Instance:
        lanes = Lanes(100)
        for key in paused:
            lanes.pause(key)
        for key, rate in (limits or {}).items():
            lanes.limit(key, rate, HOUR, None)
            lanes.judge(lanes.of(key), reachable=True, seconds=0.01)
        opened.append(Instance(AmqpQueue(config, lanes, lane_of), lanes))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def lane_of(call: Call) -> str:
    return call.payload.decode()


def published_at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When calls are published from now on, in seconds of the clock."""
    times: list[float] = []
    publish = AmqpQueue.publish

    def noted(queue: AmqpQueue, *call: Any, **more: Any) -> None:
        times.append(time.monotonic())
        publish(queue, *call, **more)

    monkeypatch.setattr(AmqpQueue, "publish", noted)
    return times


def test_calls_of_a_shut_lane_are_in_nobodys_way(open_queue: Open) -> None:
    instance = open_queue(BAD)
    bad = instance.put(BAD, 1000)
    began = time.monotonic()
    good = instance.put(GOOD, 1)
    eventually(lambda: instance.made(good) == 1, 5)
    assert time.monotonic() - began < 1
    assert instance.made(bad) == 0
    assert instance.lanes.of(BAD).aside == 1000
    instance.lanes.resume(BAD)
    eventually(lambda: instance.made(bad) == 1000, 30)
    assert set(instance.done.values()) == {1}
    assert instance.attempts == {0}
    assert instance.lanes.of(BAD).aside == 0


def test_calls_that_nobody_sorted_are_sorted(
    open_queue: Open, rabbitmq: Broker, config: AmqpConfig
) -> None:
    first = open_queue()
    first.queue.cancel()  # what is put now lies in the main queue
    bad = [Call(BAD.encode()) for _ in range(500)]
    for call in bad:
        first.queue.publish(config.name, call)
    good = Call(GOOD.encode())
    first.queue.publish(config.name, good)
    first.close()
    second = open_queue(BAD)
    eventually(lambda: second.made([good.id]) == 1)
    eventually(lambda: rabbitmq.ready(config.name) == 0)
    assert second.made([call.id for call in bad]) == 0
    second.lanes.resume(BAD)
    eventually(lambda: second.made([call.id for call in bad]) == 500, 30)
    assert second.attempts == {0}


def test_so_are_those_of_more_limited_lanes_than_the_main_queue_has_room_for(
    open_queue: Open, rabbitmq: Broker, config: AmqpConfig
) -> None:
    first = open_queue()
    first.queue.cancel()
    keys = [f"http://{number}:80" for number in range(2 * config.prefetch)]
    for key in 2 * keys:
        first.queue.publish(config.name, Call(key.encode()))
    good = Call(GOOD.encode())
    first.queue.publish(config.name, good)
    first.close()
    second = open_queue(limits=dict.fromkeys(keys, 1))
    eventually(lambda: second.made([good.id]) == 1)
    eventually(lambda: rabbitmq.ready(config.name) == 0)
    eventually(lambda: len(second.done) == len(keys) + 1)
    for key in keys:
        second.lanes.unlimit(key)
    eventually(lambda: len(second.done) == 2 * len(keys) + 1, 30)
    assert set(second.done.values()) == {1}


def test_two_limited_lanes_in_one_bucket_go_at_their_rates(
    open_queue: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "ASIDES", 2)
    instance = open_queue(BAD, OTHER, limits={BAD: 1, OTHER: 100_000})
    bad, other = instance.put(BAD, 1000), instance.put(OTHER, 50)
    instance.lanes.resume(BAD)
    instance.lanes.resume(OTHER)
    eventually(lambda: instance.made(other) == 50, 30)
    assert instance.made(bad) == 1
    instance.lanes.unlimit(BAD)
    eventually(lambda: instance.made(bad) == 1000, 30)
    assert set(instance.done.values()) == {1}
    assert instance.attempts == {0}


def test_two_shut_lanes_in_one_bucket_one_opens(
    open_queue: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "ASIDES", 2)  # one of them for lanes in trouble
    instance = open_queue(BAD, OTHER)
    bad = instance.put(BAD, 1000)
    other = instance.put(OTHER, 300)
    instance.lanes.resume(OTHER)
    eventually(lambda: instance.made(other) == 300, 30)
    assert instance.made(bad) == 0
    instance.lanes.resume(BAD)
    eventually(lambda: instance.made(bad) == 1000, 30)
    assert set(instance.done.values()) == {1}
    assert instance.attempts == {0}


def test_what_is_aside_is_found_after_a_restart(open_queue: Open) -> None:
    first = open_queue(BAD, OTHER)
    bad, other = first.put(BAD, 200), first.put(OTHER, 20)
    first.close()
    second = open_queue(BAD, OTHER)
    good = second.put(GOOD, 10)
    eventually(lambda: second.made(good) == 10)
    eventually(lambda: second.lanes.of(BAD).aside == 200, 30)
    eventually(lambda: second.lanes.of(OTHER).aside == 20, 30)
    assert second.made([*bad, *other]) == 0
    second.lanes.resume(OTHER)
    eventually(lambda: second.made(other) == 20)
    second.close()
    third = open_queue(BAD)
    third.lanes.resume(BAD)
    eventually(lambda: third.made(bad) == 200)
    assert third.attempts == {0}


def test_a_lane_behind_a_shut_one_is_found_after_a_restart(
    open_queue: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "ASIDES", 2)
    first = open_queue(BAD, OTHER)
    bad, other = first.put(BAD, 100), first.put(OTHER, 5)
    first.close()
    second = open_queue(BAD)  # nobody knows here that the other one has calls
    eventually(lambda: second.made(other) == 5, 30)
    assert second.made(bad) == 0
    second.lanes.resume(BAD)
    eventually(lambda: second.made(bad) == 100)


def test_what_an_earlier_run_has_left_is_looked_through_once(
    open_queue: Open, config: AmqpConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "ASIDES", 4)  # two of them for lanes in trouble
    first = open_queue()
    first.queue.cancel()
    for number in range(40):
        bucket = f"{config.name}.aside.{number % 2}"
        first.queue.publish(bucket, Call(BAD.encode()))
    first.close()
    moved_at = published_at(monkeypatch)
    second = open_queue(BAD)
    # RabbitMQ may count some that it has delivered already.
    eventually(lambda: second.lanes.of(BAD).aside >= 40, 30)
    eventually(lambda: moved_at and time.monotonic() - moved_at[-1] > 1, 10)
    assert len(moved_at) <= 2 * 40
    second.lanes.resume(BAD)
    eventually(lambda: len(second.done) == 40, 30)
    assert set(second.done.values()) == {1}


def test_what_comes_is_found_behind_what_nobody_has_counted(
    open_queue: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart, while calls come faster than they can be counted."""
    monkeypatch.setattr(topology, "ASIDES", 2)  # one of them for lanes in trouble
    first = open_queue(BAD)
    bad = first.put(BAD, 300)
    first.close()
    monkeypatch.setattr(Stock, "count", lambda *_: None)
    second = open_queue(BAD)
    stock, good = second.queue._aside._stock, second.lanes.of(GOOD)
    call = Call(GOOD.encode(), lane=GOOD)
    stock.write(next(iter(stock.buckets)), good, call)
    stock.serve(good)
    eventually(lambda: second.made([call.id]) == 1, 30)
    assert second.made(bad) == 0
    second.lanes.resume(BAD)
    eventually(lambda: second.made(bad) == 300, 30)
    assert set(second.done.values()) == {1}


count = Stock.count


def while_something_is_written(stock: Stock, bucket: Bucket) -> None:
    """Counts it: the answer may be out by what is being written."""
    bucket.writing += 1
    try:
        count(stock, bucket)
    finally:
        bucket.writing -= 1


@pytest.mark.parametrize("counted", [count, while_something_is_written])
def test_what_another_instance_has_taken_is_not_looked_for_for_ever(
    open_queue: Open,
    monkeypatch: pytest.MonkeyPatch,
    counted: Callable[[Stock, Bucket], None],
) -> None:
    """Calls of a lane that is paused were moved to and fro between two buckets."""
    monkeypatch.setattr(topology, "ASIDES", 4)  # two of them for lanes in trouble
    monkeypatch.setattr(Stock, "count", counted)
    one = open_queue(BAD, OTHER)
    stock = one.queue._aside._stock
    bad, other = one.lanes.of(BAD), one.lanes.of(OTHER)
    calls = [Call(BAD.encode(), lane=BAD) for _ in range(40)]
    for number, call in enumerate(calls):
        stock.write(list(stock.buckets)[number % 2], bad, call)
    for bucket in list(stock.buckets)[:2]:
        bucket.expect(other)
    moved_at = published_at(monkeypatch)
    one.lanes.resume(OTHER)
    eventually(lambda: not other.aside, 30)
    eventually(lambda: not moved_at or time.monotonic() - moved_at[-1] > 1, 30)
    assert len(moved_at) <= 4 * 40
    one.lanes.resume(BAD)
    eventually(lambda: one.made([call.id for call in calls]) == 40, 30)
    assert set(one.done.values()) == {1}


def test_a_retry_under_a_shut_gate_is_not_early(open_queue: Open) -> None:
    instance = open_queue()
    instance.settles = False
    [one] = instance.put(BAD, 1)
    eventually(lambda: instance.kept)
    delivery = instance.kept.pop()
    instance.lanes.pause(BAD)
    due = time.time() + 2
    delivery.retry(delivery.call.next_attempt("no"), 2)
    instance.lanes.ended(delivery)
    instance.settles = True
    gevent.sleep(0.5)
    instance.lanes.resume(BAD)
    eventually(lambda: instance.made([one]))
    assert time.time() >= due
    assert instance.attempts == {1}
    # And one that becomes due while it is shut waits until it opens.
    instance.settles = False
    [two] = instance.put(BAD, 1)
    eventually(lambda: instance.kept)
    delivery = instance.kept.pop()
    instance.lanes.pause(BAD)
    delivery.retry(delivery.call.next_attempt("no"), 1)
    instance.lanes.ended(delivery)
    instance.settles = True
    eventually(lambda: instance.lanes.of(BAD).aside == 1)
    assert not instance.made([two])
    instance.lanes.resume(BAD)
    eventually(lambda: instance.made([two]))
    assert instance.attempts == {1}


def test_a_lane_that_shuts_with_calls_ready_gives_them_up(open_queue: Open) -> None:
    instance = open_queue()
    instance.settles = False
    ids = instance.put(BAD, 300)
    eventually(lambda: len(instance.kept) >= 30)  # of 100, unproven
    for _ in range(5):
        instance.lanes.judge(instance.lanes.of(BAD), reachable=False, seconds=0.1)
    for delivery in instance.kept:
        delivery.retry(delivery.call.next_attempt("no"), 60)
        instance.lanes.ended(delivery)
    lane = instance.lanes.of(BAD)
    eventually(lambda: len(lane.ready) <= 1)
    instance.settles = True
    good = instance.put(GOOD, 10)
    eventually(lambda: instance.made(good) == 10, 2)
    waited = len(ids) - len(instance.kept) - instance.made(ids)
    eventually(lambda: lane.waiting >= waited - 5)
    # Probes come, and the first that succeeds brings the others.
    eventually(lambda: instance.made(ids) > 0)
    instance.lanes.judge(lane, reachable=True, seconds=0.1)
    eventually(lambda: instance.made(ids) == len(ids) - len(instance.kept), 30)
    assert set(instance.done.values()) == {1}


def test_a_probe_comes_of_a_bucket_with_many_lanes(
    open_queue: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "ASIDES", 2)
    instance = open_queue(BAD, OTHER)
    instance.put(OTHER, 200)
    bad = instance.put(BAD, 10)
    lane = instance.lanes.of(BAD)
    for _ in range(5):
        instance.lanes.judge(lane, reachable=False, seconds=0.1)
    instance.lanes.resume(BAD)
    assert lane.breaker.open
    eventually(lambda: instance.made(bad) == 1, 10)


def test_a_busy_lane_leaves_room_for_others(open_queue: Open) -> None:
    instance = open_queue()
    instance.settles = False
    busy = instance.put(BAD, 1000)
    eventually(lambda: len(instance.kept) >= 30)  # of 100, unproven
    began = time.monotonic()
    [good] = instance.put(GOOD, 1)
    eventually(lambda: any(one.call.id == good for one in instance.kept), 5)
    assert time.monotonic() - began < 1
    instance.settles = True
    for delivery in instance.kept:
        instance.settle(delivery)
    eventually(lambda: instance.made(busy) == 1000, 30)
    assert set(instance.done.values()) == {1}
    assert instance.attempts == {0}


def test_many_new_lanes_that_hang_leave_the_way_free(open_queue: Open) -> None:
    """More than the main queue may have ahead, each with calls that never end."""
    instance = open_queue()
    [first] = instance.put(GOOD, 1)
    eventually(lambda: instance.made([first]))
    instance.lanes.judge(instance.lanes.of(GOOD), reachable=True, seconds=0.01)
    instance.settles = False
    hanging: list[str] = []
    for number in range(300):
        hanging += instance.put(f"http://hangs-{number}:80", 2)
    for _ in range(20):
        [good] = instance.put(GOOD, 1)
        eventually(lambda good=good: _kept(instance, good), 3)  # type: ignore[misc]
        instance.settle(_kept(instance, good)[0])
    assert not any(one in instance.done for one in hanging)


def _kept(instance: Instance, call_id: str) -> list[Delivery]:
    return [one for one in instance.kept if one.call.id == call_id]


def test_a_lost_connection_loses_nothing_aside(
    open_queue: Open, rabbitmq_node: RabbitNode
) -> None:
    instance = open_queue(BAD)
    bad = instance.put(BAD, 300)
    rabbitmq_node.close_connections("on purpose")
    eventually(lambda: instance.queue.problem() is not None)
    eventually(lambda: instance.queue.problem() is None, 30)
    good = instance.put(GOOD, 5)
    eventually(lambda: instance.made(good) == 5)
    instance.lanes.resume(BAD)
    eventually(lambda: instance.made(bad) == 300, 30)
    assert instance.attempts == {0}


def refusing(
    publish: Callable[..., None], config: AmqpConfig
) -> tuple[list[str], Callable[..., None]]:
    """The ids that a RabbitMQ refused which takes nothing aside, and how it does."""
    refused: list[str] = []

    def refuse(queue: str, call: Call, *rest: object, **more: str) -> None:
        if queue.startswith(f"{config.name}.aside"):
            refused.append(call.id)
            raise QueueUnavailable("Not now.")
        publish(queue, call, *rest, **more)

    return refused, refuse


def test_what_cannot_be_set_aside_is_kept(
    open_queue: Open, config: AmqpConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = open_queue()
    publish = instance.queue.publish
    refused, refuse = refusing(publish, config)
    monkeypatch.setattr(instance.queue, "publish", refuse)
    instance.lanes.pause(BAD)
    with pytest.raises(QueueUnavailable):
        instance.put(BAD, 1)
    calls = [Call(BAD.encode()) for _ in range(20)]
    refused.clear()
    for call in calls:
        publish(config.name, call)
    eventually(lambda: len(set(refused)) == 20)
    assert len(refused) < 100  # no tight loop
    good = instance.put(GOOD, 10)
    eventually(lambda: instance.made(good) == 10)
    monkeypatch.setattr(instance.queue, "publish", publish)
    eventually(lambda: instance.lanes.of(BAD).aside == 20)
    instance.lanes.resume(BAD)
    eventually(lambda: instance.made([call.id for call in calls]) == 20)
    assert set(instance.done.values()) == {1}


def test_what_could_not_be_set_aside_is_when_rabbitmq_takes_it(
    open_queue: Open, config: AmqpConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was ready when its lane was paused: else it takes others' room for good."""
    instance = open_queue()
    instance.settles = False
    publish = instance.queue.publish
    refused, refuse = refusing(publish, config)
    lane = instance.lanes.of(BAD)
    # It takes its time, and is no suspect for that while they are published.
    instance.lanes.judge(lane, reachable=True, seconds=60.0)
    calls = [Call(BAD.encode()) for _ in range(150)]
    for call in calls:
        publish(config.name, call)
    eventually(lambda: len(lane.ready) > 5)
    monkeypatch.setattr(instance.queue, "publish", refuse)
    instance.lanes.pause(BAD)
    eventually(lambda: refused)
    monkeypatch.setattr(instance.queue, "publish", publish)
    eventually(lambda: not lane.ready)
    eventually(lambda: lane.aside + len(instance.kept) == len(calls))
    instance.settles = True
    instance.lanes.resume(BAD)
    for delivery in instance.kept:
        instance.settle(delivery)
    eventually(lambda: instance.made([call.id for call in calls]) == len(calls))


def test_no_call_is_kept_for_a_probe_that_is_an_hour_away(open_queue: Open) -> None:
    """Half an hour unsettled, and RabbitMQ closes the channel of all."""
    instance = open_queue()
    instance.settles = False
    ids = instance.put(BAD, 150)
    lane = instance.lanes.of(BAD)
    eventually(lambda: lane.ready)
    for alone in (0.0, 0.0, 0.0, 0.0, 0.0, HOUR):
        instance.lanes.judge(lane, reachable=False, seconds=0.1, alone=alone)
    assert lane.breaker.open
    eventually(lambda: not lane.ready)
    eventually(lambda: lane.aside + len(instance.kept) == len(ids))
    instance.lanes.judge(lane, reachable=True, seconds=0.1)
    instance.settles = True
    for delivery in instance.kept:
        instance.settle(delivery)
    eventually(lambda: instance.made(ids) == len(ids), 30)


def test_retries_that_hang_hold_up_no_others_of_their_level(open_queue: Open) -> None:
    instance = open_queue()
    instance.settles = False
    hanging = [Call(BAD.encode()) for _ in range(3)]
    others = [Call(GOOD.encode()) for _ in range(20)]
    for some in (hanging, others):
        Pool(20).map(lambda call: instance.queue.retry(call, 3), some)
    eventually(lambda: len(instance.kept) >= 3)
    instance.settles = True
    for delivery in instance.kept[3:]:
        instance.settle(delivery)
    eventually(lambda: instance.made([call.id for call in others]) == 20)
    for delivery in instance.kept[:3]:
        instance.settle(delivery)


def test_several_instances_each_learn_by_themselves(open_queue: Open) -> None:
    one, two = open_queue(BAD), open_queue(BAD)
    bad = one.put(BAD, 200) + two.put(BAD, 200)
    good = one.put(GOOD, 50) + two.put(GOOD, 50)
    eventually(lambda: one.made(good) + two.made(good) == 100)
    assert one.made(bad) + two.made(bad) == 0
    two.lanes.resume(BAD)
    eventually(lambda: one.made(bad) + two.made(bad) == 400, 30)
    assert one.made(bad) == 0
    assert set(two.done.values()) == {1}


def test_closing_ends_parking_and_loses_nothing(
    open_queue: Open, config: AmqpConfig
) -> None:
    instance = open_queue()
    calls = [Call(BAD.encode()) for _ in range(300)]
    instance.lanes.pause(BAD)
    for call in calls:
        instance.queue.publish(config.name, call)
    began = time.monotonic()
    instance.close()
    assert time.monotonic() - began < 5
    again = open_queue()
    ids = [call.id for call in calls]
    eventually(lambda: again.made(ids) == 300, 30)
