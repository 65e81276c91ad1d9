"""How many calls there are of each kind: kept in memory, changed batch by batch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

from msgspec.structs import replace

from mspc.calls.words import DEAD, QUEUED, WAITING
from mspc.journal.base import Group, Rates, Tally
from mspc.journal.changes import Changes, Dead
from mspc.journal.events import Attempted
from mspc.journal.folding import Cause
from mspc.journal.lately import Lately
from mspc.journal.pace import Paces

# Destinations, and causes of death; what is beyond is counted together.
MOST_NAMES = 10_000
OTHERS = "others"
SHOWN_GROUPS = 1000
_NONE: Counter[str] = Counter()
_COUNTED = frozenset({QUEUED, WAITING, DEAD})


@dataclass(slots=True)
class _Group:
    count: int
    first_at: float
    last_at: float
    latest_id: str
    answer: str
    # It is no dead letter any more.
    first_gone: bool = False
    latest_gone: bool = False


class Counters:
    """For one greenlet."""

    def __init__(
        self,
        states: dict[str, int] | None = None,
        of_destinations: Iterable[tuple[str, str, int]] = (),
        groups: Iterable[Group] = (),
    ) -> None:
        """
        Args:
            states: how many calls there are, by state.
            of_destinations: destination, state, how many.
            groups: of dead letters.
        """
        self._states = Counter(states or {})
        self._destinations: dict[str, Counter[str]] = {}
        self._groups: dict[tuple[Cause, str], _Group] = {}
        # What groups() told last: an open page asks again and again, and to sort ten
        # thousand takes milliseconds. None when it is so no more.
        self._told: list[Group] | None = None
        self._paces = Paces()
        self._last: dict[str, Attempted] = {}
        self._latest: Attempted | None = None
        self._lately = Lately()
        for destination, state, count in of_destinations:
            if state in _COUNTED:
                self._of(destination)[state] += count
        for group in groups:
            self._begin(group)

    @property
    def calls(self) -> int:
        """How many are remembered."""
        return self._states.total()

    def apply(self, changes: Changes) -> None:
        for (destination, before, after), count in changes.moved.items():
            self._move(destination, before, after, count)
        for dead in changes.died:
            self._add(dead)
        for dead in changes.undone:
            self._take(dead)
        self._pace(changes)
        for destination, last in changes.last.items():
            if destination in self._destinations or destination in self._paces:
                self._last[destination] = _small(last)
        newest = max(changes.last.values(), key=lambda last: last.at, default=None)
        if newest is not None and (
            self._latest is None or newest.at >= self._latest.at
        ):
            self._latest = _small(newest)

    def _pace(self, changes: Changes) -> None:
        attempts: Counter[int] = Counter()
        successes: Counter[int] = Counter()
        for (destination, minute), count in changes.attempts.items():
            succeeded = changes.succeeded[destination, minute]
            attempts[minute] += count
            successes[minute] += succeeded
            gone = self._paces.add(destination, minute, count, succeeded)
            if gone is not None and gone not in self._destinations:
                self._last.pop(gone, None)
        self._lately.add("accepted", changes.accepted)
        self._lately.add("attempts", attempts)
        self._lately.add("succeeded", successes)
        self._lately.add("died", Counter(int(dead.at // 60) for dead in changes.died))

    def _move(
        self, destination: str, before: str | None, after: str | None, count: int
    ) -> None:
        if before is not None:
            self._states[before] -= count
        if after is not None:
            self._states[after] += count
        if before not in _COUNTED and after not in _COUNTED:
            return
        of_it = self._of(destination)
        if before in _COUNTED:
            of_it[before] = max(of_it[before] - count, 0)
        if after in _COUNTED:
            of_it[after] += count
        if not any(of_it.values()):
            self._destinations.pop(destination, None)
            if destination not in self._paces:
                self._last.pop(destination, None)

    def _of(self, destination: str) -> "Counter[str]":
        if destination not in self._destinations:
            if len(self._destinations) >= MOST_NAMES:
                destination = OTHERS
            self._destinations.setdefault(destination, Counter())
        return self._destinations[destination]

    def _begin(self, group: Group) -> None:
        self._told = None
        cause = Cause(group.reason, group.status, group.error)
        place = self._place(cause, group.destination)
        known = self._groups.get(place)
        if known is None:
            self._groups[place] = _Group(
                group.count,
                group.first_at,
                group.last_at,
                group.latest_id,
                group.answer,
            )
        else:  # of others
            known.count += group.count
            known.first_at = min(known.first_at, group.first_at)
            known.last_at = max(known.last_at, group.last_at)

    def _place(self, cause: Cause, destination: str) -> tuple[Cause, str]:
        place = cause, destination
        if place not in self._groups and len(self._groups) >= MOST_NAMES:
            return Cause(OTHERS, None, ""), OTHERS
        return place

    def _add(self, dead: Dead) -> None:
        self._told = None
        place = self._place(dead.cause, dead.destination)
        group = self._groups.get(place)
        if group is None:
            self._groups[place] = _Group(1, dead.at, dead.at, dead.id, dead.answer)
            return
        group.count += 1
        group.first_at = min(group.first_at, dead.at)
        if dead.at >= group.last_at or group.latest_gone:
            group.last_at, group.latest_id = dead.at, dead.id
            group.answer, group.latest_gone = dead.answer, False

    def _take(self, dead: Dead) -> None:
        self._told = None
        place = self._place(dead.cause, dead.destination)
        group = self._groups.get(place)
        if group is None:
            return
        group.count -= 1
        group.first_gone = group.first_gone or dead.at <= group.first_at
        group.latest_gone = group.latest_gone or group.latest_id == dead.id
        if group.count <= 0:
            del self._groups[place]

    def tally(self, oldest_due: float | None) -> Tally:
        return Tally(_shown(self._states), oldest_due, self._latest)

    def names(
        self, now: float, most: int | None = None, names: Iterable[str] = ()
    ) -> list[str]:
        """As View.destinations() has them; `now` in Unix seconds."""
        known, lately = self._destinations, self._paces.lately(now)
        if most is None:
            return list(dict.fromkeys([*known, *lately]))
        # get(): a Counter calls a method of its own for what it does not have.
        waiting = {
            name: states.get(QUEUED, 0) + states.get(WAITING, 0)
            for name, states in known.items()
        }
        open_ones = (name for name, count in waiting.items() if count)
        chosen = dict.fromkeys(nlargest(most, open_ones, key=waiting.__getitem__))
        for name in (*lately, *known):
            if len(chosen) >= most:
                break
            chosen[name] = None
        asked = (one for one in names if one in known or one in self._paces)
        return list(dict.fromkeys([*chosen, *asked]))

    def destinations(
        self, oldest_due: dict[str, float], names: Iterable[str], now: float
    ) -> dict[str, Tally]:
        """Of these names, as far as they are known still; `now` in Unix seconds."""
        known, paces = self._destinations, self._paces
        return {
            name: Tally(
                _shown(known.get(name, _NONE)),
                oldest_due.get(name),
                self._last.get(name),
                paces.of(name, now),
            )
            for name in names
            if name in known or name in paces
        }

    def groups(self) -> Sequence[Group]:
        """The largest, the most first."""
        if self._told is not None:
            return self._told
        told = self._largest()
        if not self.stale(1):
            self._told = told
        return told

    def _largest(self) -> list[Group]:
        largest = nlargest(
            SHOWN_GROUPS, self._groups.items(), key=lambda item: item[1].count
        )
        return [
            Group(
                cause.reason,
                cause.status,
                cause.error,
                destination,
                group.count,
                group.first_at,
                group.last_at,
                group.latest_id,
                group.answer,
            )
            for (cause, destination), group in largest
        ]

    def stale(self, most: int) -> list[tuple[Cause, str]]:
        """Groups whose first or latest dead letter is none any more."""
        if self._told is not None:
            return []
        found = (
            place
            for place, group in self._groups.items()
            if group.first_gone or group.latest_gone
        )
        return [*islice(found, most)]

    def renew(self, first_at: float | None, latest: Dead) -> None:
        """Says which is the latest dead letter of a group that was stale, and when the
        first one died; None when that was not found.
        """
        self._told = None
        group = self._groups.get((latest.cause, latest.destination))
        if group is not None:
            if first_at is not None:
                group.first_at = first_at
            group.last_at, group.latest_id = latest.at, latest.id
            group.answer = latest.answer
            group.first_gone = group.latest_gone = False

    def rates(self, now: float) -> Rates:
        """
        Args:
            now: Unix seconds.
        """
        return self._lately.minutes(now)

    def hours(self, now: float) -> Rates:
        """The same by the hour."""
        return self._lately.hours(now)


def _shown(states: "Counter[str]") -> dict[str, int]:
    return {state: count for state, count in states.items() if count > 0}


def _small(last: Attempted) -> Attempted:
    """To be kept for long: without what only one call alone shows."""
    return replace(last, call=replace(last.call, headers=(), body=b""))
