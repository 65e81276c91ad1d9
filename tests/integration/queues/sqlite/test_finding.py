"""What is done to calls by their ids leaves no trace, in the file or in memory."""

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import gevent
import pytest
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.lanes.lanes import Lanes
from mspc.queues.base import Kept
from mspc.queues.sqlite import finding
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.queues.sqlite.rows import Found
from mspc.queues.sqlite.statements import COUNTS
from mspc.settings.config import SqliteConfig
from tests.support.opened import Opened
from tests.support.waiting import eventually

LANE = "http://service.test:80"
SIZES = pytest.mark.parametrize("size", [10, 5_000, 50_000])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(size=1000)


@pytest.fixture
def queue(path: Path, lanes: Lanes) -> SqliteQueue:
    return SqliteQueue(SqliteConfig(path), lanes, lambda _: LANE)


@pytest.fixture
def opened(queue: SqliteQueue) -> Iterator[Opened]:
    opened = Opened(queue)
    yield opened
    opened.close()


def put(queue: SqliteQueue, count: int, size: int) -> list[str]:
    calls = [Call(b"x" * size, lane=LANE) for _ in range(count)]
    Pool(50).map(queue.put, calls)
    return [call.id for call in calls]


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(statement).fetchall()


def open_calls(queue: SqliteQueue) -> int:
    new, waiting, _ = queue._store.run(lambda db: db.execute(COUNTS).fetchone())
    return int(new) + int(waiting)


def expect_no_traces(queue: SqliteQueue, lanes: Lanes) -> None:
    lending = queue._lending
    assert (lending._small_held, lending._large_held) == (0, 0)
    assert lending._held == {}
    assert lanes.of(LANE).waiting == 0
    assert queue.size() == open_calls(queue) == 0


@SIZES
@pytest.mark.parametrize("shut", [True, False])
def test_a_withdrawn_backlog_leaves_no_trace(
    opened: Opened, queue: SqliteQueue, lanes: Lanes, path: Path, size: int, shut: bool
) -> None:
    """Whether it is ready in memory, known by number, or not read for want of room."""
    opened.queue.cancel()
    opened.collector.join()
    if shut:
        lanes.pause(LANE)
    ids = put(queue, 1000, size)
    assert sorted(queue.withdraw(ids)) == sorted(ids)
    expect_no_traces(queue, lanes)
    opened.close()
    assert rows(path, "SELECT count(*) FROM bodies") == [(0,)]


@SIZES
def test_what_is_withdrawn_while_it_is_read(
    opened: Opened, queue: SqliteQueue, lanes: Lanes, size: int
) -> None:
    """Each call is made or withdrawn, never both."""
    lanes.pause(LANE)
    ids = put(queue, 1000, size)
    made: set[str] = set()

    def make() -> None:
        while True:
            delivery = opened.take()
            made.add(delivery.call.id)
            delivery.ack()
            lanes.ended(delivery)

    making = gevent.spawn(make)
    lanes.resume(LANE)
    reached = [
        call_id
        for start in range(0, 1000, 50)
        for call_id in queue.withdraw(ids[start : start + 50])
    ]
    eventually(lambda: len(made) + len(reached) >= 1000)
    making.kill()
    assert made.isdisjoint(reached)
    assert made | set(reached) == set(ids)
    eventually(lambda: not queue.size())
    expect_no_traces(queue, lanes)


def test_what_is_put_off_comes_again_among_the_others(
    opened: Opened, queue: SqliteQueue, lanes: Lanes
) -> None:
    """It has the row that it had, and was found already."""
    lanes.pause(LANE)
    calls = [Call(b"x", lane=LANE) for _ in range(100)]
    Pool(50).map(lambda call: queue.put(call, 0.05), calls)
    ids = sorted(call.id for call in calls)
    known = lanes.of(LANE)
    for some in (ids[:20], ids[10:40], ids[60:61]):
        eventually(lambda: known.waiting == 100)
        assert sorted(queue.postpone(some, 0.2)) == some
    eventually(lambda: known.waiting == 100)
    assert sorted(queue.withdraw(ids[50:70])) == ids[50:70]
    lanes.resume(LANE)
    made = []
    for _ in range(80):
        delivery = opened.take()
        made.append(delivery.call.id)
        delivery.ack()
        lanes.ended(delivery)
    assert sorted(made) == ids[:50] + ids[70:]
    expect_no_traces(queue, lanes)


@SIZES
def test_what_an_older_version_stored_is_put_off_too(
    lanes: Lanes, path: Path, size: int
) -> None:
    """Its row does not say in which lane it was found, and was not read yet."""
    lanes.pause(LANE)
    call = Call(b"x" * size, lane=LANE)
    opened = Opened(SqliteQueue(SqliteConfig(path), Lanes(size=9), lambda _: LANE))
    opened.queue.put(call, 60)
    opened.close()
    rows(path, "UPDATE waiting SET lane = NULL, due = 0")
    queue = SqliteQueue(SqliteConfig(path), lanes, lambda _: LANE)
    opened = Opened(queue)
    eventually(lambda: lanes.of(LANE).waiting == 1)
    assert queue.postpone([call.id], 0.5) == [call.id]
    lanes.resume(LANE)
    opened.expect_nothing(0.2)
    delivery = opened.take()
    delivery.retry(delivery.call.next_attempt("no"), 0.05)
    lanes.ended(delivery)
    again = opened.take()
    assert again.call.attempts == 1
    again.ack()
    lanes.ended(again)
    expect_no_traces(queue, lanes)
    opened.close()


@pytest.mark.parametrize("verb", ["forget", "revive"])
@pytest.mark.parametrize("size", [10, 5_000])
def test_a_dead_letter_is_not_taken_for_one_that_had_its_row(
    opened: Opened,
    queue: SqliteQueue,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    verb: str,
) -> None:
    """SQLite gives the number of a row again when the last one is gone."""

    def die() -> str:
        (call_id,) = put(queue, 1, size)
        delivery = opened.take()
        delivery.bury(delivery.call.next_attempt("no"), "no")
        return call_id

    first = die()
    find = queue._finding._find
    later: list[str] = []

    def find_and_lose(ids: Sequence[str], *tables: str) -> list[Found]:
        rows = find(ids, *tables)
        if not later:
            later.append("")
            queue.forget([first])
            later[0] = die()
        return rows

    monkeypatch.setattr(queue._finding, "_find", find_and_lose)
    reached = queue.forget([first]) if verb == "forget" else queue.revive([first], 60)
    assert reached == []
    assert dict(queue.payloads(later)) == {later[0]: b"x" * size}


def test_large_calls_leave_room_for_those_of_another_lane(
    opened: Opened, queue: SqliteQueue, lanes: Lanes
) -> None:
    """Also as they are put, and when nothing else of the lane waits."""
    other = "http://other.test:80"
    opened.queue.cancel()
    opened.collector.join()
    put(queue, 40, 1024 * 1024)
    queue.put(Call(b"x" * 1024 * 1024, lane=other))
    assert 10 <= len(lanes.of(LANE).ready) <= 17
    assert len(lanes.of(other).ready) == 1


def test_dead_letters_that_go_while_they_are_looked_for_are_left_out(
    opened: Opened, queue: SqliteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = put(queue, 3, 10)
    for _ in ids:
        delivery = opened.take()
        delivery.bury(delivery.call.next_attempt("no"), "no")
    kept = queue._finding.kept

    def one_goes(some: Sequence[str]) -> Mapping[str, Kept]:
        queue.forget(ids[:1])
        return kept(some)

    monkeypatch.setattr(queue._finding, "kept", one_goes)
    found = {call.id for some in queue.recent(1.0) for call, _ in some}
    assert found == {*ids[1:]}


def test_rows_that_somebody_deleted_by_hand_are_not_counted(
    opened: Opened, queue: SqliteQueue, lanes: Lanes
) -> None:
    lanes.pause(LANE)
    put(queue, 20, 50_000)
    queue._store.run(lambda db: db.execute("DELETE FROM calls"), adds=-20)
    lanes.resume(LANE)
    eventually(lambda: not lanes.of(LANE).waiting)
    expect_no_traces(queue, lanes)
    put(queue, 1, 50_000)
    opened.take().ack()


def test_whoever_withdrew_was_ended(
    opened: Opened, queue: SqliteQueue, lanes: Lanes
) -> None:
    lanes.pause(LANE)
    ids = put(queue, 300, 10)
    withdrawing = gevent.spawn(queue.withdraw, ids)
    gevent.idle()
    withdrawing.kill()
    eventually(lambda: not queue.size())
    eventually(lambda: not lanes.of(LANE).waiting)
    expect_no_traces(queue, lanes)


def test_what_could_not_be_withdrawn_is_made(
    opened: Opened, queue: SqliteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.queue.cancel()
    opened.collector.join()
    (call_id,) = put(queue, 1, 10)
    run = queue._store.run

    def fail(
        statements: Callable[[sqlite3.Connection], object], **more: object
    ) -> object:
        if "counted" in more:
            raise QueueUnavailable("The disk is full.")
        return run(statements)

    monkeypatch.setattr(queue._store, "run", fail)
    with pytest.raises(QueueUnavailable, match="full"):
        queue.withdraw([call_id])
    queue._cancelled = False
    assert next(queue.deliveries()).call.id == call_id


@pytest.mark.parametrize("end", ["revive", "forget"])
@SIZES
def test_the_dead_are_counted_and_their_bodies_kept(
    opened: Opened, queue: SqliteQueue, path: Path, size: int, end: str
) -> None:
    (call_id,) = put(queue, 1, size)
    delivery = opened.take()
    delivery.bury(delivery.call.next_attempt("500"), "max_attempts")
    assert queue.size() == open_calls(queue) == 0
    bodies = queue._store.run(
        lambda db: db.execute("SELECT body FROM bodies").fetchall()
    )
    assert getattr(queue, end)([call_id]) == [call_id]
    kept = end == "revive"
    assert queue.size() == open_calls(queue) == kept
    opened.close()
    assert rows(path, "SELECT body FROM bodies") == (bodies if kept else [])


@SIZES
def test_a_damaged_dead_letter_stays_dead(path: Path, size: int) -> None:
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    for call_id in ("altered", "other"):
        opened.queue.put(Call(b"x" * size, id=call_id))
        delivery = opened.take()
        delivery.bury(delivery.call.next_attempt("500"), "max_attempts")
    opened.close()
    rows(path, "UPDATE dead SET last_error = 'altered' WHERE id = 'altered'")
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    assert [one for one, _ in opened.queue.payloads(["other", "altered"])] == ["other"]
    assert opened.queue.revive(["altered", "other"]) == ["other"]
    assert opened.take().call.payload == b"x" * size
    assert opened.queue.forget(["altered"]) == ["altered"]
    opened.close()


def test_payloads_come_in_the_order_in_which_they_are_asked_for(
    opened: Opened, queue: SqliteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "AT_ONCE", 3)
    monkeypatch.setattr(finding, "BYTES_AT_ONCE", 10)
    ids = [str(number) for number in range(8)]
    for one in ids:
        queue.put(Call(f"payload {one}".encode(), id=one))
    asked = [*reversed(ids), "nobody", ids[0]]
    expected = [(one, f"payload {one}".encode()) for one in reversed(ids)]
    assert list(queue.payloads(asked)) == expected


def test_the_payload_of_an_open_call_counts_when_a_dead_letter_has_its_id(
    opened: Opened, queue: SqliteQueue
) -> None:
    queue.put(Call(b"dead", id="one"))
    delivery = opened.take()
    delivery.bury(delivery.call.next_attempt("500"), "max_attempts")
    queue.put(Call(b"open", id="one"))
    assert list(queue.payloads(["one"])) == [("one", b"open")]


@pytest.mark.parametrize("settle", ["ack", "retry", "bury"])
def test_a_row_whose_id_was_altered_is_set_aside_and_all_others_are_made(
    settle: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its index has it as it was: SQLite refuses to delete it, whatever it is for."""
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    for number in range(5):
        opened.queue.put(Call(f"payload {number}".encode(), id=f"the call {number}"))
    opened.close()
    alter_id(path, b"the call 2")
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    damaged = []
    for _ in range(5):
        delivery = opened.take()
        if delivery.damage:
            damaged.append(delivery.call.id)
            delivery.bury(delivery.call, delivery.damage)
        elif settle == "ack":
            delivery.ack()
        elif settle == "retry":
            delivery.retry(delivery.call.next_attempt("500"), 60)
        else:
            delivery.bury(delivery.call.next_attempt("500"), "max_attempts")
    assert len(damaged) == 1
    opened.close()
    assert not opened.failures
    assert rows(path, "SELECT count(*) FROM calls") == [(0,)]
    assert rows(path, "SELECT payload FROM dead WHERE reason LIKE 'damaged%'") == [
        (b"payload 2",)
    ]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert "an index does not fit its rows; it is made again" in caplog.text


def alter_id(path: Path, call_id: bytes) -> None:
    """A bit of the row, not of the index that has it, too."""
    whole = path.read_bytes()
    for found in re.finditer(re.escape(call_id), whole):
        altered = bytearray(whole)
        altered[found.end() - 1] ^= 64
        path.write_bytes(altered)
        ids = [one for (one,) in rows(path, "SELECT id FROM calls NOT INDEXED")]
        if call_id.decode() not in ids:
            return
    raise AssertionError(f"{path} has no row of {call_id!r}")


def test_a_reference_that_was_altered_takes_nobody_else_s_body(path: Path) -> None:
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    for call_id in ("altered", "other"):
        opened.queue.put(Call(b"x" * 50_000 + call_id.encode(), id=call_id))
        delivery = opened.take()
        delivery.bury(delivery.call.next_attempt("500"), "max_attempts")
    opened.close()
    rows(
        path,
        "UPDATE dead SET payload = (SELECT payload FROM dead WHERE id = 'other')"
        " WHERE id = 'altered'",
    )
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    assert opened.queue.forget(["altered"]) == ["altered"]
    assert dict(opened.queue.payloads(["other"])) == {"other": b"x" * 50_000 + b"other"}
    opened.close()


def test_a_row_that_waits_gets_no_number_of_one_that_is_gone(
    opened: Opened, queue: SqliteQueue, lanes: Lanes
) -> None:
    """Whoever knows the number of the former would make the latter too early."""
    ids = []
    for _ in range(3):
        call = Call(b"waits", lane=LANE)
        queue.put(call, 0.05)
        ids.append(call.id)
    lanes.pause(LANE)
    opened.expect_nothing(0.3)
    queue.withdraw(ids)
    late = Call(b"late", lane=LANE)
    queue.put(late, 60.0)
    lanes.resume(LANE)
    opened.expect_nothing(0.3)
    assert queue.hurry([late.id]) == [late.id]
    assert opened.take().call.id == late.id
