"""How fast the calls of a lane may go, with a clock that the tests set."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspc.lanes.bucket import Limit


def taken(limit: Limit, now: float) -> int:
    """How many can be taken at once, when none of them is in flight for long."""
    count = 0
    while limit.admits(now, 0):
        limit.taken(now)
        count += 1
    return count


def test_a_burst_of_as_many_as_the_rate_then_one_by_one() -> None:
    limit = Limit(5, 10.0, None)
    came = {at: count for at in range(1000, 1010) if (count := taken(limit, at))}
    assert came == {1000: 5, 1002: 1, 1004: 1, 1006: 1, 1008: 1}


def test_what_was_not_used_is_saved_up_to_the_rate() -> None:
    limit = Limit(5, 10.0, None)
    assert taken(limit, 0.0) == 5
    assert taken(limit, 4.0) == 2
    assert taken(limit, 1_000.0) == 5


def test_a_slow_one() -> None:
    limit = Limit(1, 3600.0, None)
    assert taken(limit, 0.0) == 1
    assert limit.next_at == pytest.approx(3600.0)
    assert taken(limit, 3599.9) == 0
    assert taken(limit, 3600.0) == 1


@pytest.mark.parametrize(
    ("rate", "period"), [(3, 1.0), (7, 0.1), (1, 1 / 3), (1000, 60.0), (13, 86_400.0)]
)
def test_a_token_is_there_exactly_when_it_is_said_to_be(
    rate: int, period: float
) -> None:
    """Whoever wakes up then must not wait for nothing."""
    limit, now = Limit(rate, period, None), 12_345.678
    taken(limit, now)
    for _ in range(1000):
        assert limit.next_at > now
        assert not limit.admits(math.nextafter(limit.next_at, 0), 0)
        now = limit.next_at
        assert limit.now(now, 0) == 1
        assert taken(limit, now) == 1


@given(
    st.integers(1, 20),
    st.floats(0.1, 100.0),
    st.lists(st.floats(0.0, 30.0), max_size=60),
)
def test_no_period_has_more_than_twice_the_rate(
    rate: int, period: float, pauses: list[float]
) -> None:
    limit, now, times = Limit(rate, period, None), 0.0, []
    for pause in pauses:
        now += pause
        times += taken(limit, now) * [now]
    for begin in times:
        inside = [at for at in times if begin <= at < begin + 0.999 * period]
        assert len(inside) <= 2 * rate


def test_so_many_at_once() -> None:
    limit = Limit(None, 1.0, 3)
    assert limit.admits(0.0, 2)
    assert not limit.admits(0.0, 3)
    limit.taken(0.0)
    assert limit.admits(0.0, 0)
    assert limit.next_at == -math.inf


def test_both() -> None:
    limit = Limit(1, 1.0, 2)
    assert not limit.admits(0.0, 2)
    limit.taken(0.0)
    assert not limit.admits(0.0, 1)
    assert limit.admits(1.0, 1)


def test_how_many_may_be_ready() -> None:
    assert Limit(None, 1.0, None).now(0.0, 9) == math.inf
    limit = Limit(10, 2.0, 8)
    assert (limit.now(0.0, 0), limit.soon(0.0, 0)) == (8, 15)
    taken(limit, 0.0)
    # Five tokens come in a second.
    assert (limit.now(0.0, 0), limit.soon(0.0, 0)) == (0, 5)
    assert (limit.now(0.2, 0), limit.soon(0.2, 0)) == (1, 6)
    assert (limit.now(0.2, 8), limit.soon(0.2, 14)) == (0, 2)
    assert limit.soon(0.2, 99) == 0
    slow = Limit(1, 3600.0, None)
    assert (slow.now(0.0, 0), slow.soon(0.0, 0)) == (1, 1)
    taken(slow, 0.0)
    assert slow.soon(3598.0, 0) == 0
    assert slow.soon(3599.5, 0) == 1


class TestAnotherLimit:
    def test_does_not_fill_the_bucket(self) -> None:
        before = Limit(5, 10.0, None)
        taken(before, 0.0)
        same = Limit(5, 10.0, None)
        same.follows(before, 2.0)
        assert taken(same, 2.0) == 1

    def test_of_a_higher_rate_has_what_is_new(self) -> None:
        before = Limit(1, 3600.0, None)
        taken(before, 0.0)
        higher = Limit(10, 1.0, None)
        higher.follows(before, 0.0)
        assert taken(higher, 0.0) == 9

    def test_of_a_lower_rate_waits_for_one_token(self) -> None:
        before = Limit(1000, 1.0, None)
        taken(before, 0.0)
        lower = Limit(1, 60.0, None)
        lower.follows(before, 0.0)
        assert lower.next_at == pytest.approx(60.0)

    def test_after_none_is_full(self) -> None:
        limit = Limit(5, 10.0, None)
        limit.follows(Limit(None, 1.0, 3), 0.0)
        assert taken(limit, 0.0) == 5
