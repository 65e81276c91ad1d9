"""A large file is checked beside the service: whoever comes meanwhile is answered."""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import gevent
import pytest
from gevent.event import AsyncResult
from gevent.monkey import get_original

from mspc.calls.call import Call
from mspc.errors import ConfigError, MspcError, QueueUnavailable
from mspc.queues.spooled import SpooledQueue
from mspc.queues.sqlite import commits, file
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.settings.config import SqliteConfig
from tests.conftest import StartMspc
from tests.support.memory import MemoryQueue
from tests.support.opened import Opened
from tests.support.target import Target
from tests.support.waiting import eventually


class SlowCheck:
    """A check that lasts until it is let go, in the store's own thread."""

    def __init__(self) -> None:
        self._lock: threading.Lock = get_original("_thread", "allocate_lock")()
        self._lock.acquire()
        self.verdict = ""

    def __call__(self, db: sqlite3.Connection) -> None:
        self._lock.acquire()
        if self.verdict:
            raise sqlite3.DatabaseError(self.verdict)

    def end(self, verdict: str = "") -> None:
        self.verdict = verdict
        self._lock.release()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "queue.db"
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    opened.queue.put(Call(b"stored before"))
    opened.close()
    return path


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> SlowCheck:
    check = SlowCheck()
    monkeypatch.setattr(file, "_check", check)
    monkeypatch.setattr(commits, "SHORT_CHECK_SECONDS", 0.01)
    return check


@pytest.fixture
def failure() -> "AsyncResult[MspcError]":
    return AsyncResult()


@pytest.fixture
def queue(
    path: Path, check: SlowCheck, failure: "AsyncResult[MspcError]"
) -> Iterator[SqliteQueue]:
    queue = SqliteQueue(SqliteConfig(path))
    queue.start(failure.set)
    yield queue
    queue.close()


def test_it_says_that_it_is_being_checked(
    queue: SqliteQueue, check: SlowCheck, path: Path
) -> None:
    assert queue.problem() == (
        f"{path} is being checked; calls are accepted after that."
    )
    check.end()
    eventually(lambda: queue.problem() is None)


def test_large_calls_that_are_put_meanwhile_are_stored(
    tmp_path: Path, check: SlowCheck
) -> None:
    """Beside those that are there: their bodies have numbers of their own."""
    path = tmp_path / "large.db"
    before = [Call(b"x" * 5_000), Call(b"y" * 50_000)]
    opened = Opened(SqliteQueue(SqliteConfig(path)))
    for call in before:
        opened.queue.put(call)
    opened.close()
    queue = SqliteQueue(SqliteConfig(path))
    queue.start(lambda failure: None)
    meanwhile = [Call(b"z" * 5_000), Call(b"z" * 50_000), Call(b"small")]
    putting = [gevent.spawn(queue.put, call) for call in meanwhile]
    gevent.idle()
    check.end()
    gevent.joinall(putting, timeout=10, raise_error=True)
    made = {one.call.id for one in islice(queue.deliveries(), 5)}
    queue.close()
    assert made == {call.id for call in before + meanwhile}


def test_a_call_that_is_put_meanwhile_waits_and_is_stored(
    queue: SqliteQueue, check: SlowCheck
) -> None:
    putting = [gevent.spawn(queue.put, Call(b"put meanwhile")) for _ in range(3)]
    deliveries = queue.deliveries()
    first = gevent.spawn(next, deliveries)
    gevent.idle()
    check.end()
    gevent.joinall(putting, timeout=10, raise_error=True)
    payloads = [first.get(timeout=10).call.payload]
    payloads += [next(deliveries).call.payload for _ in putting]
    # New calls do not wait for what is still to be found in a large file.
    assert sorted(payloads) == [b"put meanwhile"] * 3 + [b"stored before"]
    assert queue.size() == 4


def test_a_call_waits_for_a_short_time_only(
    queue: SqliteQueue, check: SlowCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "WAIT_FOR_CHECK_SECONDS", 0.05)
    with pytest.raises(QueueUnavailable, match="is being checked"):
        queue.put(Call(b"too early"))
    check.end()
    eventually(lambda: queue.problem() is None)
    assert queue.size() == 1


def test_damage_that_is_found_later_ends_the_service_and_touches_nothing(
    queue: SqliteQueue,
    check: SlowCheck,
    path: Path,
    failure: "AsyncResult[MspcError]",
) -> None:
    before = path.read_bytes()
    putting = gevent.spawn(queue.put, Call(b"put meanwhile"))
    gevent.idle()
    check.end("row 7 missing from index")
    refusal = failure.get(timeout=10)
    assert isinstance(refusal, ConfigError)
    assert f"{path} is damaged (row 7 missing from index)" in str(refusal)
    with pytest.raises(MspcError, match="is damaged"):
        putting.get(timeout=10)
    assert "is damaged" in str(queue.problem())
    queue.close()
    assert path.read_bytes() == before


def test_it_can_be_closed_meanwhile(queue: SqliteQueue, check: SlowCheck) -> None:
    """The consumers end first, then the queue: neither waits for the check."""
    taking = gevent.spawn(list, queue.deliveries())
    gevent.idle()
    queue.cancel()
    taking.join(timeout=5)
    assert taking.dead
    gevent.spawn_later(0.05, check.end)
    queue.close()


def test_a_spool_that_is_being_checked_is_in_no_call_s_way(
    path: Path, check: SlowCheck, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker = MemoryQueue()
    spool = SqliteQueue(SqliteConfig(path))
    opened = Opened(SpooledQueue(broker, spool))
    opened.queue.put(Call(b"to the broker"))
    assert opened.take().call.payload == b"to the broker"
    check.end()
    assert opened.take().call.payload == b"stored before"
    eventually(lambda: "The spool is empty again" in caplog.text)
    assert "1 calls are in the spool already" in caplog.text
    opened.close()


def test_the_check_of_a_large_file_is_not_in_the_way_of_the_probe(
    mspc_process: StartMspc, target: Target
) -> None:
    """With the real check of a real file, which SIGTERM cuts short."""
    mspc = mspc_process()
    mspc.terminate()
    assert mspc.wait() == 0
    _fill(mspc.data_dir / "queue.db", 2_000_000)
    mspc.start()
    mspc.wait_for_log("queue.db is being checked")
    eventually(lambda: mspc.get("/health/live").status == 200)
    ready = mspc.get("/health/ready")
    assert ready.status == 503
    assert "is being checked" in ready.json["message"]
    begin = time.monotonic()
    mspc.terminate()
    assert mspc.wait() == 0
    assert time.monotonic() - begin < 20
    assert "queue.db is open: 0 calls to make, 2000000" not in mspc.output
    mspc.start()
    mspc.wait_for_log("queue.db is being checked")
    # Whoever comes while it is being checked waits, or is told to come again.
    eventually(lambda: mspc.get("/health/live").status == 200)
    status = 0
    while status != 202:
        status = mspc.post({"url": target.url("/meanwhile")}).status
        assert status in (202, 503)
    target.wait_for(1, "/meanwhile")
    mspc.wait_for_log("queue.db is open: 0 calls to make, 2000000")


def _fill(path: Path, count: int) -> None:
    """Calls that wait for another hour."""
    due = round((time.time() + 3600) * 1000)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT ?)"
            " INSERT INTO waiting (due, delay, id, accepted_at, attempts, last_error,"
            " payload) SELECT ? + n, 9999999, hex(n), 5, 1, '', zeroblob(300) FROM n",
            (count, due),
        )
        db.commit()
