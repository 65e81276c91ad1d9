"""Whose turn is next among lanes of one rank, without looking at all of them.

Thousands of lanes may have calls ready while a few slots are free: each call that ends
is to cost the same however many wait.
"""

from collections import OrderedDict, deque

from mspc.lanes.lane import Lane, Rank, Turn
from mspc.lanes.slots import Slots


class Turns:
    """The lanes of one rank that have calls ready."""

    def __init__(self, rank: Rank, slots: Slots) -> None:
        self._rank = rank
        self._slots = slots
        self._ring: deque[Lane] = deque()
        # Those that have as many in flight as they may, by that number: it changes when
        # one of these ends, and then the lane is let_go().
        self._held: dict[int, OrderedDict[Lane, None]] = {}

    def __bool__(self) -> bool:
        """Whether one waits for its turn, or for room."""
        return bool(self._ring or self._held)

    def add(self, lane: Lane) -> None:
        """Its turn comes when those of the others before it have come."""
        lane.turn = Turn.RING
        self._ring.append(lane)

    def hold(self, lane: Lane) -> None:
        """It has its turn when a lane may have more in flight than it has."""
        lane.turn = Turn.HELD
        self._held.setdefault(len(lane.out), OrderedDict())[lane] = None

    def let_go(self, lane: Lane) -> None:
        """It has no turn."""
        if lane.turn is Turn.RING:
            self._ring.remove(lane)
        elif lane.turn is Turn.HELD:
            out = len(lane.out)
            del self._held[out][lane]
            if not self._held[out]:
                del self._held[out]
        lane.turn = Turn.NONE

    def next(self) -> Lane | None:
        """The lane whose turn it is, which has none then; None for no such."""
        if self._ring:
            if self._slots.full(self._rank):
                return None
            lane = self._ring.popleft()
            lane.turn = Turn.NONE
            return lane
        out = self._admitted()
        if out is None:
            return None
        lane = next(iter(self._held[out]))
        self.let_go(lane)
        return lane

    def any(self) -> bool:
        """Whether next() has one."""
        if self._ring:
            return not self._slots.full(self._rank)
        return self._admitted() is not None

    def _admitted(self) -> int | None:
        """How many the next of the held lanes has in flight; None for no such."""
        if not self._held or self._slots.full(self._rank):
            return None
        room = self._slots.room(self._rank)
        return next((out for out in self._held if out < room), None)
