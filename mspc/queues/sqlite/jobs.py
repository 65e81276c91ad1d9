"""What is done in a transaction of the embedded queue: the jobs of all who wait."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gevent.event import AsyncResult, Event

from mspc.errors import MspcError, QueueFailed, QueueUnavailable
from mspc.process.bulk import Bulk, Row
from mspc.process.patience import Patience, TookTooLong
from mspc.queues.sqlite.space import disk_problem, free_in, nearly_full, space_of

# As long as RabbitMQ may take to confirm one.
PATIENCE_SECONDS = 10.0

Statements = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True)
class Job:
    """What to do in the next transaction, and who waits for the commit.

    Attributes:
        work: statements of its own, or a row for a bulk.
        also: rows for other bulks.
        grows: bytes that it adds; 0 for what is done on a full disk, too.
        adds: by how much it changes the number of calls.
        counted: tells that of what its statements gave, when nobody knows before.
    """

    work: Statements | tuple[Bulk, Row]
    also: tuple[tuple[Bulk, Row], ...] = ()
    grows: int = 0
    adds: int = 0
    counted: Callable[[Any], int] | None = None
    done: "AsyncResult[Any]" = field(default_factory=AsyncResult)

    def tell(self, stored: Callable[[int], None]) -> None:
        """Calls `stored` with the number of the row, once there is one."""

        def told(done: "AsyncResult[Any]") -> None:
            if isinstance(done.value, int):
                stored(done.value)

        self.done.rawlink(told)


class Jobs:
    """Those that wait for a transaction, and whoever waits for them.

    Attributes:
        most: bytes in one transaction.
        work: set when there is one to do.
    """

    def __init__(self, path: Path) -> None:
        """`path`: of the file."""
        self.most = 0
        self.work = Event()
        self._path = path
        self._patience = Patience(PATIENCE_SECONDS)
        self._waiting: list[Job] = []
        self._stuck = False  # nothing was committed since somebody has given up

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def do(self, job: Job) -> Any:
        """Returns what it gives when that is committed.

        What adds something does not wait for ever: whoever puts a call holds one of so
        many connections, which on a disk that hangs nobody else would get.

        Raises:
            MspcError: it was rolled back, or takes too long.
        """
        if self._stuck and job.grows:
            raise QueueUnavailable(f"{self._path} takes nothing at the moment.")
        self._waiting.append(job)
        self.work.set()
        try:
            result = self._patience.wait(job.done) if job.grows else job.done.get()
        except TookTooLong as exc:
            if not job.done.ready():  # just now
                raise self._given_up(job) from exc
            result = job.done.get()
        if isinstance(result, Exception):
            raise result
        return result

    def _given_up(self, job: Job) -> QueueUnavailable:
        self._stuck, before = True, len(self._waiting)
        self._waiting = [one for one in self._waiting if one is not job]
        known = len(self._waiting) < before
        what = "the call is not stored" if known else "nobody knows what was stored"
        return QueueUnavailable(
            f"{self._path} has taken nothing for {PATIENCE_SECONDS:.0f} s: {what}."
        )

    def take(self) -> list[Job]:
        """Waits for work; those for the next transaction, if there are any."""
        self.work.wait()
        self.work.clear()
        jobs, self._waiting = in_one_transaction(self._waiting, self.most)
        if self._waiting:
            self.work.set()
        return jobs

    def done(self, jobs: list[Job], results: list[Any]) -> None:
        """Tells whoever waits for them."""
        self._stuck = False
        for job, result in zip(jobs, results, strict=True):
            job.done.set(result)


def in_one_transaction(jobs: list[Job], most: int) -> tuple[list[Job], list[Job]]:
    """Those to do now, and the others: all and none, but for many large calls.

    Args:
        jobs: in their order.
        most: bytes that they may add; the first may be larger.
    """
    if sum(job.grows for job in jobs) <= most:
        return jobs, []
    size = jobs[0].grows
    for count, job in enumerate(jobs[1:], 1):
        size += job.grows
        if size > most:
            return jobs[:count], jobs[count:]
    return jobs, []


def refusals(jobs: list[Job], left: int, problem: str) -> dict[int, QueueUnavailable]:
    """Which of the jobs do not fit into `left` bytes, by their places."""
    refused = {}
    for place, job in enumerate(jobs):
        if job.grows and job.grows > left:
            refused[place] = QueueUnavailable(problem)
        else:
            left -= job.grows
    return refused


def refusals_of(
    path: Path, db: sqlite3.Connection, jobs: list[Job], inside: int
) -> tuple[dict[int, QueueUnavailable], int]:
    """Which jobs the disk has no room for, and what is free in the file, in bytes.

    Args:
        path: the file.
        db: the same, open.
        jobs: of one transaction.
        inside: what was free when somebody looked last.
    """
    if not any(job.grows for job in jobs):
        return {}, inside
    try:
        space = space_of(path)
    except OSError:
        problem = disk_problem(path) or "The disk could not be looked at."
        return refusals(jobs, 0, problem), inside
    if space.free < 2 * space.reserve:
        inside = free_in(db)
        space = replace(space, inside=inside)
    return refusals(jobs, space.for_calls, nearly_full(path, space)), inside


def work(
    db: sqlite3.Connection, jobs: list[Job], refused: dict[int, QueueUnavailable]
) -> list[Any]:
    """What each job gives; the refusal for those that are not done."""
    results: list[Any] = [None] * len(jobs)
    bulks: dict[Bulk, dict[int, Row]] = {}
    for place, job in enumerate(jobs):
        if place in refused:
            results[place] = refused[place]
        elif isinstance(job.work, tuple):
            bulk, row = job.work
            bulks.setdefault(bulk, {})[place] = row
            for other, row in job.also:
                bulks.setdefault(other, {})[~place] = row  # nobody asks its number
        else:
            results[place] = job.work(db)
            if job.counted is not None:
                job.adds = job.counted(results[place])
    for bulk, rows in bulks.items():
        numbers = bulk.run(db, list(rows.values()))
        for place, number in zip(rows, numbers, strict=True):
            if place >= 0:
                results[place] = number
    return results


def failure_of(path: Path, exc: Exception) -> MspcError:
    """What a transaction that was not committed says of the file."""
    error: MspcError
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        # After a failed fsync the kernel drops the dirty pages: what a later commit
        # says of them would be a guess. A restart reads what is there.
        error = QueueFailed(f"{path} failed: {exc}")
    else:
        error = QueueUnavailable(f"{path}: {exc}")
    error.__cause__ = exc
    return error
