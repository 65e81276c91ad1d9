"""How fast the calls of one lane may go. Pure: the clock comes in.

A token bucket, as smooth as it can be: it holds `rate` tokens and starts full, each
attempt takes one, and they come back one by one, evenly over the period. So the calls
of a quiet lane go at once, those of a busy one at an even pace, and in no period are
there more than twice as many as the rate. Kept as the time at which it is full again
(the generic cell rate algorithm, ITU-T I.371): nothing has to be counted up meanwhile,
and a token is there exactly when `next_at` says so.
"""

import math

# So far ahead calls are made ready: what is fetched one by one comes too slowly.
SOON_SECONDS = 1.0
# A token is not late for what adding up its time has rounded off.
_ROUNDED_SECONDS = 1e-6


class Limit:
    """What a lane may have in a period and at once; None: no bound.

    Attributes:
        rate: so many attempts in `period` seconds, 1 or more.
        period: seconds.
        parallelism: so many in flight, 1 or more.
        next_at: when there is a token, or was, in seconds of the clock.
    """

    __slots__ = ("_each", "_full_at", "next_at", "parallelism", "period", "rate")

    def __init__(self, rate: int | None, period: float, parallelism: int | None):
        self.rate = rate
        self.period = period
        self.parallelism = parallelism
        self.next_at = -math.inf
        self._each = period / rate if rate else 0.0
        self._full_at = -math.inf

    def follows(self, before: "Limit", now: float) -> None:
        """Takes the place of another: what is spent stays spent."""
        if self.rate and before.rate:
            spent = min(before.spent(now), float(self.rate))
            self._full_at = now + spent * self._each
            self._look()

    def admits(self, now: float, out: int) -> bool:
        """Whether there may be one more in flight than `out`."""
        if self.parallelism is not None and out >= self.parallelism:
            return False
        return now >= self.next_at

    def taken(self, now: float) -> None:
        """An attempt begins."""
        self._full_at = max(now, self._full_at) + self._each
        self._look()

    def untaken(self) -> None:
        """The attempt is not made."""
        self._full_at -= self._each
        self._look()

    def now(self, now: float, out: int) -> float:
        """How many more may begin at once; infinite for no bound."""
        return min(self._tokens(now), self._free(out, 1))

    def soon(self, now: float, out: int) -> float:
        """How many more may begin in a second or so; infinite for no bound."""
        tokens = self._tokens(now)
        if self.rate:
            ahead = self.rate - self.spent(now) + SOON_SECONDS / self._each
            tokens = max(tokens, math.floor(ahead))
        return min(tokens, self._free(out, 2))

    def _free(self, out: int, times: int) -> float:
        if self.parallelism is None:
            return math.inf
        return max(0, times * self.parallelism - out)

    def _tokens(self, now: float) -> float:
        if not self.rate:
            return math.inf
        if now < self.next_at:
            return 0
        return max(1, math.floor(self.rate - self.spent(now)))

    def spent(self, now: float) -> float:
        """Tokens that have not come back."""
        left = self._full_at - _ROUNDED_SECONDS - now
        return max(0.0, left) / self._each if self._each else 0.0

    def _look(self) -> None:
        if self.rate:
            ahead = (self.rate - 1) * self._each + _ROUNDED_SECONDS
            self.next_at = self._full_at - ahead
