"""The embedded queue's disk: how much of it calls may take."""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from mspc.process.disk import reserve_of

PAGE_BYTES = 4096
FRAME_BYTES = PAGE_BYTES + 24  # a page in the WAL
# The WAL grows to this before its pages go into the file: much less than the reserve.
WAL_SHARE = 8
LEAST_WAL_PAGES, MOST_WAL_PAGES = 100, 4000
MOST_TRANSACTION_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Space:
    """What there is at one moment, in bytes.

    Attributes:
        free: of the volume.
        reserve: what is kept for settling calls.
        inside: of the file, in pages that hold nothing any more.
        wal: of the WAL, which the next transactions write over.
    """

    free: int
    reserve: int
    inside: int = 0
    wal: int = 0

    @property
    def for_calls(self) -> int:
        """How much of new calls can be stored; 0 or less for nothing.

        Pages that are free in the file are room as the volume's are, but each of them
        is first written to the WAL: over what it has room for, and what is beyond that
        the volume must have room for.
        """
        on_disk = self.free + self.wal - self.reserve // 2
        return min(self.free + self.inside - self.reserve, on_disk)


def space_of(path: Path, inside: int = 0) -> Space:
    """
    Raises:
        OSError: the volume cannot be looked at.
    """
    disk = os.statvfs(path.parent)
    reserve = reserve_of(disk.f_blocks * disk.f_frsize)
    wal = wal_room(path, _wal_pages(reserve))
    return Space(disk.f_bavail * disk.f_frsize, reserve, inside, wal)


def wal_room(path: Path, pages: int) -> int:
    """Bytes of the WAL that the next transactions write over, at least.

    Args:
        path: the file.
        pages: as wal_pages(): from so many on, the commit that wrote them brings them
            into the file, and the next transaction begins at the start of the WAL.
    """
    try:
        size = path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0
    return max(0, size - pages * FRAME_BYTES)


def wal_pages(path: Path) -> int:
    """How many pages the WAL may have before they are brought into the file."""
    try:
        return _wal_pages(space_of(path).reserve)
    except OSError:
        return LEAST_WAL_PAGES


def _wal_pages(reserve: int) -> int:
    pages = reserve // WAL_SHARE // PAGE_BYTES
    return min(max(pages, LEAST_WAL_PAGES), MOST_WAL_PAGES)


def free_in(db: sqlite3.Connection) -> int:
    """Bytes of the pages of the file that hold nothing any more."""
    return int(db.execute("PRAGMA freelist_count").fetchone()[0]) * PAGE_BYTES


def transaction_bytes(path: Path) -> int:
    """How much may be put in one transaction: the WAL has to hold it all.

    Less than what Space.for_calls leaves on a disk that is as full as it may be (half
    the reserve, less the part of the WAL that is not written over yet), else calls were
    refused in an empty file only because they came together.
    """
    try:
        return min(MOST_TRANSACTION_BYTES, space_of(path).reserve // 4)
    except OSError:
        return MOST_TRANSACTION_BYTES


def disk_problem(path: Path, inside: int = 0) -> str | None:
    """Why no calls can be stored; None when they can.

    Args:
        path: the file.
        inside: bytes that are free in it.
    """
    try:
        space = space_of(path, inside)
    except OSError as exc:
        return f"{path.parent} cannot be looked at: {exc.strerror}."
    return None if space.for_calls >= 0 else nearly_full(path, space)


def nearly_full(path: Path, space: Space) -> str:
    return (
        f"The disk of {path.parent} is nearly full: {space.free >> 20} MiB free, calls"
        f" are accepted from {space.reserve >> 20} MiB on."
    )
