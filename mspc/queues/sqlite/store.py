"""The embedded queue's file: one connection, one native thread, group commit.

Why one connection: every SQLite up to 3.51.2 can corrupt a WAL that two connections
reset at once (sqlite.org/changes.html, 3.51.3); with one it cannot happen. Why a thread
of its own: a statement blocks its thread, and in a greenlet that would be the hub. Why
group commit: synchronous=FULL costs one fsync a transaction, so whatever has gathered
while the last fsync ran shares the next one.
"""

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool

from mspc.errors import MspcError, QueueFailed, QueueUnavailable
from mspc.process import crash
from mspc.process.lookout import Lookout
from mspc.process.watched import Watched
from mspc.queues.sqlite.bulk import Bulk, Row
from mspc.queues.sqlite.file import close_file, disk_problem, open_file

log = logging.getLogger(__name__)

T = TypeVar("T")
Statements = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True)
class _Job:
    """What to do in the next transaction, and who waits for the commit.

    Attributes:
        work: statements of its own, or a row for a bulk.
    """

    work: Statements | tuple[Bulk, Row]
    grows: bool
    done: "AsyncResult[Any]" = field(default_factory=AsyncResult)


class Store:
    """Runs statements in the store's thread and returns when they are committed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPool(1)
        # Not in that thread: it may be in the middle of a commit that takes long.
        self._disk = Lookout(f"{path.parent}", lambda: disk_problem(path))
        self._jobs: list[_Job] = []
        self._work = Event()
        self._closing = False
        self._committer = Watched(f"committer of {path}", self._commit_what_gathers)
        self._db: sqlite3.Connection | None = None
        self._failure: QueueFailed | None = None
        self._on_failure: Callable[[MspcError], None] = lambda _: None

    def open(self, on_failure: Callable[[MspcError], None]) -> None:
        """Opens or creates the file.

        Raises:
            ConfigError: it cannot be created, is in use, damaged, or not ours.
        """
        self._on_failure = on_failure
        result = self._thread.apply(_caught, (open_file, self.path))
        if isinstance(result, Exception):
            raise result
        self._db = result
        self._committer.start()

    def run(self, statements: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `statements` in a transaction; returns what they return, committed.

        Args:
            statements: called in the store's thread; it may be one of many in the
                same transaction.

        Raises:
            QueueUnavailable: the transaction was rolled back.
            QueueFailed: the file cannot be trusted any more.
        """
        return self._done(_Job(statements, grows=False))  # type: ignore[no-any-return]

    def run_for(self, bulk: Bulk, row: Row, grows: bool = False) -> int:
        """Runs `bulk` for `row`, together with the rows of others; its number.

        Within a transaction, bulks come after other statements.

        Args:
            bulk: a constant: what is the same is done together.
            row: its values.
            grows: refuse when the disk is nearly full.

        Raises:
            QueueUnavailable, QueueFailed: as for run().
        """
        return int(self._done(_Job((bulk, row), grows)))

    def _done(self, job: _Job) -> Any:
        if self._failure is not None:
            raise self._failure
        if self._db is None or self._closing:
            raise QueueUnavailable("The queue is closed.")
        self._jobs.append(job)
        self._work.set()
        result: Any = job.done.get()
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """Commits what has gathered, empties the WAL and lets the file go."""
        self._closing = True
        self._work.set()
        self._committer.stop()
        if self._db is not None:
            result = self._thread.apply(_caught, (close_file, self._db))
            if isinstance(result, Exception):
                log.warning("%s was not closed cleanly: %s", self.path, result)
            self._db = None
        self._thread.kill()
        self._disk.close()

    def problem(self) -> str | None:
        if self._failure is not None:
            return str(self._failure)
        if self._db is None:
            return "The queue is not open."
        return self._committer.problem() or self._disk.problem()

    def _commit_what_gathers(self) -> None:
        while not self._closing or self._jobs:
            self._work.wait()
            self._work.clear()
            jobs, self._jobs = self._jobs, []
            if not jobs:
                continue
            self._commit(jobs)
            if self._failure is not None:
                self._on_failure(self._failure)
                self._on_failure = lambda _: None

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for all; whatever happens, nobody waits for ever."""
        unknown = QueueUnavailable(f"{self.path}: nobody knows what was stored.")
        results: list[Any] = [unknown] * len(jobs)
        try:
            results = self._thread.apply(self._transaction, (jobs,))
        finally:
            for job, result in zip(jobs, results, strict=True):
                job.done.set(result)

    def _transaction(self, jobs: list[_Job]) -> list[Any]:
        """One transaction for all. Runs in the thread, so it returns its errors."""
        assert self._db is not None  # noqa: S101 - opened before the first job
        refusal = None
        if any(job.grows for job in jobs):
            problem = disk_problem(self.path)
            refusal = QueueUnavailable(problem) if problem else None
        try:
            self._db.execute("BEGIN IMMEDIATE")
            results = _work(self._db, jobs, refusal)
            crash.at("before_commit")
            self._db.execute("COMMIT")
            crash.at("after_commit")
        except Exception as exc:  # noqa: BLE001 - raised again in the greenlets that wait
            error = self._rolled_back(self._db, exc)
            return [error] * len(jobs)
        return results

    def _rolled_back(self, db: sqlite3.Connection, exc: Exception) -> MspcError:
        error: MspcError
        code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
        ):
            # After a failed fsync the kernel drops the dirty pages: what a later
            # commit says of them would be a guess. A restart reads what is there.
            error = self._failure = QueueFailed(f"{self.path} failed: {exc}")
        else:
            error = QueueUnavailable(f"{self.path}: {exc}")
        error.__cause__ = exc
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error as rollback:
            self._failure = QueueFailed(f"{self.path} failed: {rollback}")
        return error


def _work(
    db: sqlite3.Connection, jobs: list[_Job], refusal: QueueUnavailable | None
) -> list[Any]:
    """What each job gives; `refusal` for those that need room."""
    results: list[Any] = [refusal] * len(jobs)
    bulks: dict[Bulk, dict[int, Row]] = {}
    for place, job in enumerate(jobs):
        if job.grows and refusal:
            continue
        if isinstance(job.work, tuple):
            bulk, row = job.work
            bulks.setdefault(bulk, {})[place] = row
        else:
            results[place] = job.work(db)
    for bulk, rows in bulks.items():
        numbers = bulk.run(db, list(rows.values()))
        for place, number in zip(rows, numbers, strict=True):
            results[place] = number
    return results


def _caught(function: Callable[..., Any], *arguments: Any) -> Any:
    # An exception that leaves a job of gevent's thread pool is printed by the hub.
    try:
        return function(*arguments)
    except Exception as exc:  # noqa: BLE001 - raised again by the caller
        return exc
