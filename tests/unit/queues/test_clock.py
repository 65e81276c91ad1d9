"""Calls that wait: one alarm, and a window of what is due next."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import gevent
import pytest

from mspc.queues.clock import Alarm, WaitingWindow


@dataclass(eq=False)
class FakeTimer:
    due: float
    run: Callable[[], None]
    killed: bool = False

    def kill(self, block: bool = True) -> None:
        assert not block, "setting an alarm must not wait"
        self.killed = True


@dataclass
class FakeTime:
    """A clock and its timers, moved by the test."""

    now: float = 1_000.0
    timers: list[FakeTimer] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def spawn_later(
        self, delay: float, run: Callable[[], None]
    ) -> "gevent.Greenlet[..., Any]":
        assert delay >= 0
        timer = FakeTimer(self.now + delay, run)
        self.timers.append(timer)
        return cast("gevent.Greenlet[..., Any]", timer)

    @property
    def pending(self) -> list[FakeTimer]:
        return [timer for timer in self.timers if not timer.killed]

    def advance(self, seconds: float) -> None:
        """Moves the clock; timers that are due run at their time."""
        end = self.now + seconds
        while due := [timer for timer in self.pending if timer.due <= end]:
            timer = min(due, key=lambda one: one.due)
            self.now = max(self.now, timer.due)
            self.fire(timer)
        self.now = end

    def fire(self, timer: FakeTimer) -> None:
        self.timers.remove(timer)
        timer.run()


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def rung(time: FakeTime) -> list[float]:
    """When the alarm rang."""
    return []


@pytest.fixture
def alarm(time: FakeTime, rung: list[float]) -> Alarm:
    return Alarm(lambda: rung.append(time.now), time.clock, time.spawn_later)


class TestAlarm:
    def test_rings_at_its_time(
        self, alarm: Alarm, time: FakeTime, rung: list[float]
    ) -> None:
        alarm.set(1_005.0)
        time.advance(4.999)
        assert rung == []
        time.advance(0.001)
        assert rung == [1_005.0]

    @pytest.mark.parametrize("dues", [(1_005, 1_002, 1_009), (1_002, 1_005, 1_009)])
    def test_the_earliest_time_wins(
        self, alarm: Alarm, time: FakeTime, rung: list[float], dues: tuple[int, ...]
    ) -> None:
        for due in dues:
            alarm.set(due)
        time.advance(60)
        assert rung == [1_002.0]

    def test_a_ring_that_fails_is_tried_again(
        self, time: FakeTime, rung: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail_once() -> None:
            rung.append(time.now)
            if len(rung) == 1:
                raise RuntimeError("a bug")

        alarm = Alarm(fail_once, time.clock, time.spawn_later)
        alarm.set(1_005.0)
        time.advance(60)
        assert rung == [1_005.0, 1_006.0]
        assert "a bug" in caplog.text

    def test_has_one_timer_however_often_it_is_set(
        self, alarm: Alarm, time: FakeTime
    ) -> None:
        for due in (1_005, 1_002, 1_009, 1_001):
            alarm.set(due)
        assert [timer.due for timer in time.pending] == [1_001]

    def test_rings_once(self, alarm: Alarm, time: FakeTime, rung: list[float]) -> None:
        alarm.set(1_005.0)
        alarm.set(1_005.0)
        time.advance(3_600)
        assert rung == [1_005.0]

    def test_a_time_that_has_passed_rings_at_once(
        self, alarm: Alarm, time: FakeTime, rung: list[float]
    ) -> None:
        alarm.set(900.0)
        time.advance(0)
        assert rung == [1_000.0]

    def test_can_be_set_again_after_it_rang(
        self, alarm: Alarm, time: FakeTime, rung: list[float]
    ) -> None:
        alarm.set(1_005.0)
        time.advance(10)
        alarm.set(1_020.0)
        time.advance(10)
        assert rung == [1_005.0, 1_020.0]

    def test_can_be_set_while_it_rings(self, time: FakeTime) -> None:
        rung: list[float] = []

        def ring() -> None:
            rung.append(time.now)
            if len(rung) < 3:
                ringing.set(time.now + 2)

        ringing = Alarm(ring, time.clock, time.spawn_later)
        ringing.set(1_005.0)
        time.advance(60)
        assert rung == [1_005.0, 1_007.0, 1_009.0]

    def test_does_not_ring_after_cancel(
        self, alarm: Alarm, time: FakeTime, rung: list[float]
    ) -> None:
        alarm.set(1_005.0)
        alarm.cancel()
        time.advance(60)
        assert rung == []

    def test_cancel_forgets_the_earliest_time(
        self, alarm: Alarm, time: FakeTime, rung: list[float]
    ) -> None:
        alarm.set(1_005.0)
        alarm.cancel()
        alarm.set(1_010.0)
        time.advance(60)
        assert rung == [1_010.0]

    def test_can_be_cancelled_without_being_set(self, alarm: Alarm) -> None:
        alarm.cancel()
        alarm.cancel()

    def test_rings_on_the_real_hub(self) -> None:
        rung = gevent.event.Event()
        alarm = Alarm(rung.set, gevent.get_hub().loop.now)
        alarm.set(gevent.get_hub().loop.now() + 0.01)
        assert rung.wait(5)


@pytest.fixture
def handed() -> list[tuple[str, float]]:
    """What the window has handed over, and when."""
    return []


@pytest.fixture
def window(time: FakeTime, handed: list[tuple[str, float]]) -> WaitingWindow[str]:
    return WaitingWindow(
        lambda item: handed.append((item, time.now)), time.clock, time.spawn_later
    )


class TestWaitingWindow:
    def test_hands_over_in_due_order(
        self,
        window: WaitingWindow[str],
        time: FakeTime,
        handed: list[tuple[str, float]],
    ) -> None:
        for item, due in (("c", 1_009.0), ("a", 1_002.0), ("b", 1_005.0)):
            window.hold(item, due)
        time.advance(60)
        assert handed == [("a", 1_002.0), ("b", 1_005.0), ("c", 1_009.0)]

    def test_what_is_due_together_keeps_its_order(
        self, time: FakeTime, handed: list[tuple[str, float]]
    ) -> None:
        # Objects, because deliveries cannot be compared with each other.
        items = [object() for _ in range(20)]
        handed_over: list[object] = []
        window = WaitingWindow[object](handed_over.append, time.clock, time.spawn_later)
        for item in items:
            window.hold(item, 1_005.0)
        time.advance(5)
        assert handed_over == items

    def test_is_not_early_when_its_timer_is(
        self,
        window: WaitingWindow[str],
        time: FakeTime,
        handed: list[tuple[str, float]],
    ) -> None:
        window.hold("a", 1_005.0)
        time.advance(4.9)
        (timer,) = time.pending
        time.fire(timer)
        assert handed == []
        time.advance(1)
        assert handed == [("a", 1_005.0)]

    def test_a_late_timer_hands_over_all_that_is_due(
        self,
        window: WaitingWindow[str],
        time: FakeTime,
        handed: list[tuple[str, float]],
    ) -> None:
        for item, due in (("a", 1_001.0), ("b", 1_002.0), ("c", 1_050.0)):
            window.hold(item, due)
        time.now = 1_010.0
        (timer,) = time.pending
        time.fire(timer)
        assert handed == [("a", 1_010.0), ("b", 1_010.0)]
        time.advance(60)
        assert handed[2:] == [("c", 1_050.0)]

    def test_holds_another_item_while_it_hands_one_over(self, time: FakeTime) -> None:
        handed: list[tuple[str, float]] = []

        def hand_over(item: str) -> None:
            handed.append((item, time.now))
            if item == "first":
                filled.hold("second", time.now + 3)

        filled = WaitingWindow(hand_over, time.clock, time.spawn_later)
        filled.hold("first", 1_005.0)
        filled.hold("third", 1_020.0)
        time.advance(60)
        assert handed == [("first", 1_005.0), ("second", 1_008.0), ("third", 1_020.0)]

    def test_counts_what_waits(
        self, window: WaitingWindow[str], time: FakeTime
    ) -> None:
        window.hold("a", 1_002.0)
        window.hold("b", 1_005.0)
        assert len(window) == 2
        time.advance(3)
        assert len(window) == 1

    def test_needs_one_timer_for_all(
        self, window: WaitingWindow[str], time: FakeTime
    ) -> None:
        for number in range(100):
            window.hold(str(number), 1_200.0 - number)
        assert [timer.due for timer in time.pending] == [1_101.0]

    def test_clear_forgets_what_waits(
        self,
        window: WaitingWindow[str],
        time: FakeTime,
        handed: list[tuple[str, float]],
    ) -> None:
        window.hold("a", 1_002.0)
        window.clear()
        time.advance(60)
        assert handed == []
        assert len(window) == 0
        assert time.pending == []

    def test_can_be_filled_again_after_clear(
        self,
        window: WaitingWindow[str],
        time: FakeTime,
        handed: list[tuple[str, float]],
    ) -> None:
        window.hold("forgotten", 1_002.0)
        window.clear()
        window.hold("kept", 1_005.0)
        time.advance(60)
        assert handed == [("kept", 1_005.0)]
