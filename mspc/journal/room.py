"""The journal's disk: where it stops, so that the queue beside it can go on."""

import os
from pathlib import Path

from mspc.journal.gathering import CHUNK_BYTES
from mspc.process.disk import reserve_of

# What one transaction takes at most, before the next look: in the WAL, then in the
# file, each time with its indexes.
LEAST_MARGIN_BYTES = 4 * CHUNK_BYTES
_PAGE_BYTES = 4096
# The WAL grows to this before its pages go into the file: less than the margin. While
# they do nobody is answered.
_WAL_SHARE = 8
_LEAST_WAL_PAGES, _MOST_WAL_PAGES = 100, 400


class NoRoom(Exception):
    """The disk is so full that what is left is the queue's."""


def look_for_room(path: Path) -> None:
    """
    Raises:
        NoRoom: nothing may be written now.
        OSError: the volume cannot be looked at.
    """
    disk = os.statvfs(path.parent)
    free, least = disk.f_bavail * disk.f_frsize, _least(disk)
    if free < least:
        raise NoRoom(
            f"The disk of {path.parent} is nearly full: {free >> 20} MiB free, the"
            f" journal is written from {least >> 20} MiB on."
        )


def wal_pages(path: Path) -> int:
    """How many pages the WAL may have before they are brought into the file.

    Raises:
        OSError: the volume cannot be looked at.
    """
    pages = _margin(os.statvfs(path.parent)) // _WAL_SHARE // _PAGE_BYTES
    return min(max(pages, _LEAST_WAL_PAGES), _MOST_WAL_PAGES)


def _least(disk: os.statvfs_result) -> int:
    return reserve_of(disk.f_blocks * disk.f_frsize) + _margin(disk)


def _margin(disk: os.statvfs_result) -> int:
    return max(reserve_of(disk.f_blocks * disk.f_frsize), LEAST_MARGIN_BYTES)
