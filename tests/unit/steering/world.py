"""What an operator steers: a journal, a queue and lanes that outlive him."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from gevent.event import Event
from msgspec import structs

from mspc.calls.words import DEAD, GONE, QUEUED, WAITING
from mspc.errors import JournalUnavailable, QueueUnavailable
from mspc.journal.base import EVERYTHING, Count, Filter, Page, Seen
from mspc.journal.events import Decided
from mspc.journal.events import Event as JournalEvent
from mspc.lanes.state import HELD, OK, State
from mspc.lanes.steered import Steered
from mspc.queues.base import Kept, Queue
from mspc.queues.clock import Alarm
from mspc.steering.operator import Operator
from tests.support.clock import Clock

NOW = 1_800_000_000.0
URL = "https://api.test:443"


class Journal:
    """Events are in it when somebody asks, and lost with the process before that.

    Attributes:
        rows: the newest last.
        decided: what is in it, in order.
        away: why it cannot be read; None when it can.
        full: whether it drops what it is told.
        broken: why it says that nothing is written.
        looked_at: so many rows are looked at for a page.
    """

    body_bytes = 0
    scope = "all"
    dropped = 0

    def __init__(self, clock: Clock) -> None:
        self.on = True
        self.rows: dict[str, Seen] = {}
        self.decided: list[Decided] = []
        self.away: JournalUnavailable | None = None
        self.full = False
        self.broken: str | None = None
        self.looked_at = 5000
        self._clock = clock
        self._pending: list[Decided] = []
        self.listeners: list[Callable[[Decided], None]] = []

    def listen(self, callback: Callable[[Decided], None]) -> None:
        self.listeners.append(callback)

    def record(self, event: JournalEvent) -> None:
        assert isinstance(event, Decided)
        if not self.full:
            self._pending.append(event)

    def problem(self) -> str | None:
        return self.broken

    def lose(self) -> None:
        """The process dies."""
        self._pending.clear()
        self.listeners.clear()

    def add(self, *ids: str, state: str, at: float = NOW - 60, url: str = URL) -> None:
        """Calls that were accepted one after another."""
        for one in ids:
            self.rows[one] = Seen(
                *(one, state, "POST", url, url, (), at, at, 0, 0, 0, None, "", None)
            )

    def state(self, call_id: str) -> str:
        self.flush()
        return self.rows[call_id].state

    def flush(self) -> None:
        if self.away is not None:
            raise self.away
        pending, self._pending = self._pending, []
        for decided in pending:
            text = json.dumps(decided.details)
            self.take(structs.replace(decided, details=json.loads(text)))

    def take(self, decided: Decided) -> None:
        """As it comes from this instance or another one, once."""
        if decided in self.decided:
            return
        self.decided.append(decided)
        for one in decided.targets:
            self._apply(decided, one)
        for listener in list(self.listeners):
            listener(decided)

    def _apply(self, decided: Decided, call_id: str) -> None:
        if decided.kind == "deleted":
            del self.rows[call_id]
        elif decided.kind in ("retried", "cancelled"):
            before = self.rows[call_id]
            again = QUEUED if before.state == DEAD else before.state
            state = GONE if decided.kind == "cancelled" else again
            self.rows[call_id] = structs.replace(before, state=state)

    def call(self, call_id: str) -> Seen | None:
        self.flush()
        return self.rows.get(call_id)

    def calls(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> Page:
        self.flush()
        numbered = list(enumerate(self.rows.values()))[:after]
        looked = numbered[: -self.looked_at - 1 : -1]
        fit = [(number, seen) for number, seen in looked if _fits(seen, wanted)]
        last = fit[limit - 1 :][:1] or looked[-1:]
        following = last[0][0] if last else 0
        return Page([seen for _, seen in fit[:limit]], following or None)

    def looks(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> Iterator[Page]:
        yield self.calls(wanted, after, limit)

    def count(self, wanted: Filter, after: int | None = None) -> Count:
        found = self.calls(wanted, after, len(self.rows) + 1)
        return Count(len(found.calls), found.next)

    def decisions(
        self, target: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> Sequence[Decided]:
        self.flush()
        return [
            one
            for one in reversed(self.decided)
            if (not target or target in one.targets)
            and (not kinds or one.kind in kinds)
        ][:limit]


def _fits(seen: Seen, wanted: Filter) -> bool:
    before = wanted.created_before
    return (
        (not wanted.states or seen.state in wanted.states)
        and (not wanted.destination or seen.destination == wanted.destination)
        and (before is None or seen.created_at < before)
    )


class Calls:
    """The queue: which calls are there.

    Attributes:
        there: by id, as the queue has them: open ones are `queued` or `waiting`.
        lent: those which withdraw() does not reach.
        damaged: those which revive() does not reach.
        told: what a queue that cannot look up was told to let go, and since when.
        asked: what it was asked, in order.
        failures: so many times it is not there, after it did what it was asked for.
        before_verb: called before it does what it is asked for.
        after_verb: called then.
    """

    def __init__(self) -> None:
        self.looks_up = True
        self.there: dict[str, str] = {}
        self.lent: set[str] = set()
        self.damaged: set[str] = set()
        self.told: dict[str, float] = {}
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.failures = 0
        self.before_verb: Callable[[], object] = lambda: None
        self.after_verb: Callable[[], object] = lambda: None

    def add(self, *ids: str, state: str) -> None:
        self.there.update(dict.fromkeys(ids, state))

    def cancelled(self, when: dict[str, float]) -> None:
        if not self.looks_up:
            self.told.update(when)

    def withdraw(self, ids: Sequence[str]) -> list[str]:
        if not self.looks_up:
            self.asked.append(("withdraw", tuple(ids)))
            return list(ids)
        return self._do("withdraw", ids, (QUEUED, WAITING), None)

    def hurry(self, ids: Sequence[str]) -> list[str]:
        states = (WAITING,) if self.looks_up else ()
        return self._do("hurry", ids, states, QUEUED)

    def postpone(self, ids: Sequence[str], delay: float) -> list[str]:
        states = (WAITING,) if self.looks_up else ()
        return self._do(f"postpone by {delay:g}", ids, states, WAITING)

    def revive(self, ids: Sequence[str], delay: float = 0.0) -> list[str]:
        return self._do("revive", ids, (DEAD,), WAITING if delay else QUEUED)

    def forget(self, ids: Sequence[str]) -> list[str]:
        return self._do("forget", ids, (DEAD,), None)

    def kept(self, ids: Sequence[str]) -> dict[str, Kept]:
        there = {one: self.there[one] for one in ids if one in self.there}
        if not self.looks_up:
            return {}
        return {
            one: Kept(1, "", died_at=NOW if state == DEAD else None)
            for one, state in there.items()
        }

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        return iter(
            [(one, b"{}") for one in ids if self.looks_up and one in self.there]
        )

    def revived(self) -> list[str]:
        """What revive() was asked for, each as often as it was."""
        return [one for verb, ids in self.asked if verb == "revive" for one in ids]

    def _do(
        self, verb: str, ids: Sequence[str], states: Sequence[str], then: str | None
    ) -> list[str]:
        self.before_verb()
        self.asked.append((verb, tuple(ids)))
        reached = [
            one for one in ids if self.there.get(one) in states and one not in self.lent
        ]
        if verb == "revive":
            reached = [one for one in reached if one not in self.damaged]
        for one in reached:
            if then is None:
                del self.there[one]
            else:
                self.there[one] = then
        self.after_verb()
        if self.failures:
            self.failures -= 1
            raise QueueUnavailable("The broker is away.")
        return reached


class FakeLanes:
    """Remembers what it was told.

    Attributes:
        told: in order.
        states: of those that are not as all others.
    """

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.paused: set[str] = set()
        self.limits: dict[str, tuple[int | None, float, int | None]] = {}
        self.states: dict[str, State] = {}

    def pause(self, key: str, at: float | None = None) -> None:
        self.told.append(("pause", key, at))
        self.paused.add(key)

    def resume(self, key: str, at: float | None = None) -> None:
        self.told.append(("resume", key, at))
        self.paused.discard(key)

    def limit(
        self, key: str, rate: int | None, period: float, parallelism: int | None
    ) -> None:
        self.limits[key] = rate, period, parallelism

    def unlimit(self, key: str) -> None:
        self.limits.pop(key, None)

    def standing(self, key: str) -> State:
        return self.states.get(key, State(key))

    def glance(self) -> dict[str, str]:
        return {
            key: HELD if state.breaker == "open" else OK
            for key, state in self.states.items()
        }


class Timers:
    """In the place of gevent.spawn_later; ring() fires the last one."""

    def __init__(self) -> None:
        self.delay = -1.0
        self._ring: Callable[[], None] | None = None

    def later(self, delay: float, ring: Callable[[], None]) -> "Timers":
        self.delay, self._ring = delay, ring
        return self

    def kill(self, block: bool) -> None:
        self._ring = None

    @property
    def runs(self) -> bool:
        return self._ring is not None

    def ring(self) -> None:
        ring, self._ring = self._ring, None
        assert ring is not None, "no timer runs"
        ring()


@dataclass
class World:
    """What there is, for any number of operators.

    Attributes:
        in_flight: ids that this instance attempts.
        waits: for how long something was waited for, in seconds.
        cut_short: whether what was waited for had happened, when that began.
        while_waiting: called with each wait.
    """

    clock: Clock = field(default_factory=lambda: Clock(NOW))
    queue: Calls = field(default_factory=Calls)
    lanes: FakeLanes = field(default_factory=FakeLanes)
    timers: Timers = field(default_factory=Timers)
    in_flight: set[str] = field(default_factory=set)
    waits: list[float] = field(default_factory=list)
    cut_short: list[bool] = field(default_factory=list)
    while_waiting: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self.journal = Journal(self.clock)
        self._numbers = itertools.count(1)

    def add(self, *ids: str, state: str, url: str = URL) -> None:
        """Calls that journal and queue know."""
        self.journal.add(*ids, state=state, url=url)
        self.queue.add(*ids, state=state)

    def new_id(self) -> str:
        return f"{next(self._numbers):032x}"

    def wait(self, event: Event, seconds: float) -> None:
        self.waits.append(seconds)
        self.cut_short.append(event.is_set())
        self.clock.now += seconds
        self.while_waiting()

    def operator(
        self,
        instance: str = "here",
        lanes: FakeLanes | None = None,
    ) -> Operator:
        """A new one; not started."""
        return Operator(
            cast(Queue, self.queue),
            cast(Steered, lanes or self.lanes),
            cast(Any, self.journal),
            self.in_flight.__contains__,
            lambda: sorted(self.in_flight),
            instance,
            self.clock,
            self.clock,
            self.new_id,
            self.wait,
            partial(Alarm, spawn_later=cast(Any, self.timers.later)),
        )

    def restored(self, instance: str = "here") -> Operator:
        """A new one, who knows what was before, and works when the test says so."""
        operator = self.operator(instance)
        operator._restore()
        return operator

    @contextmanager
    def steered(self, instance: str = "here") -> Iterator[Operator]:
        """By an operator who is started and stopped."""
        operator = self.operator(instance)
        operator.start()
        try:
            yield operator
        finally:
            operator.stop()
