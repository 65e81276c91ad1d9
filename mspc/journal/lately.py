"""What happened in the last minutes and hours, of all destinations together."""

from collections import Counter
from collections.abc import Mapping

from mspc.journal.base import Rates

MINUTES, HOURS = 60, 24
# Some of them from clocks that are ahead.
MOST_MINUTES, MOST_HOURS = 240, 48
_NAMES = ("accepted", "attempts", "succeeded", "died")
_MINUTE, _HOUR = 60, 3600


class Lately:
    """For one greenlet."""

    def __init__(self) -> None:
        self._minutes = {name: Counter[int]() for name in _NAMES}
        self._hours = {name: Counter[int]() for name in _NAMES}

    def add(self, name: str, counted: Mapping[int, int]) -> None:
        """
        Args:
            name: `accepted`, `attempts`, `succeeded` or `died`.
            counted: how many, by the minute since 1970.
        """
        minutes, hours = self._minutes[name], self._hours[name]
        for minute, count in counted.items():
            minutes[minute] += count
            hours[minute // 60] += count
        for several, most in ((minutes, MOST_MINUTES), (hours, MOST_HOURS)):
            while len(several) > most:
                del several[min(several)]

    def minutes(self, now: float) -> Rates:
        """Of the last hour; `now` in Unix seconds."""
        return _rates(self._minutes, int(now // _MINUTE), MINUTES)

    def hours(self, now: float) -> Rates:
        """Of the last 24 hours."""
        return _rates(self._hours, int(now // _HOUR), HOURS)


def _rates(counted: dict[str, Counter[int]], this: int, count: int) -> Rates:
    """The last ones; what is before them is forgotten."""
    lately = range(this - count + 1, this + 1)
    for several in counted.values():
        for one in [one for one in several if one < lately.start]:
            del several[one]
    # get(): a Counter calls a method of its own for what it does not have.
    return Rates(
        *(tuple(counted[name].get(one, 0) for one in lately) for name in _NAMES)
    )
