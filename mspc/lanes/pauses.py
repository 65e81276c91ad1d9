"""When the calls of one lane were kept waiting: that time does not make them older.

Pure, and in Unix seconds: a pause outlives the process that began it.
"""

import math

# Older ones become one.
REMEMBERED_PAUSES = 16


class Pauses:
    """The pauses of one lane, the last of which may go on."""

    __slots__ = ("_since", "_spans")

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []
        self._since = math.inf  # for ever ahead: there is none

    def begin(self, at: float) -> None:
        """From then on; what has begun before goes on."""
        last = self._spans[-1][1] if self._spans else -math.inf
        self._since = min(self._since, max(at, last))

    def end(self, at: float) -> None:
        since, self._since = self._since, math.inf
        if at > since:
            self._spans.append((since, at))
        if len(self._spans) > REMEMBERED_PAUSES:
            # Together right before the second: a call is never found older than it is.
            (began, ended), (second, until) = self._spans[:2]
            self._spans[:2] = [(second - (ended - began), until)]

    def seconds(self, since: float, now: float) -> float:
        """For how many of the seconds from `since` to `now` there was a pause."""
        spans = [*self._spans, (self._since, now)]
        return sum(max(0.0, min(end, now) - max(begin, since)) for begin, end in spans)
