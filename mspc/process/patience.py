"""A bound on how long many wait: one timer for all of them.

gevent.Timeout sets one for each, and takes it back: longer than what most of them wait
for takes the processor.
"""

import time
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.hub import get_hub

# Of the patience: how much later than that it may end.
LATER = 0.1


class TookTooLong(Exception):
    """What was waited for has not come."""


class Patience:
    """Ends waits that take longer than so many seconds, by at most a tenth more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Any, float] = {}  # who waits, in that order
        self._timer: Any = None

    def wait(self, done: "AsyncResult[Any]") -> Any:
        """What it gives.

        Raises:
            TookTooLong: it gives nothing.
        """
        waiting = gevent.getcurrent()
        self._since[waiting] = time.monotonic()
        if self._timer is None:
            every = self._seconds * LATER
            self._timer = get_hub().loop.timer(every, every)
            self._timer.start(self._look)
        try:
            return done.get()
        finally:
            del self._since[waiting]

    def _look(self) -> None:
        """In the hub, where nobody can have stopped waiting without leaving."""
        latest = time.monotonic() - self._seconds
        for waiting, since in tuple(self._since.items()):
            if since > latest:
                break
            waiting.throw(TookTooLong)
        if not self._since:
            self._timer.close()
            self._timer = None
