"""The embedded queue's file: opened, made, brought up to date, looked at, closed."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mspc.errors import ConfigError
from mspc.queues.sqlite.space import PAGE_BYTES, wal_pages

APPLICATION_ID = 0x6D737063  # "mspc"
SCHEMA_VERSION = 5
LOCK_WAIT_SECONDS = 1.0

# What every table has of a call. CRC: NULL when nobody took one. LANE: whom it goes to,
# not part of the CRC; NULL when nobody has read it.
_CALL = """
    id TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    payload BLOB NOT NULL CHECK (typeof(payload) = 'blob'),
    crc INTEGER,
    lane TEXT
"""
# The payloads that are too long for a row; rows refer to them (see statements.py).
# AUTOINCREMENT: a number is never given again, whatever somebody deletes by hand.
_BODIES = """
CREATE TABLE IF NOT EXISTS bodies (
    body INTEGER PRIMARY KEY AUTOINCREMENT,
    payload BLOB NOT NULL CHECK (typeof(payload) = 'blob')
)
"""
# Whoever cancels or retries a call knows its id. New ids grow with time, so that these
# are written at one end; with random ones each insert would touch a page of its own.
_BY_ID = """
CREATE INDEX IF NOT EXISTS calls_id ON calls (id);
CREATE INDEX IF NOT EXISTS waiting_id ON waiting (id);
CREATE INDEX IF NOT EXISTS dead_id ON dead (id)
"""
SCHEMA = f"""
CREATE TABLE calls (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    {_CALL}
);
CREATE TABLE waiting (
    seq INTEGER PRIMARY KEY,
    due INTEGER NOT NULL,      -- Unix milliseconds
    delay INTEGER NOT NULL,    -- milliseconds between the failure and due
    {_CALL}
);
CREATE INDEX waiting_due ON waiting (due);
CREATE TABLE dead (
    seq INTEGER PRIMARY KEY,
    died_at REAL NOT NULL,
    reason TEXT NOT NULL,
    {_CALL}
);
{_BODIES};
{_BY_ID};
"""


def open_file(path: Path) -> sqlite3.Connection:
    """Opens or creates the file and locks it; see prepare() for the rest.

    Raises:
        ConfigError: it cannot be created, is in use, or is not ours.
    """
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
    # A row with text that is damaged must not hide all the others: its crc tells.
    db.text_factory = lambda text: text.decode(errors="replace")
    with _refusing(db, path):
        db.execute("PRAGMA locking_mode=EXCLUSIVE")  # before the first look at the WAL
        if not is_new(db):
            _recognize(db, path)
    return db


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Checks an existing file, which takes a second a GB, and makes it ready for use.

    Raises:
        ConfigError: it is damaged, or cannot be brought up to date.
    """
    with _refusing(db, path):
        # Looked at before anything is written: what is refused is left as it was found.
        new = is_new(db)
        if new:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before the first table
        else:
            _check(db)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA temp_store=MEMORY")
        # Some builds of SQLite write zeros over each page that is freed: as much for
        # letting a call go as for storing it, and on a full disk there is no room.
        db.execute("PRAGMA secure_delete=FAST")
        db.execute(f"PRAGMA wal_autocheckpoint={wal_pages(path)}")
        # What one large transaction leaves behind is taken off by the next.
        db.execute(f"PRAGMA journal_size_limit={2 * wal_pages(path) * PAGE_BYTES}")
        db.execute("BEGIN IMMEDIATE")  # takes the lock, for as long as the file is open
        statements = SCHEMA.split(";") if new else _upgrade(db)
        for statement in statements:
            db.execute(statement)
        if statements:
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")


@contextmanager
def _refusing(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Closes what is refused, and says why."""
    try:
        yield
    except sqlite3.Error as exc:
        db.close()
        raise ConfigError(_unusable(path, exc)) from exc
    except ConfigError:
        db.close()
        raise


def is_new(db: sqlite3.Connection) -> bool:
    """Whether nothing has been made in it yet."""
    return not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _recognize(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigError(f"DATA_DIR: {path} is not a queue of mspc. Move it away.")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not 1 <= version <= SCHEMA_VERSION:
        raise ConfigError(
            f"DATA_DIR: {path} has layout {version}, this mspc knows {SCHEMA_VERSION}."
            " Start the version of mspc that wrote it."
        )


def _check(db: sqlite3.Connection) -> None:
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _upgrade(db: sqlite3.Connection) -> list[str]:
    """The statements that bring an older layout to this one; no row is rewritten."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    statements = []
    if version < 2:  # the first one with checksums
        statements += [
            f"ALTER TABLE {table} ADD COLUMN crc INTEGER"
            for table in ("calls", "waiting", "dead")
        ]
    if version < 3:  # long payloads were part of their rows, where they may stay
        statements.append(_BODIES)
    if version < 4:  # what is in the older ones is looked at when it is read
        statements += [
            f"ALTER TABLE {table} ADD COLUMN lane TEXT"
            for table in ("calls", "waiting", "dead")
        ]
    if version < 5:  # some seconds for a million calls
        statements += _BY_ID.split(";")
    return statements


def _unusable(path: Path, exc: sqlite3.Error) -> str:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return f"DATA_DIR: {path} is in use by another mspc. Stop it, or name another."
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"DATA_DIR: {path} is damaged ({exc}). Restore a backup, or save what can"
            ' be saved: "Save what is in a damaged file" in docs/operations.md.'
        )
    return f"DATA_DIR: {path} cannot be used: {exc}."


def is_index_damage(exc: Exception) -> bool:
    """Whether a row was altered where an index has it, too: in the id of a call.

    The check at the start looks at each by itself.
    """
    return getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_CORRUPT_INDEX


def empty_wal(db: sqlite3.Connection, path: Path, above: int) -> None:
    """Empties a WAL that takes more than `above` bytes; the file is cut to its size."""
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size > above:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def close_file(db: sqlite3.Connection) -> None:
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
