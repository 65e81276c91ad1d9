"""Those who can wait: while calls come and go, they rest after each piece of work.

A look at the journal and what is made of it hold up the greenlets that serve, for a
millisecond or two. Calls that have come meanwhile wait, and are soon done; but where
the next look begins at once, they never are.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent

# Of the time that a piece has taken, in which others had their turns too: those who
# serve, while the journal's thread was looking.
REST = 0.5
# Also after a disk has hung, or much had to be written first.
LONGEST_REST_SECONDS = 0.01


class Leisure:
    """What is done at leisure: piece by piece, whoever does it, and a rest after each.

    The rest is half as long as the piece was, and nobody begins another one before it
    is over; after pieces that were done side by side, before all of their rests are.
    """

    def __init__(
        self,
        is_busy: Callable[[], bool],
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:
        """
        Args:
            is_busy: whether there is anybody to rest for.
            timer: seconds, that go on evenly.
            sleep: for so many seconds.
        """
        self._is_busy = is_busy
        self._timer = timer
        self._sleep = sleep
        self._rests_until = 0.0

    @contextmanager
    def piece(self) -> Iterator[None]:
        """What is done in it should take no longer than a few milliseconds."""
        while self._is_busy() and (rest := self._rests_until - self._timer()) > 0:
            self._sleep(rest)
        began = self._timer()
        try:
            yield
        finally:
            now = self._timer()
            rest = min(REST * (now - began), LONGEST_REST_SECONDS)
            self._rests_until = max(self._rests_until, now + rest)
