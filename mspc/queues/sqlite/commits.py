"""Group commit: whatever is to be written shares a transaction, in one native thread.

Why one connection: every SQLite up to 3.51.2 can corrupt a WAL that two connections
reset at once (sqlite.org/changes.html, 3.51.3); with one it cannot happen. Why a thread
of its own: a statement blocks its thread, and in a greenlet that would be the hub. Why
group commit: synchronous=FULL costs one fsync a transaction, so whatever has gathered
while the last fsync ran shares the next one.
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from gevent import Greenlet
from gevent.event import Event
from gevent.threadpool import ThreadPool

from mspc.errors import MspcError, QueueFailed, QueueUnavailable
from mspc.process import crash
from mspc.process.bulk import Bulk, Row
from mspc.process.greenlets import Watched, caught
from mspc.process.lookout import Lookout
from mspc.queues.sqlite.file import close_file, is_index_damage, open_file, prepare
from mspc.queues.sqlite.jobs import Job, Jobs, failure_of, refusals_of, work
from mspc.queues.sqlite.space import disk_problem, transaction_bytes
from mspc.queues.watch import COMMIT, NOBODY, StoreWatch

log = logging.getLogger(__name__)

T = TypeVar("T")
Statements = Callable[[sqlite3.Connection], Any]

# A file of some MB is checked in less; nobody has to look twice then.
SHORT_CHECK_SECONDS = 0.5
# Whoever puts a call meanwhile waits for so long before he is told to come again.
WAIT_FOR_CHECK_SECONDS = 5.0


class Store:
    """Runs statements in the store's thread and returns when they are committed.

    Attributes:
        path: the file.
        calls: how many are stored and not settled: counted where they are committed.
        inside: bytes that are free in the file, as far as anybody has looked.
        transactions: how many there were.
        opened: set when the file was checked, or when it never will be.
    """

    def __init__(self, path: Path, watch: StoreWatch = NOBODY) -> None:
        self.path = path
        self._watch = watch
        self._took = 0.0  # of the last transaction that has written, seconds
        self.calls = 0
        self.inside = 0
        self.transactions = 0
        self.opened = Event()
        self._thread = ThreadPool(1)
        # Not in that thread: it may be in the middle of a commit that takes long.
        self._disk = Lookout(f"{path.parent}", lambda: disk_problem(path, self.inside))
        self._jobs = Jobs(path)
        self._closing = False
        self._committer = Watched(f"committer of {path}", self._commit_what_gathers)
        self._opening: Greenlet[..., None] | None = None
        self._file: sqlite3.Connection | None = None
        self._db: sqlite3.Connection | None = None  # the file, once it was checked
        self._failure: MspcError | None = None
        self._mended = False  # its indexes
        self._on_failure: Callable[[MspcError], None] = lambda _: None

    def open(
        self,
        on_failure: Callable[[MspcError], None],
        first: Statements = lambda _: None,
    ) -> None:
        """Opens or creates the file; returns before a large one was checked.

        Args:
            on_failure: called when the file turns out to be damaged after that.
            first: the first transaction; nobody else's comes before it.

        Raises:
            ConfigError: it cannot be created, is in use, damaged, or not ours.
        """
        self._on_failure = on_failure
        result = self._thread.apply(caught, (open_file, self.path))
        if isinstance(result, Exception):
            raise result
        self._file = result
        self._jobs.most = transaction_bytes(self.path)
        self._opening = Greenlet.spawn(self._prepare, first)
        self._opening.join(SHORT_CHECK_SECONDS)
        if self._failure is not None:
            self._on_failure = lambda _: None
            raise self._failure
        if not self.opened.is_set():
            log.info("%s is being checked", self.path)
        self._opening.rawlink(lambda _: self._tell())

    def _prepare(self, first: Statements) -> None:
        assert self._file is not None  # noqa: S101 - it was opened
        result = self._thread.apply(caught, (prepare, self._file, self.path))
        if result is None and not self._closing:
            self._db = self._file
            job = Job(first)
            self._commit([job])
            result = job.done.get()
            self._committer.start()
        elif result is not None:
            self._file = None  # what is refused was closed
        if isinstance(result, Exception) and not self._closing:
            if not isinstance(result, MspcError):
                result = QueueFailed(f"{self.path} failed: {result}")
            self._failure = self._failure or result
        self.opened.set()

    def _tell(self) -> None:
        """Says once that it cannot go on."""
        if self._failure is not None:
            on_failure, self._on_failure = self._on_failure, lambda _: None
            on_failure(self._failure)

    def run(
        self,
        statements: Callable[[sqlite3.Connection], T],
        grows: int = 0,
        adds: int = 0,
        counted: Callable[[T], int] | None = None,
    ) -> T:
        """Runs `statements` in a transaction; returns what they return, committed.

        Args:
            statements: called in the store's thread, with others in one transaction.
            grows: as for run_for().
            adds: the same.
            counted: tells `adds` of what the statements return.

        Raises:
            QueueUnavailable: the transaction was rolled back.
            QueueFailed: the file cannot be trusted any more.
        """
        return self._done(Job(statements, (), grows, adds, counted))  # type: ignore[no-any-return]

    def run_for(
        self,
        bulk: Bulk,
        row: Row,
        *also: tuple[Bulk, Row],
        grows: int = 0,
        adds: int = 0,
        if_left: Callable[[int], None] | None = None,
    ) -> int:
        """Runs `bulk` for `row`, together with the rows of others; its number.

        Within a transaction, bulks come after other statements.

        Args:
            bulk: a constant: what is the same is done together.
            row: its values.
            also: rows for other bulks, in the same transaction.
            grows: so many bytes are added: refuse when the disk is nearly full.
            adds: by how much it changes the number of calls.
            if_left: gets the number, when whoever waits for it was ended meanwhile.

        Raises:
            QueueUnavailable, QueueFailed: as for run().
        """
        job = Job((bulk, row), also, grows, adds)
        try:
            return int(self._done(job))
        except BaseException:
            if if_left is not None:
                job.tell(if_left)
            raise

    def run_alone(self, statements: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `statements` between two transactions: if they fail, nobody else does.

        Args:
            statements: each of them is a transaction of its own.

        Raises:
            QueueUnavailable, QueueFailed: as for run().
        """
        if self._db is None or self._closing:
            raise QueueUnavailable("The queue is closed.")
        result: Any = self._thread.apply(self._alone, (self._db, statements))
        self._tell()
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]

    def _alone(self, db: sqlite3.Connection, statements: Statements) -> Any:
        if self._failure is not None:
            return self._failure
        try:
            return statements(db)
        except Exception as exc:  # noqa: BLE001 - raised again in the greenlet that waits
            return self._rolled_back(db, exc)

    def wait_until_open(self) -> None:
        """Returns when the first transaction is over, which is soon in most files.

        Raises:
            QueueUnavailable, QueueFailed: as for run().
        """
        if self._file is not None and not self.opened.is_set():
            self.opened.wait(WAIT_FOR_CHECK_SECONDS)
        if self._failure is not None:
            raise QueueFailed(str(self._failure)) from self._failure
        if self._db is None or self._closing or not self.opened.is_set():
            raise QueueUnavailable(self.problem() or "The queue is not open.")

    def _done(self, job: Job) -> Any:
        self.wait_until_open()
        return self._jobs.do(job)

    def close(self) -> None:
        """Commits what has gathered, empties the WAL and lets the file go."""
        self._closing = True
        if self._opening is not None and not self._opening.dead:
            if self._file is not None:
                self._file.interrupt()  # the check of a large file
            self._opening.join()
        self.opened.set()
        self._jobs.work.set()
        self._committer.stop()
        if self._file is not None:
            result = self._thread.apply(caught, (close_file, self._file))
            if isinstance(result, Exception):
                log.warning("%s was not closed cleanly: %s", self.path, result)
            self._file = self._db = None
        self._thread.kill()
        self._disk.close()

    def problem(self) -> str | None:
        if self._failure is not None:
            return str(self._failure)
        if self._db is None:
            if self._file is not None and not self._closing:
                return f"{self.path} is being checked; calls are accepted after that."
            return "The queue is not open."
        return self._committer.problem() or self._disk.problem()

    def _commit_what_gathers(self) -> None:
        while not self._closing or self._jobs:
            jobs = self._jobs.take()
            if jobs:
                self._commit(jobs)
            self._tell()

    def _commit(self, jobs: list[Job]) -> None:
        """One transaction for all; whatever happens, nobody waits for ever."""
        unknown = QueueUnavailable(f"{self.path}: nobody knows what was stored.")
        results: list[Any] = [unknown] * len(jobs)
        self._took = 0.0
        try:
            results = self._thread.apply(self._transaction, (jobs,))
        finally:
            self._jobs.done(jobs, results)
        if self._took:
            self._watch.took(COMMIT, self._took)

    def _transaction(self, jobs: list[Job]) -> list[Any]:
        """One transaction for all. Runs in the thread, so it returns its errors."""
        assert self._db is not None  # noqa: S101 - opened before the first job
        # What has gathered while a COMMIT failed goes into no file that nobody trusts.
        if self._failure is not None:
            return [self._failure] * len(jobs)
        try:
            started, changes = time.monotonic(), self._db.total_changes
            self._db.execute("BEGIN IMMEDIATE")
            refused, self.inside = refusals_of(self.path, self._db, jobs, self.inside)
            results = work(self._db, jobs, refused)
            crash.at("before_commit")
            self._db.execute("COMMIT")
            if self._db.total_changes != changes:  # nobody waits for a disk to read
                self._took = time.monotonic() - started
            # Here, not where somebody waits for it, who may have been ended meanwhile.
            self.calls += sum(job.adds for job in jobs)
            self.calls -= sum(jobs[place].adds for place in refused)
            self.transactions += 1
            crash.at("after_commit")
        except Exception as exc:  # noqa: BLE001 - raised again in the greenlets that wait
            if is_index_damage(exc) and self._indexes_made_again(self._db):
                return self._transaction(jobs)
            error = self._rolled_back(self._db, exc)
            return [error] * len(jobs)
        return results

    def _indexes_made_again(self, db: sqlite3.Connection) -> bool:
        """Once: all of them fit their rows then; what else is damaged stays so."""
        if self._mended:
            return False
        self._mended = True
        log.warning("%s: an index does not fit its rows; it is made again", self.path)
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
            db.execute("REINDEX")
            return True
        return False

    def _rolled_back(self, db: sqlite3.Connection, exc: Exception) -> MspcError:
        error = failure_of(self.path, exc)
        if isinstance(error, QueueFailed):
            self._failure = error
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error as rollback:
            self._failure = QueueFailed(f"{self.path} failed: {rollback}")
        return error
