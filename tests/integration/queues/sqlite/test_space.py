"""Space that the embedded queue needs no more: used again, and given back."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import cast

import gevent
import pytest
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.queues.base import Delivery
from mspc.queues.spooled import SpooledQueue
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.file import empty_wal
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.queues.sqlite.space import FRAME_BYTES, space_of, wal_pages
from mspc.settings.config import SqliteConfig
from tests.support.memory import MemoryQueue, MemoryStore
from tests.support.opened import Opened
from tests.support.waiting import eventually

MEBIBYTE = 1024 * 1024
PAGE_BYTES = 4096
GIVEN_BACK_SECONDS = 30.0
AT_ONCE = 64  # they share a commit


def open_at(path: Path) -> Opened:
    return Opened(SqliteQueue(SqliteConfig(path)))


def fill(put: Callable[[Call], None], size: int) -> int:
    """Puts calls of `size` bytes until the disk is nearly full; how many were taken."""
    taken = 0

    refusals: list[str] = []

    def one(number: int) -> None:
        nonlocal taken
        try:
            put(Call(b"%08d" % number + b"x" * size))
            taken += 1
        except QueueUnavailable as exc:
            refusals.append(str(exc))

    while not refusals:
        Pool(AT_ONCE).map(one, range(max(AT_ONCE, 400_000 // size)))
    assert all("nearly full" in refusal for refusal in refusals), refusals
    return taken


def drain(opened: Opened, count: int, settle: str = "ack") -> None:
    def one(_: int) -> None:
        delivery = opened.take()
        if settle == "ack":
            delivery.ack()
        else:
            delivery.bury(delivery.call.next_attempt("no"), "no")

    Pool(AT_ONCE).map(one, range(count))


def room_of(store: Store) -> int:
    return space_of(store.path, store.inside).for_calls


@pytest.mark.parametrize("size", [3_000, 50_000, 1_000_000])
def test_a_queue_that_is_empty_again_takes_calls_again(
    small_disk: Path, size: int
) -> None:
    """Without a restart, at once, and as many as before."""
    opened = open_at(small_disk / "queue.db")
    first = fill(opened.queue.put, size)
    for _ in range(2):
        waiting = first // 2
        drain(opened, waiting)  # half of it is room enough
        opened.queue.put(Call(b"x" * size))
        drain(opened, first - waiting + 1)
        eventually(lambda: opened.queue.problem() is None)
        again = fill(opened.queue.put, size)
        assert again > 0.8 * first
        first = again
    drain(opened, first)
    opened.close()


def test_what_the_wal_has_room_for_is_no_reason_to_refuse(small_disk: Path) -> None:
    """A call begins in a WAL that is nearly full, which is longer than usual then."""
    path = small_disk / "queue.db"
    opened = open_at(path)
    queue = cast("SqliteQueue", opened.queue)
    queue._tidying.stop()  # it would make room
    store, wal = queue._store, path.with_name("queue.db-wal")
    count = 0
    for _ in range(2):  # an empty WAL leaves room for one more
        count += fill(queue.put, 1_000_000)
        store.run_alone(lambda db: empty_wal(db, path, above=0))
    drain(opened, count)
    store.run_alone(lambda db: empty_wal(db, path, above=0))
    while wal.stat().st_size < 0.8 * wal_pages(path) * FRAME_BYTES:
        queue.put(Call(b"small"))
        opened.take().ack()
    queue.put(Call(b"x" * 1_000_000))
    assert wal.stat().st_size > 1_000_000 + 0.8 * wal_pages(path) * FRAME_BYTES
    for _ in range(9):
        queue.put(Call(b"x" * 1_000_000))
    drain(opened, 10)
    opened.close()


@pytest.mark.parametrize("size", [3_000, 50_000])
def test_dead_letters_that_were_deleted_leave_room(small_disk: Path, size: int) -> None:
    path = small_disk / "queue.db"
    opened = open_at(path)
    count = fill(opened.queue.put, size)
    drain(opened, count, "bury")
    with pytest.raises(QueueUnavailable, match="nearly full"):
        opened.queue.put(Call(b"x" * size))
    opened.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete=FAST")  # else there is no room for it
        db.execute("DELETE FROM dead")
    opened = open_at(path)
    store: Store = cast("SqliteQueue", opened.queue)._store
    eventually(lambda: room_of(store) > 40 * MEBIBYTE, GIVEN_BACK_SECONDS)
    assert fill(opened.queue.put, size) > 0.6 * count
    opened.close()


def test_a_spool_that_is_empty_again_takes_calls_again(small_disk: Path) -> None:
    broker = MemoryQueue(MemoryStore())
    spool = SqliteQueue(SqliteConfig(small_disk / "spool.db"))
    opened = Opened(SpooledQueue(broker, spool))
    for _ in range(2):
        broker.refusing = "The broker is away."
        count = fill(opened.queue.put, 50_000)
        assert count > 100
        broker.refusing = ""
        drain(opened, count)
        eventually(lambda: spool.size() == 0)
    opened.close()


@pytest.mark.parametrize(
    ("size", "kept"),
    [(3_000, 0), (3_000, 10), (100_000, 3), (1_000_000, 1)],
)
def test_after_a_backlog_the_file_and_its_wal_shrink(
    tmp_path: Path, size: int, kept: int
) -> None:
    """Also when calls remain at its end; and each of them is what it was."""
    path = tmp_path / "queue.db"
    opened = open_at(path)
    count = min(40_000_000 // size, 6_000)
    calls = [Call(b"%08d" % number + b"x" * size) for number in range(count)]
    Pool(200).map(opened.queue.put, calls)
    taken: list[Delivery] = []
    while len(taken) < count:
        taken.append(opened.take())
        if len(taken) <= count - kept:
            taken[-1].ack()
        elif len(taken) == count:
            break
    used = kept * (size + PAGE_BYTES)
    eventually(lambda: path.stat().st_size < 10 * MEBIBYTE + used, GIVEN_BACK_SECONDS)
    wal = path.with_name("queue.db-wal")
    most = 2 * wal_pages(path) * PAGE_BYTES
    eventually(lambda: wal.stat().st_size <= most, GIVEN_BACK_SECONDS)
    opened.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    opened = open_at(path)
    left = {opened.take().call.payload for _ in range(kept)}
    assert left == {delivery.call.payload for delivery in taken[count - kept :]}
    opened.close()


def test_the_wal_of_one_large_transaction_does_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    opened = open_at(path)
    Pool(60).map(opened.queue.put, [Call(b"x" * 1_000_000) for _ in range(60)])
    wal = path.with_name("queue.db-wal")
    most = wal_pages(path) * PAGE_BYTES
    eventually(lambda: wal.stat().st_size <= most, GIVEN_BACK_SECONDS)
    opened.close()


def test_giving_back_delays_nobody(tmp_path: Path) -> None:
    """The steps are short, others come between them, and an idle queue makes none."""
    path = tmp_path / "queue.db"
    opened = open_at(path)
    calls = [Call(b"%08d" % number + b"x" * 3_000) for number in range(8_000)]
    Pool(200).map(opened.queue.put, calls)
    store: Store = cast("SqliteQueue", opened.queue)._store
    statements: list[str] = []
    store.run(lambda db: db.set_trace_callback(statements.append))
    lent = [opened.take() for _ in range(5_000)]  # as much as is held in memory
    holes = [one for number, one in enumerate(lent) if number % 10]
    Pool(100).map(lambda delivery: delivery.ack(), holes)  # what remains must be moved
    slowest = 0.0
    until = time.monotonic() + GIVEN_BACK_SECONDS
    most = 5_000 * PAGE_BYTES  # of 8,000
    steps: list[str] = []
    while len(steps) < 5 or path.stat().st_size > most:
        assert time.monotonic() < until
        began = time.monotonic()
        opened.queue.put(Call(b"new"))
        slowest = max(slowest, time.monotonic() - began)
        opened.take().ack()
        gevent.sleep(0.002)
        steps = [one for one in statements if "incremental_vacuum" in one]
    assert slowest < 1.0  # half a minute in all
    eventually(lambda: store.transactions == _after(store, 1.5), GIVEN_BACK_SECONDS)
    opened.close()


def _after(store: Store, seconds: float) -> int:
    gevent.sleep(seconds)
    return store.transactions


def test_a_file_that_cannot_shrink_is_left_alone(tmp_path: Path) -> None:
    """One that somebody has made without auto_vacuum: `VACUUM INTO`, for example."""
    path = tmp_path / "queue.db"
    opened = open_at(path)
    opened.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA auto_vacuum=NONE")
        db.execute("VACUUM")
    opened = open_at(path)
    Pool(50).map(opened.queue.put, [Call(b"x" * 100_000) for _ in range(300)])
    drain(opened, 300)
    store: Store = cast("SqliteQueue", opened.queue)._store
    eventually(lambda: store.transactions == _after(store, 1.5), GIVEN_BACK_SECONDS)
    assert store.inside > 25_000_000
    opened.close()
