"""What ends together is done with one by one."""

import pytest

from mspc.delivery.pacing import AT_ONCE, EACH_SECONDS, Pacing
from tests.support.clock import Clock


class Times:
    """A clock, and how long was waited for each."""

    def __init__(self) -> None:
        self.clock = Clock(100.0)
        self.slept: list[float] = []
        self.pacing = Pacing(self.clock, self.slept.append)


def test_a_few_at_once_do_not_wait() -> None:
    times = Times()
    for _ in range(AT_ONCE):
        times.pacing.wait()
    assert times.slept == []


def test_many_at_once_have_their_turns_one_by_one() -> None:
    times = Times()
    for _ in range(AT_ONCE + 101):
        times.pacing.wait()
    pauses = [
        later - earlier
        for earlier, later in zip(times.slept, times.slept[1:], strict=False)
    ]
    assert len(pauses) >= 98
    assert pauses == pytest.approx([EACH_SECONDS] * len(pauses))
    assert max(times.slept) < 101 * EACH_SECONDS


def test_nobody_waits_for_those_that_are_done() -> None:
    times = Times()
    for _ in range(100):
        times.pacing.wait()
    times.slept.clear()
    times.clock.now += 1
    for _ in range(50):
        times.pacing.wait()
        times.clock.now += EACH_SECONDS
    assert times.slept == []
