"""How much of a volume is free, without waiting for one that hangs; what is kept."""

import os
from collections.abc import Callable
from pathlib import Path

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

LOOK_SECONDS = 1.0
# A full disk must still have room for deletes: they go through the WAL too.
RESERVE_BYTES = 256 * 1024 * 1024
RESERVE_SHARE = 20  # ... or one twentieth of a small volume


def reserve_of(volume: int) -> int:
    """Of a volume of so many bytes, those that are kept for settling calls."""
    return min(RESERVE_BYTES, volume // RESERVE_SHARE)


class Volume:
    """The disk of a folder, looked at in a thread: a dead one would stop everything.

    One look at a time, and not in the hub's threads, where names are looked up: looks
    that never end would take all of them.
    """

    def __init__(
        self,
        folder: Path,
        look: Callable[[Path], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._folder = folder
        self._look = look
        self._thread: ThreadPool | None = None
        self._under_way: AsyncResult[os.statvfs_result] | None = None

    def free(self) -> int:
        """Bytes that are free.

        Raises:
            OSError: it cannot be looked at, or not soon.
        """
        if self._thread is None:
            self._thread = ThreadPool(1)
        if self._under_way is None or self._under_way.ready():
            self._under_way = self._thread.spawn(self._look, self._folder)
        try:
            found = self._under_way.get(timeout=LOOK_SECONDS)
        except gevent.Timeout as exc:
            told = f"{self._folder} could not be looked at in time"
            raise TimeoutError(told) from exc
        assert found is not None  # noqa: S101 - get() gives what the thread returned
        return found.f_bavail * found.f_frsize
