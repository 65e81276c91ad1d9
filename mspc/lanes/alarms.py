"""When to look at a lane again although nothing has happened to it."""

import heapq
import itertools
import math
from collections.abc import Iterator

from mspc.lanes.lane import Lane


class Alarms:
    """One alarm a lane, the earliest that was set; Lane.alarm has its time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Lane]] = []
        self._order = itertools.count()

    @property
    def next_at(self) -> float:
        """When one rings, perhaps for nothing; infinite for none."""
        return self._heap[0][0] if self._heap else math.inf

    def set(self, lane: Lane, at: float) -> bool:
        """Whether that is earlier than the one it has."""
        if at >= lane.alarm:
            return False
        lane.alarm = at
        heapq.heappush(self._heap, (at, next(self._order), lane))
        return True

    def ring(self, now: float) -> Iterator[Lane]:
        """Those whose time has come; they have none then."""
        while self._heap and self._heap[0][0] <= now:
            at, _, lane = heapq.heappop(self._heap)
            if at == lane.alarm:
                lane.alarm = math.inf
                yield lane
