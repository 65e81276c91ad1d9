"""Spreads what ends in one instant.

Attempts that began together reach their deadlines together: to log a hundred of them
and to store their calls again takes some 20 ms, for which everybody else would wait.
"""

import time
from collections.abc import Callable

import gevent

# Each takes less: others have their turns between.
EACH_SECONDS = 0.0005
# So many at once are nothing to be noticed.
AT_ONCE = 8


class Pacing:
    """Lets some through at once, and what follows one by one."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = gevent.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    def wait(self) -> None:
        """Returns when it is one's turn: at once, most of the time."""
        now = self._clock()
        ahead = max(0.0, self._free_at - now)
        self._free_at = now + ahead + EACH_SECONDS
        late = ahead - AT_ONCE * EACH_SECONDS
        if late > 0:
            self._sleep(late)
