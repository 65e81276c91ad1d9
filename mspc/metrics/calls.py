"""What becomes of calls, counted for Prometheus: reads what the journal reads.

No label comes from outside: a thousand hosts would make 60,000 series, and rendering
them would stop every greenlet for most of a second. Those that somebody has named have
a label of their own.
"""

import time
from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Histogram

from mspc.calls import words
from mspc.journal.events import Accepted, Attempted, Event
from mspc.metrics.children import Children

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
    """Counts what it is told. A Recorder, as the journal is."""

    on = True
    body_bytes = 0

    def __init__(
        self,
        registry: CollectorRegistry,
        named: Collection[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            registry: where the metrics are found.
            named: destinations with a label of their own.
            now: Unix seconds.
        """
        self._named = frozenset(named)
        self._now = now
        self._accepted = Counter(
            "mspc_calls_accepted", "Calls that were stored.", registry=registry
        )
        attempts = Counter(
            "mspc_attempts",
            "Attempts by what they gave; destinations without a name here are other.",
            ("destination", "outcome"),
            registry=registry,
        )
        self._attempts = Children(attempts)
        self._seconds = Histogram(
            "mspc_attempt_duration_seconds",
            "How long attempts took.",
            buckets=SECONDS,
            registry=registry,
        )
        delivery = Histogram(
            "mspc_delivery_seconds",
            "From acceptance, or not_before, to a 2xx.",
            ("destination",),
            buckets=LONG,
            registry=registry,
        )
        self._delivery = {
            place: delivery.labels(place) for place in (*self._named, OTHER)
        }
        self._first_wait = Histogram(
            "mspc_first_attempt_wait_seconds",
            "From acceptance, or not_before, to the first attempt: fairness.",
            buckets=LONG,
            registry=registry,
        )
        self._per_delivery = Histogram(
            "mspc_attempts_per_delivery",
            "How many attempts a call took that has succeeded.",
            buckets=ATTEMPTS,
            registry=registry,
        )
        dead = Counter(
            "mspc_dead",
            "Calls that became dead letters.",
            ("reason",),
            registry=registry,
        )
        self._dead = {reason: dead.labels(reason) for reason in words.REASONS}

    def record(self, event: Event) -> None:
        if type(event) is Accepted:
            self._accepted.inc()
        elif type(event) is Attempted:
            self._attempted(event)

    def _attempted(self, event: Attempted) -> None:
        call = event.call
        place = call.destination if call.destination in self._named else OTHER
        due = max(call.at, call.due)
        if event.status is not None or event.error:
            self._attempts[place, outcome_of(event)].inc()
            self._seconds.observe(event.seconds)
        if event.number == 1:
            self._first_wait.observe(max(0.0, event.at - due))
        if event.decision == "done":
            ended = event.at + event.seconds
            self._delivery[place].observe(max(0.0, ended - due))
            self._per_delivery.observe(event.number)
        elif event.decision == "dead":
            self._dead[event.reason].inc()


def outcome_of(event: Attempted) -> str:
    """`2xx`, `429`, `timeout` and the like."""
    if event.status is None:
        return OUTCOMES.get(event.error, "unknown")
    return "429" if event.status == TOO_MANY else f"{event.status // 100}xx"
