"""What every queue with lanes promises: a bad target is nobody else's problem.

The gates are opened and shut by the tests: what shuts them in service is the breaker.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.lanes.lanes import Lanes
from mspc.queues.base import Delivery, Queue
from mspc.queues.opening import open_queue
from mspc.settings.config import AmqpConfig, SqliteConfig
from tests.support.clock import Clock
from tests.support.memory import MemoryQueue, MemoryStore
from tests.support.opened import Opened
from tests.support.rabbitmq import Broker
from tests.support.waiting import eventually

BAD, GOOD = "http://bad.test:80", "http://good.test:80"
DELAY_SECONDS = 0.4
BACKLOG = 1000
HOUR = 3600.0
BACKENDS = ["memory", "sqlite", "amqp-classic", "amqp-quorum", "spooled-amqp"]

Reopen = Callable[[Lanes], Opened]


@pytest.fixture
def prefetch() -> int:
    """The tests take all of a lane's calls before they settle one."""
    return 2 * BACKLOG


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(
    request: pytest.FixtureRequest, backend: str, tmp_path: Path, prefetch: int
) -> Callable[[Lanes], Queue]:
    """Makes a queue, again and again on the same store."""
    if backend == "memory":
        store = MemoryStore()
        return lambda lanes: MemoryQueue(store, lanes)
    if backend == "sqlite":
        file = SqliteConfig(tmp_path / "queue.db")
        return lambda lanes: open_queue(file, lanes, lane_of)
    broker: Broker = request.getfixturevalue("rabbitmq")
    config = AmqpConfig(
        hosts=((broker.host, broker.port),),
        name=request.getfixturevalue("queue_name"),
        queue_type="quorum" if backend == "amqp-quorum" else "classic",
        prefetch=prefetch,
        held_calls=3 * prefetch,
        spool=tmp_path / "spool.db" if backend == "spooled-amqp" else None,
    )
    return lambda lanes: open_queue(config, lanes, lane_of)


@pytest.fixture
def reopen(make: Callable[[Lanes], Queue]) -> Iterator[Reopen]:
    opened: list[Opened] = []

    def again(lanes: Lanes) -> Opened:
        if opened:
            opened[-1].close()
        opened.append(Opened(make(lanes)))
        return opened[-1]

    yield again
    if opened:
        opened[-1].close()


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(size=10_000)


def lane_of(call: Call) -> str:
    return call.payload.decode().split()[0]


def shut(lane: str) -> Lanes:
    lanes = Lanes(size=10_000)
    lanes.pause(lane)
    return lanes


def put(opened: Opened, lane: str, count: int, size: int = 0) -> list[str]:
    texts = [f"{lane} {number} {'x' * size}" for number in range(count)]
    calls = [Call(text.encode(), lane=lane) for text in texts]
    Pool(50).map(opened.queue.put, calls)
    return [call.id for call in calls]


def take(opened: Opened, count: int) -> list[Delivery]:
    return [opened.take() for _ in range(count)]


def test_a_shut_lane_is_in_nobodys_way(reopen: Reopen, lanes: Lanes) -> None:
    opened = reopen(lanes)
    lanes.pause(BAD)
    bad = put(opened, BAD, BACKLOG)
    for _ in range(3):
        (good,) = put(opened, GOOD, 1)
        delivery = opened.take()
        assert delivery.call.id == good
        delivery.ack()
    opened.expect_nothing()
    lanes.resume(BAD)
    deliveries = take(opened, BACKLOG)
    assert sorted(one.call.id for one in deliveries) == sorted(bad)
    assert {one.call.attempts for one in deliveries} == {0}
    for one in deliveries:
        one.ack()
    opened.expect_nothing()


@pytest.mark.parametrize("sizes", [(0, 20_000, 0), (20_000,), (0,), (4_000, 0)])
def test_a_lane_that_is_shut_for_a_while_has_all_its_calls(
    reopen: Reopen, sizes: tuple[int, ...]
) -> None:
    """Whatever was ready then, and however large it is."""
    lanes = Lanes(size=1)
    opened = reopen(lanes)
    put(opened, GOOD, 1)
    first = opened.take()
    ids = [call_id for size in sizes for call_id in put(opened, BAD, 4, size)]
    for _ in range(3):
        lanes.pause(BAD)
        lanes.resume(BAD)
    made = []
    pass_on(lanes, first)
    for _ in ids:
        delivery = opened.take()
        made.append(delivery.call.id)
        pass_on(lanes, delivery)
    assert sorted(made) == sorted(ids)
    opened.expect_nothing()


def test_so_it_is_after_a_restart(reopen: Reopen) -> None:
    opened = reopen(shut(BAD))
    bad = put(opened, BAD, BACKLOG)
    again = shut(BAD)
    opened = reopen(again)
    (good,) = put(opened, GOOD, 1)
    delivery = opened.take()
    assert delivery.call.id == good
    delivery.ack()
    opened.expect_nothing()
    again.resume(BAD)
    deliveries = take(opened, BACKLOG)
    assert sorted(one.call.id for one in deliveries) == sorted(bad)
    assert {one.call.attempts for one in deliveries} == {0}


def test_a_lane_that_was_shut_before_a_restart_need_not_be_after_it(
    reopen: Reopen, lanes: Lanes
) -> None:
    bad = put(reopen(shut(BAD)), BAD, 300)
    deliveries = take(reopen(lanes), 300)
    assert sorted(one.call.id for one in deliveries) == sorted(bad)


def pass_on(lanes: Lanes, delivery: Delivery) -> None:
    """Its attempt has succeeded."""
    delivery.ack()
    lanes.judge(delivery.lane, reachable=True, seconds=0.01)
    lanes.ended(delivery)


def limit_when_there_is_a_backlog(lanes: Lanes, opened: Opened) -> None:
    put(opened, BAD, BACKLOG)
    lanes.limit(BAD, 1, HOUR, None)


def limit_before_there_is_one(lanes: Lanes, opened: Opened) -> None:
    lanes.limit(BAD, 1, HOUR, None)
    put(opened, BAD, BACKLOG)


@pytest.mark.parametrize(
    "begin", [limit_when_there_is_a_backlog, limit_before_there_is_one]
)
def test_a_limited_lane_is_in_nobodys_way_and_goes_at_its_rate(
    reopen: Reopen, begin: Callable[[Lanes, Opened], None]
) -> None:
    clock = Clock(1000.0)
    lanes = Lanes(size=10, clock=clock)
    lanes.pause(BAD)
    opened = reopen(lanes)
    begin(lanes, opened)
    lanes.resume(BAD)
    made = set()
    for _ in range(4):
        delivery = opened.take()
        assert delivery.lane.key == BAD
        made.add(delivery.call.id)
        pass_on(lanes, delivery)
        opened.expect_nothing()
        for _ in range(3):
            (good,) = put(opened, GOOD, 1)
            delivery = opened.take()
            assert delivery.call.id == good
            pass_on(lanes, delivery)
        clock.now += HOUR
        lanes.changed.set()  # whoever waits has looked at the clock before
    assert len(made) == 4


@pytest.mark.parametrize("prefetch", [100])
def test_many_limited_lanes_are_in_nobodys_way(reopen: Reopen, prefetch: int) -> None:
    """More than the main queue has deliveries ahead."""
    lanes = Lanes(size=100, clock=Clock(1000.0))
    opened = reopen(lanes)
    keys = [f"http://{number}.test:80" for number in range(3 * prefetch)]
    for key in keys:
        lanes.limit(key, 1, HOUR, None)
    for _ in range(2):
        calls = [Call(f"{key} x".encode(), lane=key) for key in keys]
        Pool(50).map(opened.queue.put, calls)
    came = []
    for _ in keys:
        delivery = opened.take()
        came.append(delivery.lane.key)
        pass_on(lanes, delivery)
    assert sorted(came) == sorted(keys)
    (good,) = put(opened, GOOD, 1)
    assert opened.take().call.id == good


def test_a_lane_has_no_more_in_flight_than_its_limit(reopen: Reopen) -> None:
    lanes = Lanes(size=100)
    lanes.limit(BAD, None, 1.0, 2)
    opened = reopen(lanes)
    bad = put(opened, BAD, 300)
    made = set()
    held = take(opened, 2)
    opened.expect_nothing()
    (good,) = put(opened, GOOD, 1)
    delivery = opened.take()
    assert delivery.call.id == good
    pass_on(lanes, delivery)
    while held:
        delivery = held.pop(0)
        made.add(delivery.call.id)
        pass_on(lanes, delivery)
        if len(made) < 299:
            held.append(opened.take())
    assert made == set(bad)
    opened.expect_nothing()


def test_a_lane_whose_limit_is_taken_back_gets_all_it_has(reopen: Reopen) -> None:
    lanes = Lanes(size=10_000, clock=Clock(1000.0))
    lanes.limit(BAD, 1, HOUR, None)
    opened = reopen(lanes)
    bad = put(opened, BAD, 300)
    first = opened.take()
    opened.expect_nothing()
    lanes.unlimit(BAD)
    deliveries = [first, *take(opened, 299)]
    assert sorted(one.call.id for one in deliveries) == sorted(bad)


def test_a_retry_under_a_shut_gate_waits_for_both(reopen: Reopen) -> None:
    lanes = shut("http://other.test:80")
    opened = reopen(lanes)
    put(opened, BAD, 1)
    delivery = opened.take()
    lanes.pause(BAD)
    delivery.retry(delivery.call.next_attempt("no"), DELAY_SECONDS)
    opened.expect_nothing(2 * DELAY_SECONDS)
    lanes.resume(BAD)
    delivery = opened.take()
    assert delivery.call.attempts == 1
    lanes.pause(BAD)
    delivery.retry(delivery.call.next_attempt("no"), 5 * DELAY_SECONDS)
    lanes.resume(BAD)
    opened.expect_nothing(2 * DELAY_SECONDS)
    assert opened.take().call.attempts == 2


@pytest.mark.parametrize("settle", ["ack", "bury", "retry"])
def test_what_was_taken_can_be_settled_though_its_lane_is_shut(
    reopen: Reopen, lanes: Lanes, settle: str
) -> None:
    opened = reopen(lanes)
    put(opened, BAD, 1)
    delivery = opened.take()
    lanes.pause(BAD)
    failed = delivery.call.next_attempt("no")
    match settle:
        case "ack":
            delivery.ack()
        case "bury":
            delivery.bury(failed, "no")
        case _:
            delivery.retry(failed, 0.01)
    again = Lanes(size=10)
    opened = reopen(again)
    if settle == "retry":
        assert opened.take().call.attempts == 1
    opened.expect_nothing()


def test_a_lane_has_no_more_in_flight_than_it_may(reopen: Reopen) -> None:
    """One lane alone: as many as are left for others."""
    lanes = Lanes(size=20)
    opened = reopen(lanes)
    put(opened, BAD, 100)
    first = opened.take()
    lanes.judge(first.lane, reachable=True, seconds=0.01)
    first.ack()
    lanes.ended(first)
    held = take(opened, 10)
    opened.expect_nothing()
    (good,) = put(opened, GOOD, 1)
    assert opened.take().call.id == good
    for one in held:
        one.ack()
        lanes.ended(one)
    assert len(take(opened, 9)) == 9


def test_lanes_with_a_backlog_take_turns(reopen: Reopen) -> None:
    lanes = Lanes(size=1)
    lanes.pause(BAD)
    lanes.pause(GOOD)
    opened = reopen(lanes)
    put(opened, BAD, 500)
    put(opened, GOOD, 500)
    lanes.resume(BAD)
    lanes.resume(GOOD)
    came = []
    both = [lanes.of(key) for key in (BAD, GOOD)]
    for _ in range(1000):
        # Whoever has nothing ready yet has no turn: a broker may be slow to bring it.
        eventually(lambda: all(one.ready or not one.aside for one in both))
        delivery = opened.take()
        came.append(delivery.lane.key)
        delivery.ack()
        lanes.judge(delivery.lane, reachable=True, seconds=0.01)
        lanes.ended(delivery)
    # The first ones may have come while the second lane was still being read.
    for start in range(100, 700, 100):
        counts = Counter(came[start : start + 100])
        assert 40 <= counts[BAD] <= 60, counts


def test_one_of_two_shut_lanes_opens(reopen: Reopen) -> None:
    lanes = shut(BAD)
    lanes.pause(GOOD)
    opened = reopen(lanes)
    put(opened, BAD, 300)
    good = put(opened, GOOD, 300)
    lanes.resume(GOOD)
    deliveries = take(opened, 300)
    assert sorted(one.call.id for one in deliveries) == sorted(good)
    opened.expect_nothing()


def test_a_probe_asks_for_one_call_at_a_time(reopen: Reopen) -> None:
    lanes = Lanes(size=100, failures=2, longest_probe=1.0)
    opened = reopen(lanes)
    lanes.pause(BAD)
    put(opened, BAD, 500)
    lane = lanes.of(BAD)
    for _ in range(2):
        lanes.judge(lane, reachable=False, seconds=0.01)
    lanes.resume(BAD)
    opened.expect_nothing()
    for _ in range(2):
        probe = opened.take(timeout=5)
        probe.retry(probe.call.next_attempt("no"), 60)
        lanes.judge(lane, reachable=False, seconds=0.01)
        lanes.ended(probe)
        opened.expect_nothing()
    probe = opened.take(timeout=5)
    probe.ack()
    lanes.judge(lane, reachable=True, seconds=0.01)
    lanes.ended(probe)
    came = 0
    while came < 497:
        delivery = opened.take(timeout=5)
        delivery.ack()
        lanes.judge(lane, reachable=True, seconds=0.01)
        lanes.ended(delivery)
        came += 1
    eventually(lambda: lane.waiting == 0)
