"""How often each destination was attempted lately, and with what success."""

from array import array
from collections import OrderedDict

from mspc.journal.base import Pace
from mspc.journal.lately import MINUTES

FEW_MINUTES = 5
# Those that were attempted last: some 700 bytes each.
MOST_NAMES = 2000


class _Minutes:
    """The last hour of one destination: a ring of minutes.

    Attributes:
        newest: of the minutes in it, since 1970.
    """

    __slots__ = ("attempts", "newest", "succeeded")

    def __init__(self, minute: int) -> None:
        self.newest = minute
        self.attempts = array("I", [0] * MINUTES)
        self.succeeded = array("I", [0] * MINUTES)

    def add(self, minute: int, attempts: int, succeeded: int) -> None:
        if minute <= self.newest - MINUTES:
            return
        for passed in range(max(self.newest, minute - MINUTES) + 1, minute + 1):
            self.attempts[passed % MINUTES] = self.succeeded[passed % MINUTES] = 0
        self.newest = max(self.newest, minute)
        self.attempts[minute % MINUTES] += attempts
        self.succeeded[minute % MINUTES] += succeeded

    def count(self, minute: int, lately: int) -> tuple[int, int]:
        """Attempts, and successes, of so many minutes up to this one."""
        first = max(minute - lately, self.newest - MINUTES) + 1
        places = [at % MINUTES for at in range(first, min(minute, self.newest) + 1)]
        return (
            sum(self.attempts[place] for place in places),
            sum(self.succeeded[place] for place in places),
        )


class Paces:
    """For one greenlet. Bounded: the one that was attempted longest ago goes first."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[str, _Minutes] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._minutes

    def add(self, name: str, minute: int, attempts: int, succeeded: int) -> str | None:
        """Counts them; the name of a destination that was forgotten for it.

        Args:
            name: of the destination.
            minute: in which they began, since 1970.
            attempts: how many.
            succeeded: how many of them.
        """
        found = self._minutes.get(name)
        if found is None:
            found = self._minutes[name] = _Minutes(minute)
        found.add(minute, attempts, succeeded)
        self._minutes.move_to_end(name)
        if len(self._minutes) <= MOST_NAMES:
            return None
        return self._minutes.popitem(last=False)[0]

    def lately(self, now: float) -> list[str]:
        """Of destinations that were attempted within the hour, the last ones first."""
        since = int(now // 60) - MINUTES
        found = reversed(self._minutes.items())
        return [name for name, minutes in found if minutes.newest > since]

    def of(self, name: str, now: float) -> Pace:
        """
        Args:
            name: of the destination.
            now: Unix seconds.
        """
        found, minute = self._minutes.get(name), int(now // 60)
        if found is None:
            return Pace()
        return Pace(
            *found.count(minute, FEW_MINUTES),
            *found.count(minute, MINUTES),
        )
