"""The embedded queue's file: opened, made, brought up to date, looked at, closed."""

import os
import sqlite3
from pathlib import Path

from mspc.errors import ConfigError

APPLICATION_ID = 0x6D737063  # "mspc"
SCHEMA_VERSION = 2
LOCK_WAIT_SECONDS = 1.0

# A full disk must still have room for deletes: they go through the WAL too.
RESERVE_BYTES = 256 * 1024 * 1024
RESERVE_SHARE = 20  # ... or one twentieth of a small volume

# What every table has of a call. CRC: NULL when nobody took one.
_CALL = """
    id TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    payload BLOB NOT NULL CHECK (typeof(payload) = 'blob'),
    crc INTEGER
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
"""


def disk_problem(path: Path) -> str | None:
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


def open_file(path: Path) -> sqlite3.Connection:
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
    statements = SCHEMA.split(";") if new else _upgrade(db)
    for statement in statements:
        db.execute(statement)
    if statements:
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.execute("COMMIT")


def _check(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigError(f"DATA_DIR: {path} is not a queue of mspc. Move it away.")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not 1 <= version <= SCHEMA_VERSION:
        raise ConfigError(
            f"DATA_DIR: {path} has layout {version}, this mspc knows {SCHEMA_VERSION}."
            " Start the version of mspc that wrote it."
        )
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _upgrade(db: sqlite3.Connection) -> list[str]:
    """The statements that bring an older layout to this one."""
    if db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
        return []
    return [
        f"ALTER TABLE {table} ADD COLUMN crc INTEGER"
        for table in ("calls", "waiting", "dead")
    ]


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


def close_file(db: sqlite3.Connection) -> None:
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
