"""A buffer with an end, and a native thread that writes what is in it.

Whatever may block - a pipe that nobody reads, a terminal that was stopped, a disk that
hangs - blocks this thread and nothing else. What has no room meanwhile is left out and
counted.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from gevent.monkey import get_original

from mspc.process.lines import warning

ROOM = 4 * 1024 * 1024  # characters that may wait
BATCH = 64 * 1024  # characters written at once
# After each write, so that many lines share the next one: a thread that is woken for
# each of them takes the interpreter from the calls each time.
PAUSE_SECONDS = 0.01
# The end waits for what is still to be written: as long as it gets on, and no longer
# than this.
STUCK_SECONDS = 0.5
FLUSH_SECONDS = 5.0

# A thread of gevent's would have a hub of its own, and its locks would wait in ours.
_allocate_lock = get_original("_thread", "allocate_lock")
_start_thread = get_original("_thread", "start_new_thread")
_sleep = get_original("time", "sleep")


class Sink(Protocol):
    """Where lines end up. Only the writer's thread uses it, so it may block."""

    def write(self, data: bytes) -> None:
        """Writes all of `data`; OSError when it cannot."""

    def close(self) -> None: ...


class Writer:
    """Takes lines without ever waiting, and writes them as soon as it can."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        tell: Callable[[str], None],
        line: Callable[[str], str] = warning,
        room: int = ROOM,
    ) -> None:
        """
        Args:
            name: what it is called where its troubles are told.
            sink: where the lines go.
            tell: told once when nothing can be written; from either thread.
            line: makes a line of what is told at its place among the others.
            room: characters that may wait.
        """
        self._name = name
        self._sink = sink
        self._tell = tell
        self._line = line
        self._room = room
        self._lines: deque[str] = deque()
        self._left_out = 0  # lines since the buffer is full
        self._lost = 0  # lines since the sink fails
        # All of these since the start, each counted by one thread.
        self._all_left_out = self._all_lost = 0
        self._started = False
        self._idle = False
        self._closing = False
        self._wake = _allocate_lock()
        self._wake.acquire()
        # Characters. Each is changed by one thread only, so none of them needs a lock.
        self._put = 0
        self._taken = 0
        self._done = 0

    @property
    def dropped(self) -> int:
        """Lines that were never written, since the start."""
        return self._all_left_out + self._all_lost

    def put(self, line: str) -> None:
        """Takes the line, or leaves it out; returns at once in either case."""
        size = len(line)
        # Once it was full, it is half empty before it takes more: what is left out is
        # then one gap and not a thousand.
        room = self._room // 2 if self._left_out else self._room
        if self._put - self._taken + size > room:
            self._left_out += 1
            self._all_left_out += 1
            if self._left_out == 1:
                self._tell(f"{self._name} takes no more: lines are left out there")
            return
        if self._left_out:
            self._tell_left_out()
        self._append(line, size)

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Blocks until everything is written, and not when nothing gets on.

        Returns:
            Whether everything was.
        """
        deadline = time.monotonic() + seconds
        if not self._written_before(deadline):
            return False
        if self._left_out:
            self._tell_left_out()
        return self._written_before(deadline)

    def close(self) -> None:
        """Ends the thread once everything is written; does not wait for it."""
        self._closing = True
        self._awake()

    def _written_before(self, deadline: float) -> bool:
        patience, seen = time.monotonic() + STUCK_SECONDS, self._done
        while self._done < self._put:
            now = time.monotonic()
            if self._done > seen:
                patience, seen = now + STUCK_SECONDS, self._done
            if now > min(deadline, patience):
                return False
            _sleep(0.001)
        return True

    def _append(self, line: str, size: int) -> None:
        self._lines.append(line)
        self._put += size
        if self._idle:
            self._idle = False
            self._awake()
        elif not self._started:
            self._started = True
            _start_thread(self._run, ())

    def _tell_left_out(self) -> None:
        line = self._line(f"{self._left_out} lines left out here: there was no room")
        self._left_out = 0
        self._append(line, len(line))

    def _awake(self) -> None:
        with suppress(RuntimeError):  # it is awake, or about to be
            self._wake.release()

    # In the thread

    def _run(self) -> None:
        while True:
            lines = self._take()
            if lines:
                self._write(lines)
                _sleep(PAUSE_SECONDS)
            elif self._closing:
                break
            else:
                self._wait()
        self._sink.close()

    def _wait(self) -> None:
        self._idle = True
        # Whoever put a line before that did not see it.
        if not self._lines and not self._closing:
            self._wake.acquire()
        self._idle = False

    def _take(self) -> list[str]:
        lines = []
        size = 0
        while self._lines and size < BATCH:
            line = self._lines.popleft()
            lines.append(line)
            size += len(line)
        self._taken += size
        return lines

    def _write(self, lines: list[str]) -> None:
        text = "".join(lines)
        before = ""
        if self._lost:
            before = self._line(f"{self._lost} lines left out here: writing failed")
        try:
            self._sink.write(f"{before}{text}".encode(errors="replace"))
        except Exception as exc:  # noqa: BLE001 - the thread must live
            if not self._lost:
                self._tell(f"{self._name} cannot be written: {exc}")
            self._lost += len(lines)
            self._all_lost += len(lines)
        else:
            self._lost = 0
        self._done += len(text)
