"""Counters that are changed batch by batch say what the file would."""

import pytest

from mspc.journal import counters as module
from mspc.journal import pace, reading
from mspc.journal.base import Group, Pace, Tally
from mspc.journal.counters import Counters
from mspc.journal.events import Event
from mspc.journal.writing import Writer
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

OTHER = "http://b.example:80"


class Counted:
    """Counters that follow a file."""

    def __init__(self) -> None:
        self.db = in_memory()
        self.writer = Writer(self.db)
        self.counters = Counters()

    def write(self, *events: Event) -> None:
        self.counters.apply(self.writer.write(events))

    def renew(self) -> None:
        """As a question for the causes of death does."""
        for ends in reading.ends_of_dead(self.db, self.counters.stale(9)):
            self.counters.renew(*ends)

    def again(self) -> Counters:
        """What a start would count."""
        return Counters(
            Writer(self.db).states,
            reading.count_destinations(self.db),
            reading.count_groups(self.db),
        )


def of_all(counters: Counters, now: float = NOW + 120) -> dict[str, Tally]:
    return counters.destinations({}, counters.names(now), now)


def comparable(counters: Counters) -> tuple[object, ...]:
    states = {name: one.states for name, one in of_all(counters).items()}
    groups = sorted(counters.groups(), key=repr)
    return counters.tally(None).states, states, groups


def test_they_are_the_same_after_a_start() -> None:
    counted = Counted()
    calls = [accepted(n, NOW + n, (DESTINATION, OTHER)[n % 2]) for n in range(12)]
    counted.write(*calls)
    counted.write(*(failed(call) for call in calls[:9]), succeeded(calls[9]))
    counted.write(*(died(call, 2, 90) for call in calls[:6]))
    counted.write(decided("cancelled", calls[7].id, calls[11].id))
    counted.write(decided("retried", calls[2].id, after=200))
    assert comparable(counted.counters) == comparable(counted.again())
    states = counted.counters.tally(None).states
    assert states.pop("queued") == 2
    assert states == {"waiting": 2, "succeeded": 1, "dead": 5, "cancelled": 2}


def test_a_call_that_is_done_in_one_batch_is_counted_once() -> None:
    counted = Counted()
    call = accepted()
    counted.write(call, succeeded(call))
    assert counted.counters.tally(None).states == {"succeeded": 1}
    tally = of_all(counted.counters)[DESTINATION]
    assert (tally.states, tally.pace) == ({}, Pace(1, 1, 1, 1))


def test_what_comes_twice_is_counted_once() -> None:
    counted = Counted()
    call = accepted()
    events = call, failed(call), died(call, 2, 90)
    counted.write(*events)
    counted.write(*events)
    (group,) = counted.counters.groups()
    assert group.count == 1
    rates = counted.counters.rates(NOW + 100)
    assert (sum(rates.accepted), sum(rates.attempts), sum(rates.succeeded)) == (1, 2, 0)
    assert sum(rates.died) == 1


def test_one_that_is_made_again_and_dies_of_the_same_has_died_twice() -> None:
    """Also when that it was made again is heard of later, or in the same batch."""
    counted = Counted()
    call = accepted()
    counted.write(call, died(call, 1, 90))
    counted.write(died(call, 1, 190))
    (group,) = counted.counters.groups()
    assert (group.count, group.last_at) == (1, died(call, 1, 190).at + 0.25)
    assert sum(counted.counters.rates(NOW + 200).died) == 2
    assert counted.counters.tally(None).states == {"dead": 1}


def test_rates_are_minutes_and_the_oldest_comes_first() -> None:
    counted = Counted()
    for number, minute in enumerate((0, 1, 1, 59, 60)):
        call = accepted(number, NOW + minute * 60)
        counted.write(call, succeeded(call))
    rates = counted.counters.rates(NOW + 60 * 60)
    assert len(rates.accepted) == 60
    assert (rates.accepted[0], rates.attempts[-2:], rates.succeeded[1]) == (
        2,
        (1, 1),
        0,
    )


def test_dead_letters_are_grouped_by_their_cause() -> None:
    counted = Counted()
    calls = [accepted(number, NOW + number) for number in range(5)]
    counted.write(*(died(call, status=404) for call in calls[:3]))
    counted.write(*(died(call, status=500) for call in calls[3:]))
    first, second = counted.counters.groups()
    assert first == Group(
        *("permanent", 404, "bad_status", DESTINATION, 3),
        *(NOW + 1.25, NOW + 3.25, calls[2].id, "none"),
    )
    assert (second.status, second.count) == (500, 2)


def test_the_latest_of_a_group_is_looked_for_when_it_is_gone() -> None:
    counted = Counted()
    calls = [accepted(number, NOW + number) for number in range(3)]
    counted.write(*map(died, calls))
    counted.write(decided("deleted", calls[2].id))
    stale = counted.counters.stale(9)
    assert len(stale) == 1
    counted.renew()
    (group,) = counted.counters.groups()
    assert (group.count, group.latest_id) == (2, calls[1].id)
    assert not counted.counters.stale(9)


def test_the_first_of_a_group_is_looked_for_when_it_is_gone() -> None:
    counted = Counted()
    calls = [accepted(number, NOW + number) for number in range(3)]
    counted.write(*map(died, calls))
    counted.write(decided("deleted", calls[0].id))
    counted.write(died(accepted(3, NOW + 3)))
    counted.renew()
    (group,) = counted.counters.groups()
    assert (group.count, group.first_at) == (3, NOW + 2.25)
    assert not counted.counters.stale(9)


def test_the_latest_is_who_died_last_not_who_came_last() -> None:
    """Also when others are gone, and after a start."""
    counted = Counted()
    calls = [accepted(number, NOW + number) for number in range(3)]
    counted.write(*map(died, calls), died(calls[0], 2, 50), died(calls[2], 2, 90))
    counted.write(decided("deleted", calls[2].id, after=100))
    counted.renew()
    expected = NOW + 2.25, NOW + 50.25, calls[0].id
    for counters in (counted.counters, counted.again()):
        (group,) = counters.groups()
        assert (group.first_at, group.last_at, group.latest_id) == expected


def test_causes_that_were_told_are_told_again_until_they_are_others() -> None:
    counted = Counted()
    counted.write(died(accepted(1, NOW)))
    told = counted.counters.groups()
    assert counted.counters.groups() is told
    counted.write(accepted(2, NOW))
    assert counted.counters.groups() is told
    counted.write(died(accepted(3, NOW)))
    (group,) = counted.counters.groups()
    assert group.count == 2


def test_the_last_attempt_of_a_destination_is_kept_without_its_secrets() -> None:
    counted = Counted()
    first, second = accepted(1), accepted(2)
    counted.write(first, second)
    counted.write(failed(second, after=3), failed(first, after=2))
    due = {DESTINATION: NOW}
    tally = counted.counters.destinations(due, [DESTINATION], NOW)[DESTINATION]
    assert tally.last is not None
    assert (tally.last.call.id, tally.last.call.headers) == (second.id, ())
    assert tally.oldest_due == NOW
    assert counted.counters.tally(None).last == tally.last


def test_a_destination_without_calls_is_listed_for_an_hour() -> None:
    counted = Counted()
    call = accepted()
    counted.write(call)
    assert counted.counters.names(NOW) == [DESTINATION]
    counted.write(succeeded(call))
    assert counted.counters.names(NOW + 3500) == [DESTINATION]
    last = of_all(counted.counters)[DESTINATION].last
    assert last is not None
    assert last.call.id == call.id
    assert counted.counters.names(NOW + 3700) == []


def test_a_destination_is_let_go_when_others_were_attempted_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "MOST_NAMES", 2)
    counted = Counted()
    places = [f"http://h{number}.example:80" for number in range(4)]
    calls = [accepted(number, NOW, place) for number, place in enumerate(places)]
    counted.write(*calls[:3], failed(calls[0]))
    for call in calls[1:]:
        counted.write(succeeded(call))
    found = of_all(counted.counters)
    assert list(found) == [places[0], places[3], places[2]]
    assert found[places[0]].pace == Pace()
    assert found[places[0]].last is not None  # it has an open call
    assert counted.counters.destinations({}, [places[1]], NOW) == {}


def test_how_often_destinations_are_attempted() -> None:
    counted = Counted()
    calls = [accepted(n, NOW, (DESTINATION, OTHER)[n % 2]) for n in range(12)]
    counted.write(*calls, *(failed(call) for call in calls))
    counted.write(*(succeeded(call, 2, 600) for call in calls[:8]))
    found = of_all(counted.counters, NOW + 630)
    assert found[DESTINATION].pace == Pace(4, 4, 10, 4)
    assert found[OTHER].pace == Pace(4, 4, 10, 4)
    assert sum(counted.counters.rates(NOW + 630).attempts) == 20


def test_a_day_is_counted_by_the_hour() -> None:
    counted = Counted()
    for hour in (0, 1, 5, 23, 25):  # the last one by a clock that is ahead
        call = accepted(hour, NOW + 3600 * hour)
        counted.write(call, succeeded(call))
    hours = counted.counters.hours(NOW + 3600 * 24)
    assert [at for at, count in enumerate(hours.attempts) if count] == [0, 4, 22]
    assert hours.accepted == hours.attempts == hours.succeeded
    assert sum(counted.counters.hours(NOW + 3600 * 26).attempts) == 3


def test_beyond_a_number_they_are_counted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_NAMES", 2)
    counted = Counted()
    for number in range(5):
        counted.write(died(accepted(number, NOW, f"http://h{number}.example:80")))
    tallies = of_all(counted.counters)
    assert tallies[module.OTHERS].states == {"dead": 3}
    groups = {group.destination: group.count for group in counted.counters.groups()}
    assert groups.pop(module.OTHERS) == 3
    assert groups == {"http://h0.example:80": 1, "http://h1.example:80": 1}


def test_the_busiest_destinations_are_found() -> None:
    counted = Counted()
    for number, calls in enumerate((1, 3, 2)):
        place = f"http://h{number}.example:80"
        counted.write(*(accepted(10 * number + n, NOW, place) for n in range(calls)))
    counters = counted.counters
    assert counters.names(NOW, 1) == ["http://h1.example:80"]
    names = counters.names(NOW, 1, ["http://h0.example:80", "http://no.example:80"])
    assert names == ["http://h1.example:80", "http://h0.example:80"]
    assert list(counters.destinations({}, names, NOW)) == names
    assert len(counters.names(NOW)) == 3
    call = accepted(99, NOW, "http://quick.example:80")
    counted.write(call, succeeded(call))
    busy = ["http://h1.example:80", "http://h2.example:80", "http://h0.example:80"]
    assert counters.names(NOW, 3) == busy
    assert counters.names(NOW, 4) == [*busy, "http://quick.example:80"]
