"""A look at something that may not answer, such as a disk: nobody waits for it."""

import time
from collections.abc import Callable

from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

# Usually it answers at once; whoever asks gets what is true now.
WAIT_SECONDS = 0.1
# A look that takes longer is a problem of its own.
PATIENCE_SECONDS = 5.0


class Lookout:
    """Looks when somebody asks, in a thread; at most one look is under way."""

    def __init__(
        self,
        what: str,
        look: Callable[[], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            what: is looked at.
            look: says what is wrong with it, None for nothing; it may block and must
                not raise.
            clock: seconds.
        """
        self._what = what
        self._look = look
        self._clock = clock
        self._thread: ThreadPool | None = None
        self._under_way: AsyncResult[str | None] | None = None
        self._since = 0.0
        self._last: str | None = None

    def problem(self) -> str | None:
        """What the latest look has found, or that it has taken too long."""
        if self._under_way is not None and self._under_way.ready():
            # It began when somebody asked before, perhaps long ago.
            self._last, self._under_way = self._under_way.get(), None
        if self._under_way is None:
            if self._thread is None:
                self._thread = ThreadPool(1)
            self._since = self._clock()
            self._under_way = self._thread.spawn(self._look)
        look = self._under_way
        look.wait(WAIT_SECONDS)
        if look.ready():
            self._last = look.get()
            if self._under_way is look:
                self._under_way = None
            return self._last
        seconds = self._clock() - self._since
        if seconds < PATIENCE_SECONDS:
            return self._last
        return f"{self._what} has not answered for {seconds:.0f} s."

    def close(self) -> None:
        """Does not wait for a look."""
        if self._thread is not None and self._under_way is None:
            self._thread.kill()
            self._thread = None
