"""Calls, destinations and causes, as the templates show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mspc.api.shown import Showing
from mspc.calls.masks import masked_url
from mspc.calls.words import DEAD, QUEUED, WAITING
from mspc.journal.base import NEITHER, Filter, Group, Pace, Seen, Tally, View
from mspc.journal.events import Attempted
from mspc.pages.forms import query_of
from mspc.pages.wording import words
from mspc.steering.base import Limits, Standing, Steering


@dataclass(frozen=True, slots=True)
class ShownCall:
    """A call in a list: as Seen has it, with its state of this moment."""

    id: str
    state: str
    held: str | None
    method: str
    url: str
    destination: str
    labels: tuple[str, ...]
    created_at: float
    next_at: float | None
    attempts: int
    max_attempts: int
    finished_at: float | None
    reason: str
    cut_off_at: float | None
    last: Attempted | None


@dataclass(frozen=True, slots=True)
class ShownDestination:
    """A destination: what waits for it, and how it stands."""

    destination: str
    state: str
    breaker: str
    in_flight: int
    queued: int
    waiting: int
    dead: int
    oldest_due: float | None
    limits: Limits
    paused_until: float | None
    next_probe: float | None
    last: Attempted | None
    pace: Pace


@dataclass(frozen=True, slots=True)
class Cause:
    """Dead letters that have one cause, and the query that lists them."""

    cause: str
    query: str
    destination: str
    count: int
    first_at: float
    last_at: float
    answer: str


def shown_call(seen: Seen, showing: Showing) -> ShownCall:
    state = showing.state(seen)
    return ShownCall(
        id=seen.id,
        state=state,
        held=showing.held(seen, state),
        method=seen.method,
        url=masked_url(seen.url),
        destination=seen.destination,
        labels=seen.labels,
        created_at=seen.created_at,
        next_at=seen.next_at,
        attempts=seen.attempts,
        max_attempts=seen.max_attempts,
        finished_at=seen.finished_at,
        reason=seen.reason,
        cut_off_at=showing.cut_off_at(seen, state),
        last=seen.last,
    )


def busiest(view: View, steering: Steering, most: int) -> list[ShownDestination]:
    """Destinations that are not as usual, and those with the most open calls.

    So many of either at most: with thousands of them nobody reads the rest, and all
    that goes on in the process would wait for them.
    """
    states = steering.glance()
    odd = islice((name for name, state in states.items() if state != "ok"), most)
    tallies = view.destinations(most, names := list(odd))
    return [
        _destination(tallies.get(name, Tally()), steering.standing(name))
        for name in dict.fromkeys([*names, *tallies])
    ]


def shown_destination(name: str, view: View, steering: Steering) -> ShownDestination:
    standing = steering.standing(name)
    name = standing.destination  # as the lanes spell it
    return _destination(view.destinations(0, [name]).get(name, Tally()), standing)


def causes(groups: Sequence[Group]) -> list[Cause]:
    return [_cause(group) for group in groups]


def _destination(tally: Tally, standing: Standing) -> ShownDestination:
    states = tally.states
    return ShownDestination(
        destination=standing.destination,
        state=standing.state,
        breaker=standing.breaker,
        in_flight=standing.in_flight,
        queued=states.get(QUEUED, 0),
        waiting=states.get(WAITING, 0),
        dead=states.get(DEAD, 0),
        oldest_due=tally.oldest_due,
        limits=standing.limits,
        paused_until=standing.paused_until,
        next_probe=standing.next_probe,
        last=tally.last,
        pace=tally.pace,
    )


def _status(group: Group) -> str:
    """Of a filter for it. With neither status nor error every one would fit."""
    if group.status is not None:
        return str(group.status)
    return "" if group.error else NEITHER


def _cause(group: Group) -> Cause:
    told = words(group.reason)
    last = str(group.status) if group.status is not None else words(group.error)
    wanted = Filter(
        frozenset({DEAD}),
        destination=group.destination,
        reason=group.reason,
        error="" if group.status is not None else group.error,
        status=_status(group),
    )
    return Cause(
        cause=f"{told}: {last}" if last else told,
        query=query_of(wanted),
        destination=group.destination,
        count=group.count,
        first_at=group.first_at,
        last_at=group.last_at,
        answer=group.answer,
    )
