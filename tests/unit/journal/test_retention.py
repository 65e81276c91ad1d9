"""What is forgotten, in which order, and what is not."""

import pytest
from msgspec.structs import replace

from mspc.journal import reading, retention
from mspc.journal.base import EVERYTHING
from mspc.journal.counters import Counters
from mspc.journal.events import Decided, Event, Kind
from mspc.journal.retention import DAY_SECONDS, Retention
from mspc.journal.writing import Writer
from mspc.steering.decisions import FARTHEST_LOOK
from tests.support.clock import Clock
from tests.support.happened import (
    DESTINATION,
    NOW,
    accepted,
    decided,
    died,
    failed,
    in_memory,
    succeeded,
)


class Kept:
    """A file and what forgets it."""

    def __init__(self, days: int = 7, max_calls: int = 1000) -> None:
        self.db = in_memory()
        self.clock = Clock(NOW)
        self.writer = Writer(self.db)
        self.counters = Counters()
        self.retention = Retention(self.db, self.writer, days, max_calls, self.clock)

    def write(self, *events: Event) -> None:
        self.counters.apply(self.writer.write(events))

    def forget(self) -> str:
        """Goes on until there is nothing to do; the numbers of the calls left."""
        for _ in range(100):
            changes = self.retention.step()
            if changes is None:
                break
            self.counters.apply(changes)
        assert self.counters.tally(None).states == {
            state: count for state, count in self.writer.states.items() if count
        }
        found = reading.Looking(EVERYTHING, None, 100)(self.db)
        return "".join(call.url[-1] for call in reversed(found.calls))


def test_a_finished_call_is_kept_for_some_days() -> None:
    kept = Kept(days=7)
    calls = [accepted(number, NOW + number) for number in range(4)]
    kept.write(succeeded(calls[0]), died(calls[1]), failed(calls[2]), calls[3])
    kept.clock.now = NOW + 7 * DAY_SECONDS
    assert kept.forget() == "0123"
    kept.clock.now += retention.ROUND_SECONDS + 60
    assert kept.forget() == "23"
    assert kept.db.execute("SELECT count(*) FROM attempts").fetchone() == (1,)


def test_it_counts_when_a_call_was_finished_not_when_it_began() -> None:
    kept = Kept(days=7)
    kept.write(succeeded(accepted(1), after=5 * DAY_SECONDS))
    kept.clock.now = NOW + 8 * DAY_SECONDS
    assert kept.forget() == "1"
    kept.clock.now = NOW + 13 * DAY_SECONDS
    assert kept.forget() == ""


def test_of_too_many_the_oldest_finished_go_first() -> None:
    kept = Kept(max_calls=3)
    calls = [accepted(number, NOW + number) for number in range(6)]
    kept.write(calls[0], *map(succeeded, calls[1:5]), calls[5])
    assert kept.forget() == "045"


def test_the_oldest_go_when_they_become_too_many_one_by_one() -> None:
    kept = Kept(max_calls=3)
    for number in range(6):
        kept.write(succeeded(accepted(number, NOW + number)))
        expected = "".join(map(str, range(max(number - 2, 0), number + 1)))
        assert kept.forget() == expected


def test_those_that_were_passed_go_before_newer_ones_when_they_have_ended() -> None:
    kept = Kept(max_calls=5)
    calls = [accepted(number, NOW + number) for number in range(9)]
    kept.write(*calls[:4], *map(succeeded, calls[4:6]))
    assert kept.forget() == "01235"
    kept.write(*map(succeeded, calls[:4]))
    for number in (6, 7, 8):
        kept.write(succeeded(calls[number]))
        kept.forget()
    assert kept.forget() == "35678"


def test_that_they_have_ended_is_seen_in_time_where_others_came_instead() -> None:
    kept = Kept(max_calls=5)
    calls = [accepted(number, NOW + number) for number in range(10)]
    kept.write(*calls[:4], *map(succeeded, calls[4:6]))
    assert kept.forget() == "01235"
    kept.write(*map(succeeded, calls[:4]), *calls[6:9])
    kept.clock.now += retention.PASSED_SECONDS
    kept.write(calls[9])
    assert kept.forget() == "56789"


def test_of_too_many_open_ones_the_oldest_go() -> None:
    kept = Kept(max_calls=2)
    calls = [accepted(number, NOW + number) for number in range(5)]
    kept.write(*calls[:4], succeeded(calls[4]))
    assert kept.forget() == "23"


def test_the_bound_holds_for_calls_that_come_later() -> None:
    kept = Kept(max_calls=3)
    calls = [accepted(number, NOW + number) for number in range(8)]
    for call in calls:
        kept.write(call)
        kept.forget()
    kept.write(succeeded(calls[7]))
    assert kept.forget() == "567"


def test_one_step_forgets_a_bounded_number_of_calls() -> None:
    kept = Kept(max_calls=1)
    many = retention.STEP_ROWS + 5
    kept.write(*(succeeded(accepted(n, NOW + n)) for n in range(many)))
    changes = kept.retention.step()
    assert changes is not None
    assert changes.moved.total() == retention.STEP_ROWS


def test_a_destination_that_no_call_has_is_forgotten_and_may_come_back() -> None:
    kept = Kept(days=1)
    kept.write(succeeded(accepted(1)), accepted(2, NOW, "http://b.example:80"))
    kept.clock.now = NOW + 2 * DAY_SECONDS
    assert kept.forget() == "2"
    names = kept.db.execute("SELECT name FROM destinations").fetchall()
    assert names == [("http://b.example:80",)]
    kept.write(accepted(3, NOW + 5))
    assert kept.forget() == "23"


def test_decisions_that_are_in_force_are_never_forgotten() -> None:
    kept = Kept()
    call = accepted()
    forgotten = [
        decided("paused", DESTINATION, after=1),
        decided("resumed", DESTINATION, after=2),
        decided("limited", DESTINATION, after=3),
        decided("cancelled", call.id, after=5),
        decided("paused", "http://b:80", after=6),
    ]
    in_force = [
        decided("limited", DESTINATION, after=4),
        decided("paused", "http://b:80", after=7),
    ]
    kept.write(*forgotten, *in_force)
    kept.clock.now = NOW + 89 * DAY_SECONDS
    kept.forget()
    assert len(reading.decisions(kept.db, "", (), 99)) == 7
    kept.clock.now = NOW + 91 * DAY_SECONDS
    kept.forget()
    assert reading.decisions(kept.db, "", (), 99) == in_force[::-1]
    assert kept.db.execute("SELECT count(*) FROM targets").fetchone() == (2,)


def test_of_too_many_decisions_the_last_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "MOST_DECISIONS", 3)
    kept = Kept()
    in_force = decided("paused", DESTINATION, after=1)
    others = [decided("cancelled", str(after), after=after) for after in range(2, 9)]
    kept.write(in_force, *others)
    kept.forget()
    last = [*others[:-4:-1], in_force]
    assert reading.decisions(kept.db, "", (), 99) == last


def test_of_too_many_decisions_those_are_kept_that_a_job_goes_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until it has ended, or nobody does it any more."""
    monkeypatch.setattr(retention, "MOST_DECISIONS", 1)
    kept = Kept()

    def note(kind: Kind, job: str, after: float, **details: object) -> Decided:
        return replace(decided(kind, job, after=after), details=details)

    waits = note("bulk", "waits", 1, ended=False, ids=["1"], status="running")
    runs = note("bulk", "runs", 2, ended=False, ids=["2"], status="running")
    chunk = note("chunk", "runs", 4, ids=["2"])
    kept.write(
        *(waits, runs, note("bulk", "done", 3, ended=False, status="running"), chunk),
        *(note("bulk", "done", 5, ended=True), note("chunk", "of a call", 6)),
        *(note("bulk", "of before", 7, status="done"), decided("cancelled", "1")),
    )
    kept.write(last := decided("cancelled", "2", after=9))
    kept.forget()
    assert reading.decisions(kept.db, "", ("bulk",), 9) == [runs, waits]
    assert reading.decisions(kept.db, "", ("chunk",), 9) == [chunk]
    assert reading.decisions(kept.db, "", ("cancelled",), 9) == [last]
    kept.clock.now = NOW + 91 * DAY_SECONDS
    kept.forget()
    assert reading.decisions(kept.db, "", ("bulk", "chunk"), 9) == []


def test_a_start_looks_at_all_decisions_that_may_be_in_force() -> None:
    assert FARTHEST_LOOK > 2 * retention.MOST_DECISIONS


def test_what_was_open_when_it_was_passed_is_looked_at_again() -> None:
    kept = Kept(days=1)
    call, later = accepted(1), accepted(2, NOW + DAY_SECONDS)
    kept.write(call, later)
    kept.clock.now = NOW + 1.5 * DAY_SECONDS
    kept.forget()
    kept.write(succeeded(call, after=2))
    kept.clock.now += retention.ROUND_SECONDS
    assert kept.forget() == "2"


def test_what_may_have_ended_in_a_crash_is_kept_for_some_days_after_it() -> None:
    kept = Kept(days=7)
    late = DAY_SECONDS
    first, second, third = (accepted(number, NOW + number) for number in (1, 2, 3))
    kept.write(first, failed(second), failed(third, after=late))
    kept.write(decided("crashed", "here", after=0.5 * late))
    kept.clock.now = NOW + 7.4 * DAY_SECONDS
    assert kept.forget() == "123"
    kept.clock.now = NOW + 7.6 * DAY_SECONDS
    assert kept.forget() == "3"


def test_the_last_crash_is_never_forgotten() -> None:
    kept = Kept()
    for after in (1, 2, 3):
        kept.write(decided("crashed", "here", after=after))
    kept.clock.now = NOW + 100 * DAY_SECONDS
    kept.forget()
    (left,) = reading.decisions(kept.db, "", ("crashed",), 9)
    assert left.at == NOW + 3


def test_of_too_many_open_ones_those_that_have_ended_since_go_first() -> None:
    kept = Kept(max_calls=3)
    calls = [accepted(number, NOW + number) for number in range(6)]
    kept.write(*calls[:4])
    assert kept.forget() == "123"
    kept.write(succeeded(calls[2]))
    kept.clock.now += retention.OPEN_GO_SECONDS
    kept.write(calls[4])
    assert kept.forget() == "134"
