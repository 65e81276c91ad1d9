"""Greenlets that are used again: each has its own work to do, and waits for more.

A greenlet of its own for each piece of work would be simpler, and costs: Python gives
it a stack for its frames, 16 KiB of the kernel's, and gives that back at its end.
"""

import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import gevent
from gevent.event import Event
from gevent.hub import Waiter, get_hub

log = logging.getLogger(__name__)

T = TypeVar("T")

# Those that wait for more; each has some 20 KiB.
KEPT = 100


class Workers(Generic[T]):
    """Does so much at once, and no more."""

    def __init__(self, size: int, function: Callable[[T], None]) -> None:
        """
        Args:
            size: how much is done at once.
            function: does it. What it raises is logged.
        """
        self._size = size
        self._function = function
        self._busy = 0
        self._ended = Event()  # some of it, since somebody has looked
        self._idle: list[Waiter[Any]] = []
        self._greenlets: set[gevent.Greenlet[..., None]] = set()

    def __len__(self) -> int:
        """How many are at work."""
        return self._busy

    def wait_available(self) -> None:
        """Returns when there is one that has nothing to do."""
        while self._busy >= self._size:
            self._wait()

    def begin(self, work: T) -> None:
        """Has it done, once whoever calls this waits for something."""
        self._busy += 1
        if self._idle:  # the one that has worked last: its memory is still at hand
            get_hub().loop.run_callback(self._idle.pop().switch, work)
        else:
            self._greenlets.add(gevent.spawn(self._run, [work]))

    def join(self, timeout: float) -> None:
        """Returns when none is at work, or after so many seconds."""
        with gevent.Timeout(timeout, False):  # type: ignore[arg-type]
            while self._busy:
                self._wait()

    def kill(self) -> None:
        """Ends what they do, wherever they wait."""
        gevent.killall(list(self._greenlets))

    def _wait(self) -> None:
        self._ended.clear()
        self._ended.wait()

    def _run(self, given: list[T]) -> None:
        # A greenlet keeps its arguments to its end, and work may be large.
        work: T | None = given.pop()
        turn: Waiter[T] = Waiter()
        try:
            while True:
                self._do(work)
                work = None
                if len(self._idle) >= KEPT:
                    return
                self._idle.append(turn)
                work = turn.get()
                turn.clear()
        finally:
            self._greenlets.discard(gevent.getcurrent())

    def _do(self, work: Any) -> None:
        try:
            self._function(work)
        except Exception:
            log.exception("A worker failed; the next work is none the worse for it")
        finally:
            self._busy -= 1
            self._ended.set()
