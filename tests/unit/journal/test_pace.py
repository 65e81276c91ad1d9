"""How often a destination was attempted lately: minutes that come in any order."""

from mspc.journal.base import Pace
from mspc.journal.pace import Paces

MINUTE = 30_000_000
NOW = MINUTE * 60.0
A = "http://a.example:80"


def paces(*minutes: int) -> Paces:
    """Three attempts in each of them, from now; one has succeeded."""
    found = Paces()
    for minute in minutes:
        found.add(A, MINUTE + minute, 3, 1)
    return found


def test_what_was_never_attempted() -> None:
    assert Paces().of(A, NOW) == Pace()
    assert A not in Paces()


def test_minutes_count_for_as_long_as_they_are_recent() -> None:
    found = paces(-59, -5, -4, 0)
    assert found.of(A, NOW) == Pace(6, 2, 12, 4)
    assert found.of(A, NOW + 60) == Pace(3, 1, 9, 3)
    assert found.of(A, NOW + 60 * 59) == Pace(0, 0, 3, 1)
    assert found.of(A, NOW + 60 * 60) == Pace()


def test_minutes_that_come_late_are_counted_where_they_belong() -> None:
    assert paces(0, -4, -30).of(A, NOW) == Pace(6, 2, 9, 3)


def test_what_is_older_than_an_hour_is_not_counted() -> None:
    assert paces(0, -60, -600).of(A, NOW) == Pace(3, 1, 3, 1)


def test_a_minute_takes_the_place_of_the_one_an_hour_before() -> None:
    assert paces(-60, 0).of(A, NOW) == Pace(3, 1, 3, 1)
    assert paces(-600, -3).of(A, NOW) == Pace(3, 1, 3, 1)


def test_another_clock_may_be_ahead() -> None:
    found = paces(0, 2)
    assert found.of(A, NOW) == Pace(3, 1, 3, 1)
    assert found.of(A, NOW + 120) == Pace(6, 2, 6, 2)


def test_those_attempted_within_the_hour_are_listed_the_last_first() -> None:
    found = paces(-50)
    found.add("b", MINUTE, 1, 0)
    found.add("old", MINUTE - 61, 1, 0)
    assert found.lately(NOW) == ["b", A]
    found.add(A, MINUTE, 1, 0)
    assert found.lately(NOW) == [A, "b"]
