"""Who may turn out to hang: lanes that have not answered yet, with calls in flight.

Nothing else looks at one that has no more calls, before its attempt ends. A pool full
of these would keep out whom nobody has called yet for a whole timeout.
"""

import math
from collections import deque
from collections.abc import Iterator

from mspc.lanes.lane import SUSPECT_SECONDS, Lane, Rank

# A moment later than it is one.
LOOK_SECONDS = SUSPECT_SECONDS + 0.01


class Unproven:
    """The new ones, in the order in which they are to be looked at."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Lane]] = deque()

    @property
    def next_at(self) -> float:
        """When the next one may be a suspect; infinite for none."""
        return self._looks[0][0] if self._looks else math.inf

    def watch(self, lane: Lane, now: float) -> None:
        self._looks.append((now + LOOK_SECONDS, lane))

    def due(self, now: float) -> Iterator[Lane]:
        """Those to be looked at; one that is as before then is looked at again."""
        while self.next_at <= now:
            _, lane = self._looks.popleft()
            if lane.rank is Rank.NEW and lane.out:
                yield lane
                if lane.rank is Rank.NEW and lane.out:  # its oldest has ended, perhaps
                    self.watch(lane, now)
