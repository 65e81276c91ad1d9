"""What becomes of calls, counted for Prometheus: reads what the journal reads.

No label comes from outside: a thousand hosts would make 60,000 series, and rendering
them would stop every greenlet for most of a second. Those that somebody has named have
a label of their own.
"""

from collections.abc import Collection

from mspc.calls import words
from mspc.journal.events import Accepted, Attempted, Event
from mspc.metrics.tallies import Counts, Spread

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
        self._accepted = Counts("mspc_calls_accepted", "Calls that were stored.")
        self._attempts = Counts(
            "mspc_attempts",
            "Attempts by what they gave; destinations without a name here are other.",
            ("destination", "outcome"),
        )
        self._seconds = Spread(
            "mspc_attempt_duration_seconds", "How long attempts took.", SECONDS
        )
        self._delivery = Spread(
            "mspc_delivery_seconds",
            "From acceptance, or not_before, to a 2xx.",
            LONG,
            ("destination",),
        )
        self._first_wait = Spread(
            "mspc_first_attempt_wait_seconds",
            "From acceptance, or not_before, to the first attempt: fairness.",
            LONG,
        )
        self._per_delivery = Spread(
            "mspc_attempts_per_delivery",
            "How many attempts a call took that has succeeded.",
            ATTEMPTS,
        )
        self._dead = Counts("mspc_dead", "Calls that became dead letters.", ("reason",))
        for reason in words.REASONS:
            self._dead.values[reason,] = 0
        for spread in (self._seconds, self._first_wait, self._per_delivery):
            spread.begin()
        for place in (*self._named, OTHER):
            self._delivery.begin(place)
        parts = (self._accepted, self._attempts, self._seconds, self._delivery)
        self.parts = (*parts, self._first_wait, self._per_delivery, self._dead)

    def record(self, event: Event) -> None:
        if type(event) is Accepted:
            self._accepted.add()
        elif type(event) is Attempted:
            self._attempted(event)

    def _attempted(self, event: Attempted) -> None:
        call = event.call
        place = call.destination if call.destination in self._named else OTHER
        due = max(call.at, call.due)
        if event.status is not None or event.error:
            self._attempts.add(place, outcome_of(event))
            self._seconds.observe(event.seconds)
            if event.number == 1:
                self._first_wait.observe(max(0.0, event.at - due))
        if event.decision == "done":
            ended = event.at + event.seconds
            self._delivery.observe(max(0.0, ended - due), place)
            self._per_delivery.observe(event.number)
        elif event.decision == "dead":
            self._dead.add(event.reason)


def outcome_of(event: Attempted) -> str:
    """`2xx`, `429`, `timeout` and the like."""
    if event.status is None:
        return OUTCOMES.get(event.error, "unknown")
    return "429" if event.status == TOO_MANY else f"{event.status // 100}xx"
