"""What the benchmarks judge by: pure, of figures that were measured elsewhere."""

import pytest

from benchmarks.fairness import known
from benchmarks.goals import judge
from benchmarks.looks import NAMES, NOTHING, looks
from benchmarks.pages_page import parts
from benchmarks.probing import each_second, steepest
from benchmarks.stock import Stock, answered, delayed, destination, refused
from benchmarks.store import FAIRNESS, METRICS, OPERATORS, PAGES, Store
from benchmarks.target import BROKEN
from mspc.calls.destination import read_destination

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


LOOKED_AT = {
    "waiting": 1e6,
    "dead": 1e5,
    "known": 1e4,
    "open_percent": 4.9,
    "alone_p99_ms": 16.0,
    "p99_ms": 20.0,
    "scrape_p99_ms": 19.9,
}


def judged(words: str, store: Store) -> bool | None:
    """The one verdict whose goal has these words."""
    (found,) = [one.met for one in judge(store) if words in one.goal]
    return found


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("open overviews, each asking", {"open_percent": 5.0}),
        ("accept p99 at most 1.25", {"p99_ms": 20.1}),
        ("accept p99 at most 1.25", {"alone_p99_ms": 4.0, "p99_ms": 12.6}),
        ("of a scrape", {"scrape_p99_ms": 20.0}),
    ],
)
def test_open_pages_and_scrapes_cost_little(
    words: str, changes: dict[str, float]
) -> None:
    fine, bad = Store(), Store()
    fine.add(PAGES, "mspc-quorum", LOOKED_AT)
    bad.add(PAGES, "mspc-quorum", LOOKED_AT | changes)

    assert judged(words, fine)
    assert not judged(words, bad)


def test_the_slowest_page_decides() -> None:
    store = Store()
    store.add(PAGES, "mspc-sqlite", LOOKED_AT)
    store.add(PAGES, "mspc-sqlite overview", {"p50_ms": 5.0, "max_ms": 9.0})
    store.add(PAGES, "mspc-sqlite jobs", {"p50_ms": 5.0, "max_ms": 99.0})
    assert judged("each page", store)

    store.add(PAGES, "mspc-sqlite a job", {"p50_ms": 5.0, "max_ms": 101.0})

    (told,) = [one for one in judge(store) if "each page" in one.goal]
    assert not told.met
    assert told.measured == "101 ms (a job), the longest of 3 pages"


@pytest.mark.parametrize(
    ("words", "slow"),
    [
        ("a page of 1,000 calls", {"quiet_page_max_ms": 50.0}),
        ("the counts", {"quiet_counts_max_ms": 5.0}),
    ],
)
def test_lists_and_counts_come_soon(words: str, slow: dict[str, float]) -> None:
    quiet = {"quiet_page_max_ms": 49.9, "quiet_counts_max_ms": 4.9}
    figures = {"stored": 1e6, "alone_p99_ms": 4.0, "p99_ms": 4.0, **quiet}
    fine, bad = Store(), Store()
    fine.add(OPERATORS, "mspc-sqlite", figures)
    bad.add(OPERATORS, "mspc-sqlite", figures | slow)

    assert judged(words, fine)
    assert not judged(words, bad)


@pytest.mark.parametrize(("times", "good"), [(1.03, True), (1.031, False)])
def test_metrics_cost_a_call_little(times: float, good: bool) -> None:
    figures = {"with": 0.4, "without": 0.4, "times": times}
    assert met("mspc-classic-plain", figures, section=METRICS) is good


@pytest.mark.parametrize("what", ["remembered", "forgotten"])
@pytest.mark.parametrize(("times", "good"), [(1.15, True), (1.151, False)])
def test_the_journal_costs_a_call_little(what: str, times: float, good: bool) -> None:
    figures = {"with": 0.4, "without": 0.4, "times": times}
    assert met(f"mspc-classic {what}", figures, section=METRICS) is good


def test_each_page_has_a_name_and_a_path_of_its_own() -> None:
    asked = [(look.path, str(look.form)) for look in looks(NOTHING)]

    assert len(set(NAMES)) == len(NAMES)
    # Four of them differ in the id of a call alone, which nobody knows here.
    assert len(set(asked)) == len(asked) - 3


def test_the_page_shows_what_was_looked_at_and_nothing_without_it() -> None:
    store = Store()
    assert list(parts(store)) == []
    store.add(PAGES, "mspc-sqlite", LOOKED_AT)
    store.add(PAGES, "mspc-sqlite a job", {"p50_ms": 5.0, "max_ms": 98.7})
    store.add(METRICS, "mspc-sqlite", {"with": 0.41, "without": 0.4, "times": 1.025})
    kept = {"with": 0.46, "without": 0.41, "times": 1.12}
    store.add(METRICS, "mspc-sqlite remembered", kept)

    page = "\n\n".join(parts(store))

    assert "| a job | 5.00 | 98.7 |" in page
    assert "| sqlite | 1,000,000 | 100,000 | 4.90 |" in page
    assert "| sqlite | the metrics, beside the journal | 0.41 | 0.40 | 1.02 |" in page
    assert "| sqlite | the journal | 0.46 | 0.41 | 1.12 |" in page


def test_destinations_are_different_ones_of_this_machine() -> None:
    names = [destination(number) for number in (0, 249, 250, 62_499, 62_500, 999_999)]

    assert [read_destination(name) for name in names] == names
    assert len(set(names)) == len(names)
    assert all(name.startswith("http://127.") for name in names)


def test_what_lies_there_is_spread_over_destinations_and_answers() -> None:
    stock = Stock(waiting=30, dead=20, destinations=3)

    urls = [call["url"] for call in delayed(stock.waiting - stock.failed, 3)]
    told = {call["url"].split("/")[3] for call in answered(10, "http://localhost:1")}

    assert len(urls) == 27
    assert {url.split("/notification")[0] for url in urls} == {
        destination(number) for number in range(3)
    }
    assert told == set(map(str, BROKEN))
    assert all(call["requeue"] is False for call in refused(2, 3, requeue=False))


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
