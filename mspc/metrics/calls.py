"""What becomes of calls, counted for Prometheus: reads what the journal reads.

No label comes from outside: a thousand hosts would make 60,000 series, and rendering
them would stop every greenlet for most of a second. Those that somebody has named have
a label of their own.
"""

from collections import Counter
from collections.abc import Collection

from mspc.calls import words
from mspc.journal.events import Accepted, Attempted, Event
from mspc.metrics.tallies import PORTION, Counts, Spread

OTHER = "other"
OUTCOMES = {
    words.TIMEOUT: "timeout",
    words.CONNECT_TIMEOUT: "timeout",
    words.CONNECTION_REFUSED: "refused",
    words.CONNECTION_RESET: "reset",
    words.DNS: "dns",
    words.TLS: "tls",
    words.PROTOCOL: "protocol",
    words.DENIED_NETWORK: "denied",
}
TOO_MANY = 429
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# A delivery may take days.
LONG = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 43_200, 172_800)
ATTEMPTS = (1, 2, 3, 5, 10, 20, 50, 100, 1000)


class CallMetrics:
    """Counts what it is told. A Recorder, as the journal is.

    Attributes:
        parts: what is counted.
    """

    on = True
    body_bytes = 0

    def __init__(self, named: Collection[str] = ()) -> None:
        """`named`: destinations with a label of their own."""
        self._named = frozenset(named)
        self._told: list[Attempted] = []
        settle = self._count
        self._accepted = Counts("mspc_calls_accepted", "Calls that were stored.")
        self._attempts = Counts(
            "mspc_attempts",
            "Attempts by what they gave; destinations without a name here are other.",
            ("destination", "outcome"),
            settle,
        )
        self._seconds = Spread(
            "mspc_attempt_duration_seconds",
            "How long attempts took.",
            SECONDS,
            settle=settle,
        )
        self._delivery = Spread(
            "mspc_delivery_seconds",
            "From acceptance, or not_before, to a 2xx.",
            LONG,
            ("destination",),
            settle,
        )
        self._first_wait = Spread(
            "mspc_first_attempt_wait_seconds",
            "From acceptance, or not_before, to the first attempt: fairness.",
            LONG,
            settle=settle,
        )
        self._per_delivery = Spread(
            "mspc_attempts_per_delivery",
            "How many attempts a call took that has succeeded.",
            ATTEMPTS,
            settle=settle,
        )
        text = "Calls that became dead letters."
        self._dead = Counts("mspc_dead", text, ("reason",), settle)
        for reason in words.REASONS:
            self._dead.values[reason,] = 0
        for spread in (self._seconds, self._first_wait, self._per_delivery):
            spread.begin()
        for place in (*self._named, OTHER):
            self._delivery.begin(place)
        parts = (self._accepted, self._attempts, self._seconds, self._delivery)
        self.parts = (*parts, self._first_wait, self._per_delivery, self._dead)

    def record(self, event: Event) -> None:
        if type(event) is Attempted:
            self._told.append(event)
            if len(self._told) >= PORTION:
                self._count()
        elif type(event) is Accepted:
            self._accepted.values[()] += 1

    def _count(self) -> None:
        """Of all that was told."""
        told, self._told = self._told, []
        made = [one for one in told if one.status is not None or one.error]
        self._seconds.observe_all([one.seconds for one in made])
        first = [one for one in made if one.number == 1]
        self._first_wait.observe_all([_since_due(one.call, one.at) for one in first])
        for place, some in self._by_place(made).items():
            for what, count in Counter(
                [(one.status, one.error) for one in some]
            ).items():
                self._attempts.values[place, outcome_of(*what)] += count
        done = [one for one in told if one.decision == "done"]
        self._per_delivery.observe_all([one.number for one in done])
        for place, some in self._by_place(done).items():
            took = [_since_due(one.call, one.at + one.seconds) for one in some]
            self._delivery.observe_all(took, place)
        for one in told:
            if one.decision == "dead":
                self._dead.add(one.reason)

    def _by_place(self, events: list[Attempted]) -> dict[str, list[Attempted]]:
        if not self._named:
            return {OTHER: events}
        found: dict[str, list[Attempted]] = {}
        for one in events:
            place = one.call.destination
            found.setdefault(place if place in self._named else OTHER, []).append(one)
        return found


def _since_due(call: Accepted, then: float) -> float:
    due = call.due if call.due > call.at else call.at
    return then - due if then > due else 0.0


def outcome_of(status: int | None, error: str) -> str:
    """`2xx`, `429`, `timeout` and the like."""
    if status is None:
        return OUTCOMES.get(error, "unknown")
    return "429" if status == TOO_MANY else f"{status // 100}xx"
