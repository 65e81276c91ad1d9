"""The embedded queue's file: one connection, one native thread, group commit.

Why one connection: every SQLite up to 3.51.2 can corrupt a WAL that two connections
reset at once (sqlite.org/changes.html, 3.51.3); with one it cannot happen. Why a thread
of its own: a statement blocks its thread, and in a greenlet that would be the hub. Why
group commit: synchronous=FULL costs one fsync a transaction, so whatever has gathered
while the last fsync ran shares the next one.
"""

import logging
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool

from mspc import crash
from mspc.errors import ConfigError, MspcError, QueueFailed, QueueUnavailable
from mspc.watched import Watched

log = logging.getLogger(__name__)

T = TypeVar("T")
Statements = Callable[[sqlite3.Connection], Any]

APPLICATION_ID = 0x6D737063  # "mspc"
SCHEMA_VERSION = 1
LOCK_WAIT_SECONDS = 1.0

# A full disk must still have room for deletes: they go through the WAL too.
RESERVE_BYTES = 256 * 1024 * 1024
RESERVE_SHARE = 20  # ... or one twentieth of a small volume

SCHEMA = """
CREATE TABLE calls (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    payload BLOB NOT NULL CHECK (typeof(payload) = 'blob')
);
CREATE TABLE waiting (
    seq INTEGER PRIMARY KEY,
    due INTEGER NOT NULL,      -- Unix milliseconds
    delay INTEGER NOT NULL,    -- milliseconds between the failure and due
    id TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    payload BLOB NOT NULL CHECK (typeof(payload) = 'blob')
);
CREATE INDEX waiting_due ON waiting (due);
CREATE TABLE dead (
    seq INTEGER PRIMARY KEY,
    died_at REAL NOT NULL,
    reason TEXT NOT NULL,
    id TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    payload BLOB NOT NULL CHECK (typeof(payload) = 'blob')
);
"""


@dataclass(slots=True)
class _Job:
    """Statements to run in the next transaction, and who waits for the commit."""

    statements: Statements
    grows: bool
    done: "AsyncResult[Any]" = field(default_factory=AsyncResult)


class Store:
    """Runs statements in the store's thread and returns when they are committed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPool(1)
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
        result = self._thread.apply(_caught, (_open, self.path))
        if isinstance(result, Exception):
            raise result
        self._db = result
        self._committer.start()

    def run(
        self, statements: Callable[[sqlite3.Connection], T], grows: bool = False
    ) -> T:
        """Runs `statements` in a transaction; returns what they return, committed.

        Args:
            statements: called in the store's thread; it may be one of many in the
                same transaction.
            grows: refuse when the disk is nearly full.

        Raises:
            QueueUnavailable: the transaction was rolled back.
            QueueFailed: the file cannot be trusted any more.
        """
        if self._failure is not None:
            raise self._failure
        if self._db is None or self._closing:
            raise QueueUnavailable("The queue is closed.")
        job = _Job(statements, grows)
        self._jobs.append(job)
        self._work.set()
        result: Any = job.done.get()
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """Commits what has gathered, empties the WAL and lets the file go."""
        self._closing = True
        self._work.set()
        self._committer.stop()
        if self._db is not None:
            result = self._thread.apply(_caught, (_close, self._db))
            if isinstance(result, Exception):
                log.warning("%s was not closed cleanly: %s", self.path, result)
            self._db = None
        self._thread.kill()

    def problem(self) -> str | None:
        if self._failure is not None:
            return str(self._failure)
        if self._db is None:
            return "The queue is not open."
        return self._committer.problem() or _disk_problem(self.path)

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
            problem = _disk_problem(self.path)
            refusal = QueueUnavailable(problem) if problem else None
        try:
            self._db.execute("BEGIN IMMEDIATE")
            results = [
                refusal if job.grows and refusal else job.statements(self._db)
                for job in jobs
            ]
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


def _caught(function: Callable[..., Any], *arguments: Any) -> Any:
    # An exception that leaves a job of gevent's thread pool is printed by the hub.
    try:
        return function(*arguments)
    except Exception as exc:  # noqa: BLE001 - raised again by the caller
        return exc


def _disk_problem(path: Path) -> str | None:
    try:
        disk = os.statvfs(path.parent)
    except OSError as exc:
        return f"{path.parent} cannot be looked at: {exc.strerror}."
    free = disk.f_bavail * disk.f_frsize
    reserve = min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize // RESERVE_SHARE)
    if free >= reserve:
        return None
    return (
        f"The disk of {path.parent} is nearly full: {free >> 20} MiB free, calls are"
        f" accepted from {reserve >> 20} MiB on."
    )


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Bodies are secrets of the callers; and the file says at once if it can be
        # written at all.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as exc:
        raise ConfigError(
            f"DATA_DIR: {path} cannot be written: {exc.strerror}. Name a directory that"
            " the user of this process may write to."
        ) from exc
    db = sqlite3.connect(
        path, timeout=LOCK_WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(db, path)
    except sqlite3.Error as exc:
        db.close()
        raise ConfigError(_unusable(path, exc)) from exc
    except ConfigError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    # Looked at before anything is written: what is refused is left as it was found.
    db.execute("PRAGMA locking_mode=EXCLUSIVE")  # before the first look at the WAL
    new = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if new:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before the first table
    else:
        _check(db, path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA temp_store=MEMORY")
    db.execute(f"PRAGMA journal_size_limit={64 * 1024 * 1024}")
    db.execute("BEGIN IMMEDIATE")  # takes the lock, for as long as the file is open
    if new:
        for statement in SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.execute("COMMIT")


def _check(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigError(f"DATA_DIR: {path} is not a queue of mspc. Move it away.")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"DATA_DIR: {path} has layout {version}, this mspc knows {SCHEMA_VERSION}."
            " Start the version of mspc that wrote it."
        )
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _unusable(path: Path, exc: sqlite3.Error) -> str:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return f"DATA_DIR: {path} is in use by another mspc. Stop it, or name another."
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"DATA_DIR: {path} is damaged ({exc}). Restore a"
            " backup, or move it away and save what can be saved with"
            f" `sqlite3 {path} .recover`."
        )
    return f"DATA_DIR: {path} cannot be used: {exc}."


def _close(db: sqlite3.Connection) -> None:
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
