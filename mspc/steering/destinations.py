"""Pauses and limits that are in force: what was decided last of each destination."""

import logging
from collections.abc import Callable, Iterable, Mapping

from mspc.calls.destination import read_destination
from mspc.errors import NotPossible
from mspc.journal.events import Decided, Kind
from mspc.lanes.state import HELD, OK, State
from mspc.lanes.steered import Steered
from mspc.queues.clock import Alarm
from mspc.steering.base import Limits, Standing
from mspc.steering.decisions import Decisions, order

log = logging.getLogger(__name__)

PAUSES: tuple[Kind, ...] = ("paused", "resumed")
LIMITS: tuple[Kind, ...] = ("limited", "unlimited")
# The wall clock may be set: a pause is looked at now and then before its end.
LOOK_SECONDS = 30.0

Clock = Callable[[], float]


class Destinations:
    """Has the lanes do what was decided, here or on another instance."""

    def __init__(
        self,
        lanes: Steered,
        decisions: Decisions,
        clock: Clock,
        monotonic: Clock,
        make_alarm: Callable[[Callable[[], None], Clock], Alarm],
    ) -> None:
        """
        Args:
            lanes: those of this instance.
            decisions: where new ones are written down.
            clock: Unix seconds.
            monotonic: seconds that never step back.
            make_alarm: given what it rings, and `monotonic`.
        """
        self._lanes = lanes
        self._decisions = decisions
        self._clock = clock
        self._monotonic = monotonic
        self._alarm = make_alarm(self.end_pauses, monotonic)
        # What was decided last, also when that was the end of it: an older decision
        # may arrive later.
        self._last_of_pauses: dict[str, Decided] = {}
        self._last_of_limits: dict[str, Decided] = {}
        self._paused: dict[str, float | None] = {}  # until when
        self._limited: dict[str, Limits] = {}

    def pause(
        self, destination: str, who: str, until: float | None, reason: str
    ) -> None:
        self._decide("paused", destination, who, reason, {"until": until})

    def resume(self, destination: str, who: str, reason: str) -> None:
        self._decide("resumed", destination, who, reason, {})

    def limit(
        self, destination: str, who: str, limits: Limits | None, reason: str
    ) -> None:
        if limits is None or (limits.rate is None and limits.parallelism is None):
            self._decide("unlimited", destination, who, reason, {})
            return
        details = {
            "rate": limits.rate,
            "period": limits.period,
            "parallelism": limits.parallelism,
        }
        self._decide("limited", destination, who, reason, details)

    def standing(self, destination: str) -> Standing:
        """Also of lanes that are no destinations: calls that nobody can read."""
        try:
            key = read_destination(destination)
        except NotPossible:
            key = destination
        return self._standing(self._lanes.standing(key))

    def glance(self) -> dict[str, str]:
        """The state of those that are paused, limited, held or have calls in flight."""
        states = self._lanes.glance()
        for key in self._limited:
            states.setdefault(key, OK)
        states.update(dict.fromkeys(self._paused, "paused"))
        return states

    def last(self) -> list[Decided]:
        """What was decided last of each, also when that was the end of something."""
        return [*self._last_of_pauses.values(), *self._last_of_limits.values()]

    def apply(self, decided: Decided) -> None:
        """Has it done, unless a newer decision about the destination is known."""
        pauses = decided.kind in PAUSES
        known = self._last_of_pauses if pauses else self._last_of_limits
        for destination in decided.targets:
            before = known.get(destination)
            if before is not None and order(before) >= order(decided):
                continue
            known[destination] = decided
            if pauses:
                self._enforce_pause(destination, decided)
            else:
                self._enforce_limit(destination, decided)

    def restore(self, decided: Iterable[Decided]) -> None:
        """From the first to the last, since the lanes know of each pause: the calls
        did not age meanwhile.
        """
        for one in sorted(decided, key=order):
            self.apply(one)
        self.end_pauses()
        for destination in self._paused:
            log.info("%s is paused: its calls wait", destination)

    def end_pauses(self) -> None:
        """Ends those whose time has come, and sees to the next one."""
        self._end_pauses(self._paused, self._clock())
        self._watch()

    def stop(self) -> None:
        self._alarm.cancel()

    def _decide(
        self,
        kind: Kind,
        destination: str,
        who: str,
        reason: str,
        details: Mapping[str, object],
    ) -> None:
        key = read_destination(destination)
        known = self._last_of_pauses if kind in PAUSES else self._last_of_limits
        after = known[key].at if key in known else 0.0
        self.apply(self._decisions.decide(kind, who, key, reason, details, after=after))
        log.info("%s is %s by %s%s", key, kind, who, f": {reason}" if reason else "")

    def _enforce_pause(self, destination: str, decided: Decided) -> None:
        self._end_pauses([destination], decided.at)
        if decided.kind == "resumed":
            self._paused.pop(destination, None)
            self._lanes.resume(destination, decided.at)
            return
        self._paused[destination] = _number(decided.details.get("until"))
        self._lanes.pause(destination, decided.at)
        self._watch()

    def _enforce_limit(self, destination: str, decided: Decided) -> None:
        if decided.kind == "unlimited":
            self._limited.pop(destination, None)
            self._lanes.unlimit(destination)
            return
        limits = self._limited[destination] = _limits(decided.details)
        self._lanes.limit(destination, limits.rate, limits.period, limits.parallelism)

    def _end_pauses(self, destinations: Iterable[str], now: float) -> None:
        for destination in list(destinations):
            until = self._paused.get(destination)
            if until is not None and until <= now:
                del self._paused[destination]
                self._lanes.resume(destination, until)

    def _watch(self) -> None:
        ends = [until for until in self._paused.values() if until is not None]
        if ends:
            left = min(ends) - self._clock()
            self._alarm.set(self._monotonic() + min(LOOK_SECONDS, max(0.0, left)))

    def _standing(self, lane: State) -> Standing:
        held = lane.breaker == "open"
        probe_in = lane.next_probe_in if held else None
        state = HELD if held else OK
        return Standing(
            lane.key,
            "paused" if lane.key in self._paused else state,
            lane.breaker,
            lane.in_flight,
            self._limited.get(lane.key, Limits()),
            self._paused.get(lane.key),
            None if probe_in is None else self._clock() + probe_in,
        )


def _limits(details: Mapping[str, object]) -> Limits:
    """As another instance, perhaps of another version, has written them."""
    return Limits(
        _count(details.get("rate")),
        _number(details.get("period")) or Limits().period,
        _count(details.get("parallelism")),
    )


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
