"""When a lane is shut, when it is asked again, and how it comes back."""

import pytest

from mspc.lanes.breaker import Breaker

LARGEST_POOL = 10_000  # what QUEUE_NUMBER_OF_CONSUMERS may be


def breaker(failures: int = 5, longest: float = 5.0, chance: float = 0.0) -> Breaker:
    return Breaker(failures, longest, lambda: chance)


def opened(at: float = 100.0, chance: float = 0.0) -> Breaker:
    one = breaker(chance=chance)
    told = [one.failed(at) for _ in range(5)]
    assert told == [False] * 4 + [True]
    return one


def test_it_opens_after_failures_in_a_row() -> None:
    one = opened()
    assert one.open
    assert not one.failed(100.5), "it is told once"


def test_a_sign_of_life_between_starts_the_row_anew() -> None:
    one = breaker()
    for _ in range(10):
        for _ in range(4):
            assert not one.failed(0.0)
        assert not one.succeeded(0.0)
    assert not one.open


def test_no_number_of_failures_opens_one_that_is_off() -> None:
    one = breaker(failures=0)
    assert not any(one.failed(float(now)) for now in range(1000))
    assert not one.open


def test_probes_come_at_growing_intervals() -> None:
    one = opened(at=100.0)
    now, pauses = 100.0, []
    for _ in range(6):
        pauses.append(one.next_probe - now)
        assert not one.may_probe(one.next_probe - 0.001)
        now = one.next_probe
        assert one.may_probe(now)
        one.probed(now)
        one.failed(now)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize("longest", [0.2, 1.0])
def test_a_short_delay_is_no_reason_to_ask_more_often_than_each_second(
    longest: float,
) -> None:
    one = breaker(longest=longest)
    for _ in range(5):
        one.failed(0.0)
    one.probed(one.next_probe)
    assert one.next_probe == 2.0


def test_the_next_probe_does_not_wait_for_one_that_hangs() -> None:
    one = opened(at=100.0)
    one.probed(101.0)
    assert one.may_probe(103.0)


def test_jitter_makes_probes_earlier_only() -> None:
    assert opened(at=100.0, chance=0.999).next_probe == pytest.approx(100.8, abs=0.01)


def test_after_it_calls_come_slowly_at_first() -> None:
    one = opened()
    assert one.succeeded(200.0)
    assert not one.open
    caps = [one.cap(200.0 + seconds) for seconds in (0, 0.9, 1, 1.9, 2, 3, 4, 8)]
    assert caps == [1, 1, 2, 2, 4, 8, 16, 256]
    assert one.next_step(201.5) == 202.0
    one.ramped()
    assert one.cap(200.0) == float("inf")
    assert one.next_step(200.0) == float("inf")
    assert one.untouched(200.0)


@pytest.mark.parametrize("later", [20.0, 1023.0, 1024.0, 1e7])
def test_the_ramp_ends_by_itself(later: float) -> None:
    """Most services get few calls: nobody may have asked while it lasted."""
    one = opened(at=100.0)
    one.probed(101.0)
    one.succeeded(102.0)
    now = 102.0 + later
    assert one.cap(now) == float("inf")
    assert one.next_step(now) == float("inf")
    assert one.word(now) == "closed"
    assert one.untouched(now)
    for _ in range(5):
        one.failed(now)
    assert one.next_probe == now + 1.0


def test_no_pool_is_larger_than_the_last_cap_of_the_ramp() -> None:
    one = opened()
    one.succeeded(200.0)
    largest = max(one.cap(200.0 + seconds / 10) for seconds in range(139))
    assert largest * 2 > LARGEST_POOL


def test_one_that_fails_again_at_once_keeps_its_interval() -> None:
    one = opened(at=100.0)
    for now in (101.0, 103.0):
        one.probed(now)
    one.succeeded(107.0)
    for _ in range(5):
        one.failed(108.0)
    assert one.open
    assert one.next_probe == 108.0 + 4.0


def test_one_that_has_been_well_for_a_while_begins_anew() -> None:
    one = opened(at=100.0)
    one.probed(101.0)
    one.succeeded(102.0)
    one.ramped()
    for _ in range(5):
        one.failed(500.0)
    assert one.next_probe == 501.0
