"""What the benchmarks judge by: pure, of figures that were measured elsewhere."""

import pytest

from benchmarks.fairness import known
from benchmarks.goals import judge
from benchmarks.probing import each_second, steepest
from benchmarks.store import FAIRNESS, OPERATORS, Store

FINE = {
    "alone_p50_ms": 2.0,
    "alone_p99_ms": 12.0,
    "p50_ms": 3.0,
    "p99_ms": 24.0,
    "missing": 0.0,
    "twice": 0.0,
}
BACK = {"noticed_s": 4.9, "steepest": 2.1, "missing": 0.0, "twice": 0.0}


def met(name: str, *rounds: dict[str, float], section: str = FAIRNESS) -> bool | None:
    """The verdict on the only figures that there are."""
    store = Store()
    for figures in rounds:
        store.add(section, name, figures)
    (found,) = [verdict.met for verdict in judge(store) if verdict.met is not None]
    return found


@pytest.mark.parametrize(
    ("changes", "fair"),
    [
        ({}, True),
        ({"p50_ms": 3.1}, False),
        ({"p99_ms": 24.1}, False),
        ({"alone_p99_ms": 4.0, "p99_ms": 19.0}, True),
        ({"alone_p99_ms": 4.0, "p99_ms": 21.0}, False),
    ],
)
def test_healthy_calls_are_compared_with_what_they_are_alone(
    changes: dict[str, float], fair: bool
) -> None:
    assert met("mspc-quorum hang", FINE | changes) is fair


@pytest.mark.parametrize("figure", ["missing", "twice"])
def test_one_call_missing_or_made_twice_in_any_round_misses_the_goal(
    figure: str,
) -> None:
    assert not met("mspc-sqlite down", FINE, FINE | {figure: 1.0}, FINE)


@pytest.mark.parametrize(
    ("changes", "good"),
    [({}, True), ({"noticed_s": 5.1}, False), ({"steepest": 2.3}, False)],
)
def test_a_recovery_is_noticed_soon_and_not_trampled(
    changes: dict[str, float], good: bool
) -> None:
    assert met("mspc-classic recovery", BACK | changes) is good


@pytest.mark.parametrize(
    ("alone", "beside", "good"),
    [(20.0, 30.0, True), (20.0, 30.1, False), (4.0, 15.0, True), (4.0, 15.1, False)],
)
def test_accepting_is_as_good_beside_somebody_who_looks(
    alone: float, beside: float, good: bool
) -> None:
    figures = {"stored": 1e6, "alone_p99_ms": alone, "p99_ms": beside}
    assert met("mspc-sqlite", figures, section=OPERATORS) is good


def test_seconds_are_counted_from_the_first_call() -> None:
    assert each_second([0.0, 0.9, 1.0, 3.5]) == [2, 1, 0, 1]
    assert each_second([]) == []


def test_the_steepest_step_leaves_small_counts_aside() -> None:
    assert steepest([20, 40, 80, 160, 300]) == 2.0
    assert steepest([500, 500]) == 10.0
    assert steepest([]) == 0.0


def test_results_of_cases_that_are_no_more_are_forgotten() -> None:
    store = Store()
    store.add(FAIRNESS, "mspc-sqlite down 50", FINE)
    store.add(FAIRNESS, "mspc-sqlite waiting-1000", FINE)

    store.forget_others(FAIRNESS, known)

    assert store.names(FAIRNESS) == ["mspc-sqlite waiting-1000"]
