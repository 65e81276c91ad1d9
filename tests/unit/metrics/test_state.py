"""How things stand, as it is scraped."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from mspc.errors import JournalUnavailable
from mspc.journal.base import Tally
from mspc.metrics.lag import LoopLag
from mspc.metrics.sources import Sources
from mspc.metrics.state import State


class View:
    """The journal, as far as it is asked."""

    dropped = 3

    def __init__(self, tally: Tally | None) -> None:
        self._tally = tally

    def tally(self) -> Tally:
        if self._tally is None:
            raise JournalUnavailable("It is off.", off=True)
        return self._tally


SOURCES = Sources(
    consumers=200,
    in_flight=lambda: 7,
    problem=lambda: None,
    destinations=lambda: {"ok": 2, "held": 1, "paused": 0},
    spooled=lambda: None,
    connected=lambda: None,
    disk_free=lambda: 1000,
    lines_dropped=lambda: 4,
    spans_dropped=lambda: None,
)


EMPTY = Tally()


def scrape(sources: Sources = SOURCES, tally: Tally | None = EMPTY) -> dict[str, str]:
    registry = CollectorRegistry()
    state = State(sources, View(tally), lambda: 0.25, lambda: 1000.0)  # type: ignore[arg-type]
    registry.register(state)
    lines = generate_latest(registry).decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_how_things_stand() -> None:
    found = scrape()
    assert found["mspc_ready"] == "1.0"
    assert found["mspc_in_flight"] == "7.0"
    assert found["mspc_consumers"] == "200.0"
    assert found['mspc_destinations{state="held"}'] == "1.0"
    assert found["mspc_log_lines_dropped_total"] == "4.0"
    assert found["mspc_loop_lag_seconds"] == "0.25"
    assert found["mspc_disk_free_bytes"] == "1000.0"


def test_not_ready() -> None:
    assert scrape(replace(SOURCES, problem=lambda: "no"))["mspc_ready"] == "0.0"


def test_what_there_is_not_is_not_said() -> None:
    found = scrape()
    assert "mspc_broker_connected" not in found
    assert "mspc_spool_calls" not in found
    assert "mspc_spans_dropped_total" not in found
    there = replace(
        SOURCES,
        connected=lambda: False,
        spooled=lambda: 5,
        spans_dropped=lambda: 0,
    )
    found = scrape(there)
    assert found["mspc_broker_connected"] == "0.0"
    assert found["mspc_spool_calls"] == "5.0"
    assert found["mspc_spans_dropped_total"] == "0.0"


def test_a_disk_that_cannot_be_looked_at() -> None:
    def fails() -> int:
        raise OSError

    found = scrape(replace(SOURCES, disk_free=fails))
    assert "mspc_disk_free_bytes" not in found
    assert "mspc_ready" in found


@pytest.mark.parametrize(
    ("oldest", "age"), [(None, "0.0"), (990.0, "10.0"), (1060.0, "0.0")]
)
def test_the_calls(oldest: float | None, age: str) -> None:
    found = scrape(tally=Tally({"queued": 2, "dead": 1}, oldest))
    assert found['mspc_calls{state="queued"}'] == "2.0"
    assert found["mspc_oldest_due_age_seconds"] == age
    assert found["mspc_journal_dropped_total"] == "3.0"


def test_no_call_is_a_number_too() -> None:
    """A panel that finds no series shows nothing, where it should show 0."""
    found = scrape(tally=Tally({"dead": 1}))
    states = ("queued", "waiting", "succeeded", "dead", "cancelled")
    counts = {state: found[f'mspc_calls{{state="{state}"}}'] for state in states}
    assert counts == {**dict.fromkeys(states, "0.0"), "dead": "1.0"}
    # The journal does not tell it from the other two: a 0 would not be true.
    assert 'mspc_calls{state="in_flight"}' not in found


def test_without_a_journal() -> None:
    found = scrape(tally=None)
    assert not any(name.startswith("mspc_calls") for name in found)
    assert "mspc_ready" in found


def test_the_lag_is_the_longest_since_somebody_asked() -> None:
    lag = LoopLag()
    for slept in (0.5, 0.8, 0.6):
        lag.woke(0.5, slept)
    assert lag.take() == pytest.approx(0.3)
    assert lag.take() == 0
