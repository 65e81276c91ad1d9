"""The lanes that are remembered: a bounded number, whatever clients may ask for."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from mspc.lanes.breaker import Breaker
from mspc.lanes.lane import Lane

REMEMBERED_LANES = 10_000
# Beyond them, unknown origins share these.
SHARED_LANES = 256
_LOOK_AT = 8  # of the oldest lanes, whether one can be forgotten


class Known:
    """Lanes by key, in the order in which they were asked for last."""

    def __init__(
        self,
        breaker: Callable[[], Breaker],
        clock: Callable[[], float],
        forgotten: Callable[[Lane], None],
    ) -> None:
        """
        Args:
            breaker: makes one for a new lane.
            clock: that of the lanes.
            forgotten: told of each lane that is not remembered any more.
        """
        self._breaker = breaker
        self._clock = clock
        self._forgotten = forgotten
        self._lanes: OrderedDict[str, Lane] = OrderedDict()

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def get(self, key: str) -> Lane | None:
        return self._lanes.get(key)

    def of(self, key: str) -> Lane:
        """The lane of that key; it is made when there is none, or shared with others
        when there are too many.
        """
        lane = self._lanes.get(key)
        if lane is not None:
            self._lanes.move_to_end(key)
            return lane
        if len(self._lanes) >= REMEMBERED_LANES and not self._forget_one():
            key = f"others, {hash(key) % SHARED_LANES}"
        return self.own(key)

    def own(self, key: str) -> Lane:
        """The lane of that key, shared with nobody: somebody means this one."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self._breaker())
        return lane

    def _forget_one(self) -> bool:
        for _ in range(_LOOK_AT):
            key, lane = next(iter(self._lanes.items()))
            if lane.idle(self._clock()):
                del self._lanes[key]
                self._forgotten(lane)
                return True
            self._lanes.move_to_end(key)
        return False
