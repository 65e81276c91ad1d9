"""Lanes that somebody has paused or limited, with clocks that the tests set."""

from collections import Counter

import pytest

from mspc.lanes import known
from mspc.lanes import lanes as lanes_module
from mspc.lanes.lane import Lane
from mspc.lanes.lanes import Lanes
from mspc.lanes.state import State
from tests.unit.lanes.test_lanes import Many, Ready, Waiting

A, B = "http://a.test:80", "http://b.test:80"
HOUR = 3600.0


def take_for(many: Many, seconds: int) -> list[int]:
    """Second by second, how many calls come; each is answered at once."""
    counts = []
    for _ in range(seconds):
        count = 0
        while (item := many.take()) is not None:
            many.end(item, reachable=True)
            count += 1
        counts.append(count)
        many.clock.now += 1
    return counts


class TestRate:
    def test_calls_go_at_it(self) -> None:
        many = Many(size=100)
        many.lanes.limit(A, 4, 8.0, None)
        many.offer(A, 20)
        assert take_for(many, 10) == [4, 0, 1, 0, 1, 0, 1, 0, 1, 0]

    def test_others_go_on(self) -> None:
        many = Many(size=20)
        many.lanes.limit(A, 1, HOUR, None)
        many.offer(A, 1000)
        many.offer(B, 5)
        assert many.take_all() == {A: 1, B: 5}

    def test_is_for_those_that_are_ready_too(self) -> None:
        many = Many(size=100)
        many.offer(A, 20)
        many.lanes.limit(A, 1, HOUR, None)
        assert many.take_all() == {A: 1}

    def test_whoever_waits_is_woken_by_the_next_token(self) -> None:
        many = Many(size=100)
        many.lanes.limit(A, 1, 5.0, None)
        many.offer(A, 2)
        many.take_all()
        assert many.lanes.take() is None
        many.lanes.changed = waiting = Waiting()
        many.lanes.wait()
        assert waiting.seconds == [pytest.approx(5.0)]
        many.clock.now += 5.0
        many.lanes.wait()
        assert len(waiting.seconds) == 1, "the time has come"
        assert many.take_all() == {A: 1}

    def test_goes_when_it_is_taken_back(self) -> None:
        many = Many(size=100)
        many.lanes.limit(A, 1, HOUR, None)
        many.offer(A, 20)
        many.take_all()
        many.lanes.unlimit(A)
        assert many.take_all() == {A: 19}
        many.lanes.unlimit(B)  # of which nobody knows anything

    def test_another_one_counts_from_then_on(self) -> None:
        many = Many(size=100)
        many.lanes.limit(A, 1, HOUR, None)
        many.offer(A, 20)
        many.take_all()
        many.lanes.limit(A, 10, 1.0, None)
        assert many.take_all() == {A: 9}

    def test_a_probe_takes_a_token_like_any_call(self) -> None:
        many = Many(size=100)
        many.lanes.limit(A, 1, HOUR, None)
        many.offer(A, 20)
        many.take_all()
        many.end_all(A, reachable=True)
        many.shut(A)
        many.clock.now += 60
        assert many.take_all() == {}
        many.clock.now += HOUR
        assert many.take_all() == {A: 1}

    def test_a_lane_that_answers_again_goes_at_it(self) -> None:
        many = Many(size=100)
        many.lanes.limit(A, 2, HOUR, None)
        many.shut(A)
        many.offer(A, 20)
        many.clock.now += 1
        (probe,) = [many.take()]
        assert probe is not None
        many.end(probe, reachable=True)
        many.clock.now += 10  # the ramp is over
        assert many.take_all() == {A: 1}


class TestParallelism:
    def test_no_more_are_in_flight(self) -> None:
        many = Many(size=100)
        many.lanes.limit(A, None, 1.0, 3)
        many.offer(A, 20)
        many.offer(B, 5)
        assert many.take_all() == {A: 3, B: 5}
        many.end_all(B, reachable=True)
        assert many.take_all() == {}
        many.end(next(one for one in many.out), reachable=True)
        assert many.take_all() == {A: 1}

    def test_with_a_rate_both_count(self) -> None:
        many = Many(size=100)
        many.lanes.limit(A, 2, HOUR, 1)
        many.offer(A, 20)
        for _ in range(2):
            assert many.take_all() == {A: 1}
            many.end_all(A, reachable=True)
        assert many.take_all() == {}
        many.clock.now += HOUR
        assert many.take_all() == {A: 1}
        assert many.take_all() == {}

    def test_lowered_below_what_is_in_flight_lets_these_end(self) -> None:
        many = Many(size=100)
        many.offer(A, 20)
        many.take_all()
        out = len(many.out)
        many.offer(A, 20)
        many.lanes.limit(A, None, 1.0, 2)
        for _ in range(out - 2):
            many.end(many.out[0], reachable=True)
            assert many.take_all() == {}
        many.end(many.out[0], reachable=True)
        assert many.take_all() == {A: 1}


class Store:
    """A queue with any number of calls that are not in memory.

    Attributes:
        most: how many of a lane were ready at most.
    """

    def __init__(self, lanes: Lanes) -> None:
        self.most: Counter[str] = Counter()
        self._lanes = lanes
        lanes.keeper = self

    def put(self, lane: Lane, count: int) -> None:
        lane.aside += count
        self.hungry(lane)

    def hungry(self, lane: Lane) -> None:
        for _ in range(min(self._lanes.wants(lane), lane.aside)):
            lane.aside -= 1
            self._lanes.offer(Ready(lane))
        self.most[lane.key] = max(self.most[lane.key], len(lane.ready))

    def shut(self, lane: Lane) -> None:
        lane.aside += len(lane.ready)
        lane.ready.clear()


class TestManyCalls:
    """More than may be in memory."""

    @pytest.mark.parametrize("first", ["the limit", "the calls"])
    @pytest.mark.parametrize(("rate", "ready"), [(1, 1), (10, 20), (1000, 200)])
    def test_are_made_at_the_rate_and_few_of_them_are_ready(
        self, first: str, rate: int, ready: int
    ) -> None:
        many = Many(size=1000)
        store, lane = Store(many.lanes), many.lanes.of(A)
        many.prove(A)
        if first == "the calls":
            store.put(lane, 100_000)
        many.lanes.limit(A, rate, 1.0, None)
        if first == "the limit":
            store.put(lane, 100_000)
        store.most.clear()
        assert take_for(many, 20) == [rate] * 20
        assert store.most[A] <= ready <= lanes_module.MOST_READY
        assert lane.waiting == 100_000 - 20 * rate

    @pytest.mark.parametrize("before", [None, 1, 60])
    def test_come_though_none_is_ready_until_there_is_a_token(
        self, before: int | None
    ) -> None:
        """`before`: another limit, whose token would have come earlier, or later."""
        many = Many(size=100)
        store = Store(many.lanes)
        if before is not None:
            many.lanes.limit(A, 1, before, None)
            store.put(many.lanes.of(A), 100)
            many.take_all()
            many.end_all(A, reachable=True)
            many.lanes.limit(A, 1, 10.0, None)
            assert take_for(many, 10) == [0] * 10
        else:
            many.lanes.limit(A, 1, 10.0, None)
            store.put(many.lanes.of(A), 100)
        assert take_for(many, 30) == [1, *9 * [0]] * 3

    def test_do_not_wait_for_the_end_of_those_in_flight(self) -> None:
        many = Many(size=100)
        store = Store(many.lanes)
        many.lanes.limit(A, 1, 10.0, None)
        store.put(many.lanes.of(A), 100)
        assert many.take_all() == {A: 1}
        many.clock.now += 10
        assert many.take_all() == {A: 1}

    def test_of_a_shut_lane_wait_for_token_and_probe(self) -> None:
        many = Many(size=100)
        store, lane = Store(many.lanes), many.lanes.of(A)
        many.lanes.limit(A, 1, HOUR, None)
        store.put(lane, 100)
        many.take_all()
        many.shut(A)
        many.clock.now += 60
        assert many.lanes.wants(lane) == 0
        many.clock.now = 1000.0 + HOUR
        probe = many.take()
        assert probe is not None
        many.lanes.judge(lane, reachable=False, seconds=0.01, alone=2 * HOUR)
        many.lanes.ended(probe)
        many.clock.now += HOUR
        assert many.take() is None, "there is a token"
        many.clock.now += HOUR
        assert many.take() is not None

    def test_of_a_shut_lane_come_when_it_wanted_to_be_left_alone_for_long(self) -> None:
        many = Many(size=100)
        store, lane = Store(many.lanes), many.lanes.of(A)
        many.shut(A)
        store.put(lane, 100)
        many.clock.now += 1
        probe = many.take()
        assert probe is not None
        many.lanes.judge(lane, reachable=False, seconds=0.01, alone=100.0)
        many.lanes.ended(probe)
        assert take_for(many, 100) == [0] * 100
        assert many.take() is not None

    def test_wait_and_others_do_not(self) -> None:
        many = Many(size=10)
        store = Store(many.lanes)
        many.lanes.limit(A, 1, HOUR, None)
        store.put(many.lanes.of(A), 100_000)
        store.put(many.lanes.of(B), 100)
        counts = take_for(many, 2)
        assert counts == [101, 0]
        assert many.lanes.of(A).waiting == 99_999
        assert not many.lanes.of(A).ready

    def test_of_a_thousand_lanes_cost_a_busy_one_nothing(self) -> None:
        """What ends elsewhere is no reason to look at them."""
        many = Many(size=10)
        for number in range(1000):
            key = f"http://{number}.test:80"
            many.lanes.limit(key, 1, HOUR, None)
            many.offer(key, 2)
        take_for(many, 3)
        looked_at: list[str] = []
        admits = many.lanes._slots.admits

        def counted(lane: Lane, now: float) -> bool:
            looked_at.append(lane.key)
            return admits(lane, now)

        many.lanes._slots.admits = counted  # type: ignore[method-assign]
        many.offer(B, 100)
        assert take_for(many, 1) == [100]
        assert set(looked_at) == {B}

    def test_that_would_have_to_wait_are_not_made_ready(self) -> None:
        many = Many(size=100)
        lane = many.lanes.of(A)
        many.lanes.limit(A, 2, HOUR, None)
        for ready in (True, True, False):
            assert many.lanes.prompt(lane) is ready
            many.offer(A)
        many.lanes.limit(B, None, 1.0, 1)
        assert many.lanes.prompt(many.lanes.of(B))
        many.offer(B)
        many.take_all()
        assert not many.lanes.prompt(many.lanes.of(B))


class TestPaused:
    def test_those_in_flight_end_and_nothing_ready_is_taken(self) -> None:
        many = Many(size=100)
        many.offer(A, 2)
        many.take_all()
        many.offer(A, 3)  # ready, and it has its turn
        many.lanes.pause(A)
        assert many.take_all() == {}
        many.end_all(A, reachable=True)
        many.offer(A)
        many.clock.now += HOUR
        assert many.take_all() == {}
        many.lanes.resume(A)
        assert many.take_all() == {A: 4}

    def test_a_limit_does_not_end_it(self) -> None:
        many = Many(size=100)
        many.lanes.pause(A)
        many.offer(A, 3)
        many.lanes.limit(A, 1, 1.0, None)
        many.clock.now += 10
        assert many.take_all() == {}
        many.lanes.unlimit(A)
        assert many.take_all() == {}
        many.lanes.resume(A)
        assert many.take_all() == {A: 3}

    def test_its_time_is_remembered(self) -> None:
        many = Many(size=100)
        many.lanes.pause(A)
        many.wall.now += 100
        many.lanes.resume(A)
        many.wall.now += 100
        lane = many.lanes.of(A)
        assert lane.paused_seconds(0.0, many.wall.now) == 100
        many.lanes.pause(A, at=many.wall.now - 50)  # as it was decided elsewhere
        assert lane.paused_seconds(0.0, many.wall.now) == 150
        many.lanes.resume(A, at=many.wall.now - 10)
        assert lane.paused_seconds(0.0, many.wall.now + 999) == 140
        assert many.lanes.of(B).paused_seconds(0.0, many.wall.now) == 0.0

    def test_one_that_nobody_paused_can_be_resumed(self) -> None:
        many = Many(size=100)
        many.lanes.resume(A)
        many.offer(B)
        many.lanes.resume(B)
        assert many.take_all() == {B: 1}


class TestForgetting:
    def test_what_somebody_has_decided_is_kept(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known, "REMEMBERED_LANES", 10)
        many = Many(size=10)
        many.lanes.limit(A, 1, HOUR, None)
        many.lanes.pause(B)
        many.lanes.resume(B)
        limited, paused = many.lanes.of(A), many.lanes.of(B)
        for number in range(100):
            many.lanes.of(str(number))
        assert many.lanes.of(A) is limited
        assert many.lanes.of(B) is paused
        many.lanes.unlimit(A)
        for number in range(100):
            many.lanes.of(str(number))
        assert many.lanes.of(A) is not limited

    def test_nobody_else_shares_what_was_decided(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known, "REMEMBERED_LANES", 10)
        monkeypatch.setattr(known, "SHARED_LANES", 1)
        many = Many(size=10)
        for number in range(10):
            many.lanes.of(str(number)).aside = 1
        many.lanes.pause(A)
        many.lanes.limit(B, 1, HOUR, None)
        other = many.lanes.of("another")
        assert not other.paused
        assert other.limit is None
        assert many.lanes.of(A).paused


class TestStanding:
    def test_of_one_that_nobody_knows(self) -> None:
        many = Many(size=10)
        assert many.lanes.standing(A) == State(A)
        assert many.lanes.glance() == {}

    def test_tells_all_that_holds_it_up(self) -> None:
        many = Many(size=100)
        many.lanes.limit(A, 5, 2.0, 3)
        many.lanes.pause(B)
        many.offer(A, 10)
        many.offer(B, 2)
        many.take_all()
        assert many.lanes.glance() == {A: "ok", B: "ok"}
        limited = State(A, False, "closed", 3, 7, None, 5, 2.0, 3)
        assert many.lanes.standing(A) == limited
        assert many.lanes.standing(B) == State(B, paused=True, waiting=2)

    def test_of_a_breaker(self) -> None:
        many = Many(size=100)
        many.offer(A, 3)
        many.shut(A)
        many.clock.now += 0.25
        assert many.lanes.glance() == {A: "held"}
        held = State(A, breaker="open", waiting=3, next_probe_in=0.75)
        assert many.lanes.standing(A) == held
        many.clock.now += 10
        assert many.lanes.standing(A).next_probe_in == 0.0
        (probe,) = [many.take()]
        assert probe is not None
        many.end(probe, reachable=True)
        assert many.lanes.standing(A) == State(A, breaker="half_open", waiting=2)
        many.clock.now += 60
        many.take_all()
        assert many.lanes.standing(A) == State(A, in_flight=2)

    def test_those_of_which_there_is_nothing_to_tell_are_left_out(self) -> None:
        many = Many(size=100)
        many.prove(A)
        many.offer(B)
        assert many.lanes.glance() == {}
