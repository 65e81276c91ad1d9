"""How late the event loop is: what every greenlet waits for in vain."""

import time
from collections.abc import Callable

from gevent.event import Event

from mspc.process.greenlets import Watched

LOOK_SECONDS = 0.5


class LoopLag:
    """Sleeps, and sees how much too late it wakes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stopping = Event()
        self._longest = 0.0
        self._watched = Watched("watch over the event loop", self._watch)

    def start(self) -> None:
        self._watched.start()

    def stop(self) -> None:
        self._stopping.set()
        self._watched.stop()

    def take(self) -> float:
        """The longest since the last question, seconds."""
        longest, self._longest = self._longest, 0.0
        return longest

    def woke(self, asked: float, slept: float) -> None:
        """It has slept for so many seconds in place of those it asked for."""
        self._longest = max(self._longest, slept - asked)

    def _watch(self) -> None:
        began = self._clock()
        while not self._stopping.wait(LOOK_SECONDS):
            now = self._clock()
            self.woke(LOOK_SECONDS, now - began)
            began = now
