"""The journal's file: opened, made, looked at, set aside when it is damaged.

One connection, which keeps the file locked, in one thread: why, says
queues/sqlite/commits.py.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from mspc.errors import JournalUnavailable
from mspc.journal.room import NoRoom, wal_pages

APPLICATION_ID = 0x6D73706A  # "mspj"
LAYOUT = 1
LOCK_WAIT_SECONDS = 1.0
# A check takes a second a GB; what it does not reach tells when it is read.
CHECK_SECONDS = 2.0
_CACHE_KIB = 16_384
_LARGEST_WAL_BYTES = 32 * 2**20
_OLDEST_SQLITE = (3, 33)  # UPDATE FROM
_INSTRUCTIONS = 10_000  # of SQLite's, between two looks at the clock

# KEY: see keys.py. DUE: NULL for a finished call. HEADERS and BODY, which lists do not
# show, come last: SQLite does not read what stands behind what it needs.
# Nothing but calls_id and calls_destination has an entry for a call that has succeeded.
SCHEMA = """
CREATE TABLE destinations (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE calls (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    destination INTEGER NOT NULL,
    state TEXT NOT NULL,
    changed_at REAL NOT NULL,
    due REAL,
    attempts INTEGER NOT NULL,
    finished_at REAL,
    reason TEXT NOT NULL,
    status INTEGER,
    error TEXT NOT NULL,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    labels TEXT NOT NULL,
    max_attempts INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    number INTEGER,            -- of the last attempt, as what follows; NULL for none
    attempted_at REAL,
    seconds REAL,
    text TEXT,
    answer TEXT,
    decision TEXT,
    next_at REAL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX calls_id ON calls (id);
CREATE INDEX calls_destination ON calls (destination);
CREATE INDEX calls_state ON calls (state) WHERE state <> 'succeeded';
CREATE INDEX calls_standing ON calls (destination, state) WHERE state <> 'succeeded';
CREATE INDEX calls_due ON calls (due) WHERE due IS NOT NULL;
CREATE INDEX calls_next ON calls (destination, due) WHERE due IS NOT NULL;
CREATE TABLE attempts (
    call INTEGER NOT NULL,
    at REAL NOT NULL,
    number INTEGER NOT NULL,
    seconds REAL NOT NULL,
    status INTEGER,
    error TEXT NOT NULL,
    text TEXT NOT NULL,
    answer TEXT NOT NULL,
    decision TEXT NOT NULL,
    next_at REAL,
    reason TEXT NOT NULL,
    PRIMARY KEY (call, at, number)
) WITHOUT ROWID;
CREATE TABLE decisions (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    targets TEXT NOT NULL,     -- JSON, as the details
    reason TEXT NOT NULL,
    details TEXT NOT NULL
);
CREATE INDEX decisions_kind ON decisions (kind);
CREATE TABLE targets (
    target TEXT NOT NULL,
    decision INTEGER NOT NULL,
    PRIMARY KEY (target, decision)
) WITHOUT ROWID;
-- The offset in the stream, the time of the last event, and how many calls there are.
CREATE TABLE position (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID
"""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Damaged(Exception):
    """The file cannot be read any more, or is none of ours."""


def code_of(exc: sqlite3.Error) -> int:
    """The primary result code; SQLITE_ERROR where the module gives none."""
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def closes(exc: Exception) -> bool:
    """Whether the file has to be opened again; a full disk is no reason."""
    if isinstance(exc, sqlite3.Error):
        return code_of(exc) != sqlite3.SQLITE_FULL
    return not isinstance(exc, NoRoom)


def is_damage(exc: Exception) -> bool:
    return isinstance(exc, Damaged) or (
        isinstance(exc, sqlite3.Error) and code_of(exc) in _DAMAGED
    )


def open_file(path: Path, clock: Callable[[], float]) -> sqlite3.Connection:
    """Opens or creates the file, looks at it for a moment, and locks it.

    Args:
        path: its folder need not exist.
        clock: seconds, for how long it is looked at.

    Raises:
        Damaged: set it aside, and try again.
        JournalUnavailable: it cannot be created, or is in use; SQLite is too old.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        oldest = ".".join(map(str, _OLDEST_SQLITE))
        text = f"it needs SQLite {oldest}, this Python has {sqlite3.sqlite_version}."
        raise JournalUnavailable(text)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as exc:
        raise JournalUnavailable(f"{path} cannot be written: {exc.strerror}.") from exc
    db = sqlite3.connect(
        path, timeout=LOCK_WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    db.text_factory = lambda text: text.decode(errors="replace")
    try:
        _prepare(db, clock, wal_pages(path))
    except BaseException as exc:
        db.close()
        if not isinstance(exc, sqlite3.Error):
            raise
        if is_damage(exc):
            raise Damaged(str(exc)) from exc
        if code_of(exc) == sqlite3.SQLITE_BUSY:
            text = f"{path} is in use by another mspc."
            raise JournalUnavailable(text) from exc
        raise JournalUnavailable(f"{path} cannot be used: {exc}.") from exc
    return db


def _prepare(db: sqlite3.Connection, clock: Callable[[], float], wal: int) -> None:
    db.execute("PRAGMA locking_mode=EXCLUSIVE")  # before the first look at the WAL
    new = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if new:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before the first table
    else:
        _check(db, clock)
    db.execute("PRAGMA journal_mode=WAL")
    # A crash of the machine may take the last moments: it is a view, not the queue.
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA temp_store=MEMORY")
    db.execute("PRAGMA secure_delete=FAST")
    db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    db.execute(f"PRAGMA wal_autocheckpoint={wal}")
    db.execute(f"PRAGMA journal_size_limit={_LARGEST_WAL_BYTES}")
    db.execute("BEGIN IMMEDIATE")  # takes the lock, for as long as the file is open
    for statement in SCHEMA.split(";\n") if new else ():
        db.execute(statement)
    if new:
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={LAYOUT}")
    db.execute("COMMIT")


def _check(db: sqlite3.Connection, clock: Callable[[], float]) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise Damaged("it is not a journal of mspc")
    layout = db.execute("PRAGMA user_version").fetchone()[0]
    if layout != LAYOUT:
        raise Damaged(f"it has layout {layout}, this mspc knows {LAYOUT}")
    end = clock() + CHECK_SECONDS
    db.set_progress_handler(lambda: clock() > end, _INSTRUCTIONS)
    try:
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as exc:
        if code_of(exc) != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        db.set_progress_handler(None, 0)
    if verdict != "ok":
        raise Damaged(verdict)


def set_aside(path: Path) -> Path:
    """Moves a damaged file to `.damaged`, over an older one; its new name.

    Raises:
        OSError: it stays where it is.
    """
    aside = path.with_name(f"{path.name}.damaged")
    for suffix in ("-wal", "-shm"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
    path.replace(aside)
    return aside


def close_file(db: sqlite3.Connection) -> None:
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
