"""The log's file: it rotates by itself, may be moved from outside, and may fail."""

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress

from gevent.monkey import get_original

# How long a file that was moved may still be written to, and how soon a rotation that
# failed is tried again.
LOOK_AGAIN_SECONDS = 0.5
# The URLs in it are as confidential as the queue, but for those who collect logs.
MODE = 0o640
DIRECTORY_MODE = 0o750

# gevent's waits for its hub, and this thread must not get one.
_close = get_original("os", "close")


class LogFile:
    """Where a writer's thread appends to. Each part of it may block.

    The rotation is that of logging.handlers.RotatingFileHandler, to the names of the
    files; the handler itself takes gevent's locks, and is flushed at the end whether
    its disk hangs or not.
    """

    def __init__(
        self,
        path: str,
        max_bytes: int,
        kept: int,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            path: the file; its directory is made once.
            max_bytes: it is rotated before it is larger; 0 for never.
            kept: how many rotated files are kept: path.1 is the latest.
            tell: told when it cannot be rotated.
            clock: seconds.
        """
        self._path = os.path.abspath(path)
        self._max_bytes = max_bytes
        self._kept = kept
        self._tell = tell
        self._clock = clock
        self._looked_at = 0.0
        self._descriptor = -1
        self._place: tuple[int, int] | None = None
        self._size = 0
        self._is_file = False
        self._new = True
        self._stays_until: float | None = None  # when it could not be rotated

    def write(self, data: bytes) -> None:
        """
        Raises:
            OSError: it cannot be written; the next call tries anew.
        """
        try:
            self._reopen_if_moved()
            if self._is_file and self._size and self._is_full_with(len(data)):
                self._rotate()
            _write_all(self._descriptor, data)
        except OSError:
            self.close()  # what is behind it may be gone for good: a mount, a reader
            raise
        self._size += len(data)

    def close(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                _close(self._descriptor)
        self._descriptor, self._place = -1, None

    def _reopen_if_moved(self) -> None:
        now = self._clock()
        if self._place is not None:
            if now - self._looked_at < LOOK_AGAIN_SECONDS:
                return
            with suppress(FileNotFoundError):
                status = os.stat(self._path)
                if (status.st_dev, status.st_ino) == self._place:
                    self._looked_at = now
                    self._keep_count(status)
                    return
            self.close()
        self._looked_at = now
        self._open()

    def _open(self) -> None:
        if self._new:
            directory = os.path.dirname(self._path)
            os.makedirs(directory, DIRECTORY_MODE, exist_ok=True)
            self._new = False
        # Without O_NONBLOCK a FIFO is not opened before somebody reads it.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = os.open(self._path, flags | os.O_NOCTTY, MODE)
        os.set_blocking(self._descriptor, True)
        status = os.fstat(self._descriptor)
        self._place = status.st_dev, status.st_ino
        self._keep_count(status)

    def _keep_count(self, status: os.stat_result) -> None:
        # Looked up, not only counted: others may write to it, or cut it.
        self._size = status.st_size
        self._is_file = stat.S_ISREG(status.st_mode)  # else a FIFO, or /dev/null

    def _is_full_with(self, more: int) -> bool:
        return 0 < self._max_bytes < self._size + more

    def _rotate(self) -> None:
        """Starts a new file; goes on in the old one when that cannot be done."""
        now = self._clock()
        if self._stays_until is not None and now < self._stays_until:
            return
        path = os.path.realpath(self._path)  # a link stays where it is
        try:
            self._move(path)
        except OSError as exc:
            if self._stays_until is None:
                self._tell(f"LOG_FILE: {path} cannot be rotated: {exc}")
            self._stays_until = now + LOOK_AGAIN_SECONDS
            return
        self._stays_until = None
        self.close()
        self._open()

    def _move(self, path: str) -> None:
        if not self._kept:
            os.unlink(path)
            return
        for number in range(self._kept - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(f"{path}.{number}", f"{path}.{number + 1}")
        os.replace(path, f"{path}.1")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
