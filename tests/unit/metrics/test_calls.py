"""What is counted, by what the registry says afterwards."""

import pytest
from prometheus_client import CollectorRegistry

from mspc.calls import words
from mspc.journal.events import Accepted, Attempted, Decided
from mspc.metrics.calls import CallMetrics
from mspc.metrics.families import Tallies

NAMED, ELSE = "http://named.test:80", "http://else.test:80"


def call(destination: str = ELSE, due: float = 0.0) -> Accepted:
    return Accepted("x", 100.0, "GET", f"{destination}/", destination, due=due)


class Counted:
    """CallMetrics, and what they say."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = CallMetrics([NAMED])
        self.registry.register(Tallies(self.metrics.parts))

    def tell(self, *events: Accepted | Attempted | Decided) -> "Counted":
        for event in events:
            self.metrics.record(event)
        return self

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"mspc_{name}", labels)


def test_what_is_accepted() -> None:
    assert Counted().tell(call(), call()).value("calls_accepted_total") == 2


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (204, "", "2xx"),
        (302, words.BAD_STATUS, "3xx"),
        (404, words.BAD_STATUS, "4xx"),
        (429, words.BAD_STATUS, "429"),
        (503, words.BAD_STATUS, "5xx"),
        (None, words.TIMEOUT, "timeout"),
        (None, words.CONNECT_TIMEOUT, "timeout"),
        (None, words.CONNECTION_REFUSED, "refused"),
        (None, words.CONNECTION_RESET, "reset"),
        (None, words.DNS, "dns"),
        (None, words.TLS, "tls"),
        (None, words.PROTOCOL, "protocol"),
        (None, words.DENIED_NETWORK, "denied"),
        (None, words.UNKNOWN, "unknown"),
    ],
)
def test_attempts_by_outcome(status: int | None, error: str, outcome: str) -> None:
    counted = Counted().tell(Attempted(call(), 1, 101.0, 0.5, status, error))
    labels = {"destination": "other", "outcome": outcome}
    assert counted.value("attempts_total", **labels) == 1
    assert counted.value("attempt_duration_seconds_sum") == 0.5


def test_named_destinations_have_a_label_of_their_own() -> None:
    counted = Counted().tell(*[Attempted(call(NAMED), 1, 101.0, 0.5, 200)] * 3)
    labels = {"destination": NAMED}
    assert counted.value("attempts_total", outcome="2xx", **labels) == 3
    assert counted.value("delivery_seconds_count", **labels) == 3
    assert counted.value("delivery_seconds_count", destination="other") == 0


def test_a_delivery_takes_from_its_acceptance_to_its_answer() -> None:
    counted = Counted().tell(
        Attempted(call(), 1, 102.0, 1.0, 503, words.BAD_STATUS, decision="retry"),
        Attempted(call(), 2, 110.0, 1.0, 200),
    )
    assert counted.value("delivery_seconds_sum", destination="other") == 11
    assert counted.value("first_attempt_wait_seconds_sum") == 2
    assert counted.value("attempts_per_delivery_sum") == 2


def test_a_death_without_an_attempt_is_no_first_attempt() -> None:
    """It has failed once, and was held until it was too old."""
    counted = Counted().tell(
        Attempted(call(), 1, 102.0, 1.0, 503, words.BAD_STATUS, decision="retry"),
        Attempted(call(), 1, 9000.0, 0.0, decision="dead", reason=words.MAX_AGE),
    )
    assert counted.value("first_attempt_wait_seconds_count") == 1
    assert counted.value("first_attempt_wait_seconds_sum") == 2
    assert counted.value("dead_total", reason=words.MAX_AGE) == 1


def test_or_from_when_it_was_first_due() -> None:
    counted = Counted().tell(Attempted(call(due=150.0), 1, 151.0, 1.0, 200))
    assert counted.value("delivery_seconds_sum", destination="other") == 2
    assert counted.value("first_attempt_wait_seconds_sum") == 1


def test_a_clock_that_steps_back_makes_nothing_negative() -> None:
    counted = Counted().tell(Attempted(call(), 1, 90.0, 1.0, 200))
    assert counted.value("delivery_seconds_sum", destination="other") == 0
    assert counted.value("first_attempt_wait_seconds_sum") == 0


def test_the_dead_by_reason() -> None:
    died = Attempted(
        call(), 0, 101.0, decision="dead", reason=words.MAX_AGE, text="too old"
    )
    counted = Counted().tell(died)
    assert counted.value("dead_total", reason=words.MAX_AGE) == 1
    assert counted.value("dead_total", reason=words.DAMAGED) == 0
    assert counted.value("attempt_duration_seconds_count") == 0, "there was none"


def test_decisions_are_no_calls() -> None:
    Counted().tell(Decided("paused", 1.0, "admin", (ELSE,)))
