"""The embedded queue's size is what its file holds, whoever was ended meanwhile."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.queues.base import Delivery
from mspc.queues.spooled import SpooledQueue
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.queues.sqlite.statements import COUNTS
from mspc.settings.config import SqliteConfig
from tests.support.memory import MemoryQueue
from tests.support.opened import Opened
from tests.support.waiting import eventually

ENDS: dict[str, Callable[[Delivery], None]] = {
    "ack": lambda delivery: delivery.ack(),
    "bury": lambda delivery: delivery.bury(delivery.call, "no"),
    "retry": lambda delivery: delivery.retry(delivery.call.next_attempt("no"), 0.01),
}


@pytest.fixture
def queue(tmp_path: Path) -> SqliteQueue:
    return SqliteQueue(SqliteConfig(tmp_path / "queue.db"))


@pytest.fixture
def opened(queue: SqliteQueue) -> Iterator[Opened]:
    opened = Opened(queue)
    yield opened
    opened.close()


def rows_in(queue: SqliteQueue) -> int:
    new, waiting, _ = queue._store.run(lambda db: db.execute(COUNTS).fetchone())
    return int(new) + int(waiting)


@pytest.mark.parametrize("size", [10, 20_000])
def test_a_put_that_was_ended_counts_when_it_is_stored(
    queue: SqliteQueue, opened: Opened, size: int
) -> None:
    for number in range(1, 4):
        putting = gevent.spawn(queue.put, Call(b"x" * size))
        gevent.idle()  # it waits for its commit
        putting.kill()
        opened.take()
        assert queue.size() == rows_in(queue) == number


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("size", [10, 20_000])
def test_whoever_settled_was_ended(
    queue: SqliteQueue, opened: Opened, end: str, size: int
) -> None:
    for _ in range(3):
        queue.put(Call(b"x" * size))
        delivery = opened.take()
        settling = gevent.spawn(ENDS[end], delivery)
        gevent.idle()
        settling.kill()
        eventually(lambda: queue.size() == rows_in(queue))
    assert queue.size() == (3 if end == "retry" else 0)
    ENDS["ack"](delivery)  # a second time
    assert queue.size() == rows_in(queue)


def test_what_was_refused_does_not_count(
    queue: SqliteQueue, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.put(Call(b"stored"))
    full = os.statvfs_result((4096, 4096, 10_000, 1, 1, 9, 9, 9, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    for _ in range(3):
        with pytest.raises(QueueUnavailable, match="nearly full"):
            queue.put(Call(b"refused"))
    with pytest.raises(QueueUnavailable, match="no such table"):
        queue._store.run(lambda db: db.execute("DELETE FROM nowhere"), adds=-1)
    assert queue.size() == rows_in(queue) == 1


def test_a_restart_counts_what_there_is(tmp_path: Path) -> None:
    for stored in (1, 2, 3):
        queue = SqliteQueue(SqliteConfig(tmp_path / "queue.db"))
        opened = Opened(queue)
        queue.put(Call(b"one more"))
        assert queue.size() == rows_in(queue) == stored
        for _ in range(stored):
            ENDS["retry"](opened.take())
        opened.close()


def test_the_spool_says_that_it_is_empty_though_a_put_was_ended(
    queue: SqliteQueue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broker = MemoryQueue()
    broker.refusing = "The broker is away."
    spooled = SpooledQueue(broker, queue)
    spooled.start(lambda _: None)
    spooled.put(Call(b"first"))
    putting = gevent.spawn(spooled.put, Call(b"second"))
    gevent.idle()
    putting.kill()
    eventually(lambda: rows_in(queue) == 2)
    broker.refusing = ""
    eventually(lambda: "The spool is empty again" in caplog.text)
    assert spooled.remark() is None
    assert queue.size() == 0
    spooled.close()
