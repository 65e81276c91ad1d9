"""The circuit breaker of one lane. Pure: the clock and the random number come in.

Closed while the service answers; open after some failures in a row, and then one call
now and then asks whether it is back (a probe). After it, calls come slowly at first: a
service that has just started is not to be trampled.
"""

import math
from collections.abc import Callable

FIRST_PROBE_SECONDS = 1.0
# Less than a fifth, so that breakers that opened together spread out; never more, so
# that a service is noticed as soon as a retry alone would have noticed it.
JITTER = 0.2
# How fast the ramp doubles: the cap is 1, then 2, 4, ...
RAMP_SECONDS = 1.0
# Then the cap is above any pool: the ramp is over, whether calls came in it or not.
RAMP_STEPS = 14
# For how long a failure is worth being remembered when no call waits for the service.
REMEMBERED_SECONDS = 600.0


class Breaker:
    """Whether calls may be made, as far as the outcomes of the last ones tell.

    Attributes:
        open: whether only probes may be made.
        next_probe: when the next of them may be made, in seconds of the clock.
    """

    __slots__ = (
        "_closed_at",
        "_failed",
        "_failed_at",
        "_failures",
        "_interval",
        "_interval_before",
        "_longest",
        "_random",
        "next_probe",
        "open",
    )

    def __init__(
        self, failures: int, longest: float, random: Callable[[], float]
    ) -> None:
        """
        Args:
            failures: so many in a row open it; 0 for never.
            longest: seconds between two probes at most, but for the first one.
            random: uniform in [0, 1).
        """
        self.open = False
        self.next_probe = 0.0
        self._failures = failures
        self._longest = max(FIRST_PROBE_SECONDS, longest)
        self._random = random
        self._failed = 0
        self._failed_at = -math.inf
        self._interval = self._interval_before = FIRST_PROBE_SECONDS
        self._closed_at: float | None = None  # while the ramp lasts

    def untouched(self, now: float) -> bool:
        """Whether it has nothing to remember, or nothing of late."""
        remembers = (self.open or self._failed) and self.failed_lately(now)
        return not (self._ramps(now) or remembers)

    def failed_lately(self, now: float) -> bool:
        """Whether it has failed so late that it is remembered."""
        return now - self._failed_at <= REMEMBERED_SECONDS

    def word(self, now: float) -> str:
        """`closed`, `open`, or `half_open` while calls come slowly."""
        if self.open:
            return "open"
        return "half_open" if self._ramps(now) else "closed"

    def succeeded(self, now: float) -> bool:
        """The service has given a sign of life; whether that closes an open breaker."""
        self._failed = 0
        if not self.open:
            return False
        self.open = False
        self._closed_at = now
        return True

    def failed(self, now: float, alone: float = 0.0) -> bool:
        """It has given none; whether that opens a closed breaker.

        Args:
            now: seconds.
            alone: for how many of them it wants to be left alone; a probe waits for it.
        """
        self._failed += 1
        self._failed_at = now
        opens = not self.open and 0 < self._failures <= self._failed
        if opens:
            if not self._ramps(now):
                self._interval = FIRST_PROBE_SECONDS
            self._closed_at = None  # opened in the ramp: the interval is kept
            self.open = True
            self._wait(now)
        if self.open:
            self.next_probe = max(self.next_probe, now + alone)
        return opens

    def may_probe(self, now: float) -> bool:
        return now >= self.next_probe

    def probed(self, now: float) -> None:
        """A probe is on its way. The next one does not wait for its end: a service
        that hangs would else be asked once in FORWARD_TIMEOUT_SECONDS.
        """
        self._interval_before = self._interval
        self._interval = min(2 * self._interval, self._longest)
        self._wait(now)

    def unprobed(self, now: float) -> None:
        """The last probe has asked nothing: the next one need not wait."""
        self._interval = self._interval_before
        self.next_probe = now

    def cap(self, now: float) -> float:
        """How many calls may be in flight while it is closed."""
        if self._closed_at is None or not self._ramps(now):
            return math.inf
        return float(2.0 ** self._steps(now))

    def next_step(self, now: float) -> float:
        """When the cap grows next."""
        if self._closed_at is None:
            return math.inf
        return self._closed_at + (self._steps(now) + 1) * RAMP_SECONDS

    def ramped(self) -> None:
        """The cap is no bound any more: the trouble is over."""
        self._closed_at = None

    def _ramps(self, now: float) -> bool:
        """Whether calls come slowly still."""
        if self._closed_at is not None and self._steps(now) >= RAMP_STEPS:
            self._closed_at = None
        return self._closed_at is not None

    def _steps(self, now: float) -> int:
        """How often the cap has doubled."""
        if self._closed_at is None:
            return RAMP_STEPS
        return int((now - self._closed_at) / RAMP_SECONDS)

    def _wait(self, now: float) -> None:
        self.next_probe = now + self._interval * (1 - JITTER * self._random())
