"""What the log is told of clients without the right key."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Refusals:
    """Counts them, and tells once a second: a flood must not fill the log."""

    def __init__(self, what: str, clock: Callable[[], float] = time.time) -> None:
        """`what` is refused, in the plural."""
        self._what = what
        self._clock = clock
        self._refused = 0
        self._last_logged = float("-inf")

    def tell(self, client: str, header: str, reason: str) -> None:
        """One more.

        Args:
            client: its address.
            header: which one was looked at.
            reason: shows nothing of the header's value.
        """
        self._refused += 1
        now = self._clock()
        if abs(now - self._last_logged) < 1:
            return
        log.warning(
            "%d %s refused as unauthorized, the last from %s: %s: %s",
            self._refused,
            self._what,
            client,
            header,
            reason,
        )
        self._refused, self._last_logged = 0, now
