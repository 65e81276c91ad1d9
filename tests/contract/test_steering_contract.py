"""What every queue does to calls of which somebody knows the ids.

Where queues may differ, the tests ask whether it looks calls up.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from gevent.pool import Pool
from msgspec.structs import replace

from mspc.calls.call import Call, first_call_id
from mspc.errors import QueueUnavailable
from mspc.lanes.lanes import Lanes
from mspc.queues.base import Kept, Queue
from mspc.queues.opening import open_queue
from mspc.settings.config import AmqpConfig, SqliteConfig
from tests.support.memory import MemoryQueue, MemoryStore
from tests.support.opened import SILENCE_SECONDS, Opened
from tests.support.rabbitmq import Broker
from tests.support.waiting import eventually

BACKENDS = ["memory", "sqlite", "amqp-classic", "amqp-quorum", "spooled-amqp"]
LANE = "http://service.test:80"
NOBODY = "0" * 32
# When a retry is due that something is to happen before, on a slow machine too: storing
# two takes a while.
SOON = 1.0
SIZES = pytest.mark.parametrize("size", [10, 5_000, 300_000])

Make = Callable[[Lanes], Queue]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Make:
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
        spool=tmp_path / "spool.db" if backend == "spooled-amqp" else None,
    )
    return lambda lanes: open_queue(config, lanes, lane_of)


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(size=1000)


@pytest.fixture
def reopen(make: Make, lanes: Lanes) -> Iterator[Callable[[], Opened]]:
    """Opens the queue; closes the one opened before."""
    opened: list[Opened] = []

    def again() -> Opened:
        if opened:
            opened[-1].close()
        opened.append(Opened(make(Lanes(size=1000) if opened else lanes)))
        return opened[-1]

    yield again
    if opened:
        opened[-1].close()


@pytest.fixture
def opened(reopen: Callable[[], Opened]) -> Opened:
    return reopen()


@pytest.fixture
def queue(opened: Opened) -> Queue:
    return opened.queue


def lane_of(_: Call) -> str:
    return LANE


def call_of(size: int = 10) -> Call:
    return Call(b"x" * size, lane=LANE)


def stored(opened: Opened, count: int, size: int = 10) -> list[Call]:
    calls = [call_of(size) for _ in range(count)]
    Pool(20).map(opened.queue.put, calls)
    return calls


def buried(opened: Opened, count: int, size: int = 10) -> list[Call]:
    """Dead letters, each after an attempt that failed."""
    calls = {call.id: call for call in stored(opened, count, size)}
    for _ in range(count):
        delivery = opened.take()
        delivery.bury(delivery.call.next_attempt("500"), "max_attempts")
    return list(calls.values())


def waiting(opened: Opened, delay: float, size: int = 10) -> Call:
    """A call that waits for its second attempt."""
    opened.queue.put(call_of(size))
    delivery = opened.take()
    call = delivery.call.next_attempt("500")
    delivery.retry(call, delay)
    return call


def taken(opened: Opened, count: int) -> set[str]:
    """The ids of the next calls, which are made."""
    ids = set()
    for _ in range(count):
        delivery = opened.take()
        ids.add(delivery.call.id)
        delivery.ack()
    return ids


# ---- withdraw


@SIZES
def test_a_withdrawn_call_that_waits_is_not_made(
    opened: Opened, queue: Queue, size: int
) -> None:
    call = waiting(opened, SOON, size)
    other = waiting(opened, SOON, size)
    assert queue.withdraw([call.id]) == [call.id]
    assert taken(opened, 1) == {other.id}
    opened.expect_nothing(SOON + SILENCE_SECONDS)


@SIZES
def test_what_is_ready_is_withdrawn(
    opened: Opened, queue: Queue, lanes: Lanes, size: int
) -> None:
    lanes.pause(LANE)
    calls = stored(opened, 40, size)
    gone, left = calls[::2], calls[1::2]
    assert sorted(queue.withdraw([call.id for call in gone])) == sorted(
        call.id for call in gone
    )
    lanes.resume(LANE)
    assert taken(opened, len(left)) == {call.id for call in left}
    opened.expect_nothing()
    lane = lanes.of(LANE)
    eventually(lambda: not lane.waiting)
    more = stored(opened, 5, size)
    assert taken(opened, 5) == {call.id for call in more}


def test_withdrawn_calls_take_no_probe_from_the_others(
    opened: Opened, queue: Queue, lanes: Lanes
) -> None:
    """A service that is down: its calls are withdrawn, and then one comes that is not.

    The service is asked once a while only, so each attempt has to be of a real call.
    """
    for _ in range(5):
        lanes.judge(lanes.of(LANE), reachable=False, seconds=0.1)
    assert lanes.of(LANE).shut
    calls = stored(opened, 50)
    queue.withdraw([call.id for call in calls])
    last = call_of()
    queue.put(last)
    assert opened.take().call.id == last.id


def test_a_call_that_is_lent_stays(opened: Opened, queue: Queue) -> None:
    call = call_of()
    queue.put(call)
    delivery = opened.take()
    reached = queue.withdraw([call.id, NOBODY])
    assert reached == ([] if queue.looks_up else [call.id, NOBODY])
    delivery.retry(delivery.call.next_attempt("500"), 0.05)
    if queue.looks_up:
        assert opened.take().call.attempts == 1
    else:
        opened.expect_nothing()


def test_a_withdrawn_call_stays_away(
    reopen: Callable[[], Opened], lanes: Lanes
) -> None:
    opened = reopen()
    call = waiting(opened, 0.5)
    opened.queue.withdraw([call.id])
    if not opened.queue.looks_up:
        opened.expect_nothing(1.5)  # it came, and was let go
    reopen().expect_nothing(1.0)


def test_many_are_withdrawn_at_once(opened: Opened, queue: Queue, lanes: Lanes) -> None:
    lanes.pause(LANE)
    calls = stored(opened, 450)
    left = calls[100]
    ids = [call.id for call in calls if call is not left]
    assert sorted(queue.withdraw(ids)) == sorted(ids)
    lanes.resume(LANE)
    assert taken(opened, 1) == {left.id}
    opened.expect_nothing()


# ---- hurry


def expect_waited(opened: Opened, *calls: Call) -> None:
    """They come now, each once, as calls that have waited; nothing else does."""
    for _ in calls:
        delivery = opened.take()
        assert delivery.call in calls
        assert delivery.call.waited
        delivery.ack()
    opened.expect_nothing()


@SIZES
def test_a_waiting_call_comes_forward(opened: Opened, queue: Queue, size: int) -> None:
    call, other = waiting(opened, 30.0, size), waiting(opened, 30.0, size)
    first = replace(call_of(size))
    queue.put(first, 30.0)
    reached = queue.hurry([call.id, first.id, NOBODY])
    if not queue.looks_up:
        assert reached == []
        return
    assert sorted(reached) == sorted([call.id, first.id])
    expect_waited(opened, call, first)
    assert queue.withdraw([other.id]) == [other.id]


def test_what_does_not_wait_is_not_hurried(
    opened: Opened, queue: Queue, lanes: Lanes
) -> None:
    lent = call_of()
    queue.put(lent)
    opened.take()
    lanes.pause(LANE)
    (new,) = stored(opened, 1)
    assert queue.hurry([lent.id, new.id]) == []


def test_what_is_due_already_is_hurried_once(
    opened: Opened, queue: Queue, lanes: Lanes
) -> None:
    call = waiting(opened, SOON)
    lanes.pause(LANE)
    opened.expect_nothing(SOON + SILENCE_SECONDS)
    reached = queue.hurry([call.id])
    assert reached == ([call.id] if queue.looks_up else [])
    lanes.resume(LANE)
    assert taken(opened, 1) == {call.id}
    opened.expect_nothing()


# ---- postpone


@SIZES
def test_a_waiting_call_is_put_off_or_comes_forward(
    opened: Opened, queue: Queue, size: int
) -> None:
    late, soon = waiting(opened, 30.0, size), waiting(opened, 0.5, size)
    reached = queue.postpone([late.id, soon.id, NOBODY], 1.5)
    if not queue.looks_up:
        assert reached == []
        return
    assert sorted(reached) == sorted([late.id, soon.id])
    opened.expect_nothing(1.0)
    expect_waited(opened, late, soon)


def test_what_is_ready_is_put_off_and_what_is_lent_or_new_is_not(
    opened: Opened, queue: Queue, lanes: Lanes
) -> None:
    lent = call_of()
    queue.put(lent)
    opened.take()
    call, other = waiting(opened, SOON), waiting(opened, SOON)
    lanes.pause(LANE)
    opened.expect_nothing(SOON + SILENCE_SECONDS)
    (new,) = stored(opened, 1)
    reached = queue.postpone([call.id, lent.id, new.id], 1.0)
    assert reached == ([call.id] if queue.looks_up else [])
    lanes.resume(LANE)
    first = taken(opened, 2 if queue.looks_up else 3)
    assert first - {call.id} == {other.id, new.id}
    if queue.looks_up:
        assert taken(opened, 1) == {call.id}
    opened.expect_nothing()


# ---- revive


@SIZES
def test_a_revived_call_begins_anew(opened: Opened, queue: Queue, size: int) -> None:
    (call,) = buried(opened, 1, size)
    before = time.time()
    assert queue.revive([call.id, NOBODY]) == [call.id]
    delivery = opened.take()
    assert delivery.call.payload == call.payload
    assert delivery.call.id == call.id
    assert delivery.call.attempts == 0
    assert delivery.call.last_error == ""
    assert before - 0.001 <= delivery.call.accepted_at <= time.time()
    assert delivery.call.waited  # whatever it asked for when it was new
    delivery.ack()
    assert queue.revive([call.id]) == []
    opened.expect_nothing()


def test_a_call_is_revived_for_later_and_does_not_age_until_then(
    opened: Opened, queue: Queue
) -> None:
    (call,) = buried(opened, 1)
    before = time.time()
    # Storing it takes a part of the delay.
    assert queue.revive([call.id], 2.0) == [call.id]
    opened.expect_nothing(0.5)
    delivery = opened.take()
    assert delivery.call.id == call.id
    assert delivery.call.waited
    assert before + 1.999 <= delivery.call.accepted_at <= time.time()
    delivery.ack()
    opened.expect_nothing()


def test_the_other_dead_letters_stay(reopen: Callable[[], Opened]) -> None:
    opened = reopen()
    calls = buried(opened, 60)
    some = [call.id for call in calls[10:40]]
    assert sorted(opened.queue.revive(some)) == sorted(some)
    opened = reopen()
    assert taken(opened, len(some)) == set(some)
    opened.expect_nothing()
    rest = [call.id for call in calls[:10] + calls[40:]]
    assert sorted(opened.queue.revive([call.id for call in calls])) == sorted(rest)
    assert taken(opened, len(rest)) == set(rest)


def test_a_revived_call_can_die_again(opened: Opened, queue: Queue) -> None:
    (call,) = buried(opened, 1)
    for _ in range(3):
        assert queue.revive([call.id]) == [call.id]
        delivery = opened.take()
        delivery.bury(delivery.call.next_attempt("500"), "max_attempts")
    assert queue.forget([call.id]) == [call.id]


# ---- forget


@SIZES
def test_a_forgotten_dead_letter_is_gone(
    opened: Opened, queue: Queue, size: int
) -> None:
    gone, left = buried(opened, 2, size)
    assert queue.forget([gone.id, NOBODY]) == [gone.id]
    assert queue.forget([gone.id]) == []
    assert queue.revive([gone.id, left.id]) == [left.id]
    assert taken(opened, 1) == {left.id}


def test_only_the_dead_are_forgotten_and_revived(
    opened: Opened, queue: Queue, lanes: Lanes
) -> None:
    waits = waiting(opened, 30.0)
    lanes.pause(LANE)
    (new,) = stored(opened, 1)
    ids = [waits.id, new.id, NOBODY]
    assert queue.forget(ids) == queue.revive(ids) == []
    lanes.resume(LANE)
    assert taken(opened, 1) == {new.id}


# ---- payload


@SIZES
def test_what_the_client_sent(opened: Opened, queue: Queue, size: int) -> None:
    (dead,) = buried(opened, 1, size)
    waits = waiting(opened, 30.0, size)
    new = call_of(size)
    queue.put(new)
    ids = [one.id for one in (dead, waits, new)]
    found = list(queue.payloads([NOBODY, *ids]))
    assert found == [(one, new.payload) for one in ids if queue.looks_up]
    assert not list(queue.payloads([NOBODY]))


# ---- all


def test_nothing_is_asked_of_no_calls(queue: Queue) -> None:
    for verb in (queue.withdraw, queue.hurry, queue.revive, queue.forget):
        assert verb([]) == []


def test_a_closed_queue_says_so(make: Make, lanes: Lanes) -> None:
    opened = Opened(make(lanes))
    queue = opened.queue
    opened.close()
    verbs: list[Callable[[list[str]], object]] = [queue.revive, queue.forget]
    if queue.looks_up:
        verbs += [queue.withdraw, queue.hurry, partial(queue.postpone, delay=1.0)]
    for verb in verbs:
        with pytest.raises(QueueUnavailable):
            verb([NOBODY])
    if queue.looks_up:
        with pytest.raises(QueueUnavailable):
            queue.kept([NOBODY])


# ---- kept


@SIZES
def test_it_tells_how_it_has_the_calls_that_it_has(
    opened: Opened, queue: Queue, lanes: Lanes, size: int
) -> None:
    began = time.time()
    (dead,) = buried(opened, 1, size)
    late = waiting(opened, 60, size)
    lanes.pause(LANE)
    calls = stored(opened, 250, size if size < 1000 else 10)
    kept = queue.kept([dead.id, late.id, NOBODY, *(call.id for call in calls)])
    if not queue.looks_up:
        assert kept == {}
        return
    assert set(kept) == {dead.id, late.id, *(call.id for call in calls)}
    assert {kept[call.id] for call in calls} == {Kept(0, "")}
    assert (kept[late.id].attempts, kept[late.id].last_error) == (1, "500")
    assert 59 < kept[late.id].due - began < 75
    assert kept[late.id].died_at is None
    assert (kept[dead.id].attempts, kept[dead.id].reason) == (1, "max_attempts")
    died_at = kept[dead.id].died_at
    assert died_at is not None
    assert began <= died_at <= time.time()


# ---- recent


@SIZES
def test_recent_calls_are_open_or_died_lately(
    opened: Opened, queue: Queue, lanes: Lanes, size: int
) -> None:
    (dead,) = buried(opened, 1, size)
    late = waiting(opened, 60, size)
    lanes.pause(LANE)
    calls = stored(opened, 60, size)
    old = Call(b"x" * size, first_call_id(time.time() - 60), lane=LANE)
    queue.put(old)
    expected = {late.id, *(call.id for call in calls)} if queue.looks_up else set()
    graves = queue.kept([dead.id])
    assert set(graves) == ({dead.id} if queue.looks_up else set())
    found = [one for some in queue.recent(time.time() - 30) for one in some]
    assert {call.id for call, kept in found if kept is None} == expected
    assert {call.id: kept for call, kept in found if kept is not None} == graves
    assert {len(call.payload) for call, _ in found} <= {size}
    everything = {call.id for some in queue.recent(0.0) for call, _ in some}
    expected |= {old.id, dead.id} if queue.looks_up else set()
    assert everything == expected
    later = [call for some in queue.recent(time.time() + 30) for call, _ in some]
    assert later == []
