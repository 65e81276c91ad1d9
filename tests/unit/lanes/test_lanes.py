"""Whose turn it is, with a clock that the tests set."""

import itertools
from collections import Counter
from dataclasses import dataclass

import pytest
from gevent.event import Event

from mspc.lanes import known
from mspc.lanes import lanes as lanes_module
from mspc.lanes.lane import SUSPECT_SECONDS, Lane, Rank, Turn
from mspc.lanes.lanes import Lanes
from mspc.lanes.slots import Slots
from tests.support.clock import Clock

A, B, C = "http://a.test:80", "http://b.test:80", "http://c.test:80"


@dataclass(eq=False)
class Ready:
    lane: Lane


class Waiting(Event):
    """Nobody waits; for how many seconds somebody would have."""

    def __init__(self) -> None:
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:  # type: ignore[override]
        self.seconds.append(timeout)
        return True


class Many:
    """Lanes, and what is in flight of them."""

    def __init__(self, size: int, failures: int = 5) -> None:
        self.clock, self.wall = Clock(1000.0), Clock(1_000_000.0)
        self.lanes = Lanes(size, failures, 5.0, self.clock, lambda: 0.0, self.wall)
        self.out: list[Ready] = []

    def offer(self, key: str, count: int = 1) -> None:
        for _ in range(count):
            self.lanes.offer(Ready(self.lanes.of(key)))

    def take(self) -> Ready | None:
        item = self.lanes.take()
        assert item is None or isinstance(item, Ready)
        if item is not None:
            self.out.append(item)
        return item

    def take_all(self) -> Counter[str]:
        """Until nothing comes."""
        taken = iter(self.take, None)
        return Counter(item.lane.key for item in taken if item)

    def end(self, item: Ready, reachable: bool | None, seconds: float = 0.01) -> None:
        self.out.remove(item)
        self.lanes.judge(item.lane, reachable, seconds)
        self.lanes.ended(item)

    def end_all(self, key: str, reachable: bool) -> None:
        for item in [one for one in self.out if one.lane.key == key]:
            self.end(item, reachable)

    def prove(self, *keys: str) -> None:
        for key in keys:
            self.offer(key)
            item = self.take()
            assert item is not None
            self.end(item, reachable=True)

    def shut(self, key: str) -> None:
        for _ in range(5):
            self.lanes.judge(self.lanes.of(key), reachable=False, seconds=0.01)


def test_one_lane_alone_leaves_a_slot_for_each_it_has() -> None:
    many = Many(size=20)
    many.prove(A)
    many.offer(A, 100)
    assert many.take_all() == {A: 10}


def test_new_ones_that_hang_leave_room_when_nothing_else_tells() -> None:
    """Nobody looks at a lane of one call before its attempt ends."""
    many = Many(size=200)
    for number in range(150):
        many.offer(f"http://{number}.test:80")
    assert many.take_all().total() == 150
    many.offer(A)
    assert many.take() is None
    many.lanes.changed = waiting = Waiting()
    many.lanes.wait()
    assert waiting.seconds == [pytest.approx(SUSPECT_SECONDS, abs=0.1)]
    many.clock.now += SUSPECT_SECONDS + 0.1
    assert many.take_all() == {A: 1}


def test_new_ones_that_hang_never_have_all_of_the_pool() -> None:
    many = Many(size=200)
    many.prove(A)
    for number in range(1000):
        many.offer(f"http://{number}.test:80")
    for _ in range(20):
        many.take_all()
        many.clock.now += SUSPECT_SECONDS + 0.1
    assert len(many.out) == 175
    many.offer(A, 25)
    assert many.take_all()[A] >= 12


def test_two_have_a_third_each() -> None:
    many = Many(size=30)
    many.prove(A, B)
    for key in (A, B):
        many.offer(key, 100)
    taken = many.take_all()
    assert 19 <= taken[A] + taken[B] <= 21
    assert abs(taken[A] - taken[B]) <= 2


def test_what_ends_makes_room_for_its_own_and_for_others() -> None:
    many = Many(size=20)
    many.prove(A, B)
    many.offer(A, 100)
    many.take_all()
    many.offer(B, 100)
    assert many.take_all() == {B: 5}
    many.end_all(A, reachable=True)
    assert many.take_all()[A] > 0


def test_new_lanes_leave_a_quarter_to_those_that_have_answered() -> None:
    many = Many(size=40)
    many.prove(A)
    for number in range(200):
        many.offer(f"http://{number}.test:80")
    assert sum(many.take_all().values()) == 30
    many.offer(A, 5)
    assert many.take_all() == {A: 5}


def test_busy_lanes_that_begin_to_hang_together_leave_some_to_a_new_one() -> None:
    """They have most of the slots, each as much as was free when it answered."""
    many = Many(size=40)
    many.prove(A, B, C)
    many.clock.now += 1
    for key in (A, B, C):
        many.offer(key, 100)
    assert sum(many.take_all().values()) == 30
    many.clock.now += 60
    for key in (A, B, C):
        many.lanes.wants(many.lanes.of(key))
    many.offer("http://new.test:80")
    assert many.take_all() == {"http://new.test:80": 1}


def test_a_pool_of_one_makes_calls() -> None:
    many = Many(size=1)
    for key in (A, B, C):
        many.offer(key, 3)
    made = []
    while (item := many.take()) is not None:
        made.append(item.lane.key)
        many.end(item, reachable=True)
    assert Counter(made) == {A: 3, B: 3, C: 3}


def test_busy_lanes_that_have_answered_do_not_starve_a_new_one() -> None:
    many = Many(size=4)
    keys = [f"http://{number}.test:80" for number in range(10)]
    many.prove(*keys)
    for key in keys:
        many.offer(key, 100)
    many.offer(A)
    for number in itertools.count():
        assert number < 100, "the new one has not had its turn"
        if A in many.take_all():
            break
        many.end(many.out[0], reachable=True)


@pytest.mark.parametrize("state", ["shut", "paused", "without a slot"])
def test_a_lane_whose_ready_calls_were_lost_has_its_turn_again(state: str) -> None:
    """They were lost with their channel, while the lane was not in the ring."""
    many = Many(size=8)
    if state == "shut":
        many.shut(A)
    elif state == "paused":
        many.lanes.pause(A)
    else:
        many.prove(B)
        many.offer(B, 8)
        many.take_all()
        many.offer(A, 8)
        many.take_all()
    many.offer(A)
    assert many.take() is None
    many.lanes.forget(lambda item: False)
    many.clock.now += 10
    assert many.take() is None  # the time has come, and nothing is there
    many.end_all(A, reachable=True)
    many.end_all(B, reachable=True)
    many.lanes.resume(A)
    many.offer(A)
    many.clock.now += 10
    item = many.take()
    assert item is not None
    assert item.lane.key == A


class TestBreaker:
    def test_only_probes_go_to_a_shut_lane(self) -> None:
        many = Many(size=100)
        many.offer(A, 10)
        many.shut(A)
        assert many.take_all() == {}
        times = []
        for _ in range(60):
            many.clock.now += 0.25
            for _ in range(many.take_all()[A]):
                times.append(many.clock.now - 1000)
        assert times == [1.0, 3.0, 7.0, 12.0]

    @pytest.mark.parametrize("ready", [40, 1])
    def test_calls_that_need_no_attempt_take_the_turn_of_no_probe(
        self, ready: int
    ) -> None:
        """They are too old, say. `ready`: the others come one by one."""
        many = Many(size=100)
        many.offer(A, ready)
        many.shut(A)
        many.clock.now += 1.0
        times = []
        for number in range(40):
            item = many.take()
            assert item is not None, f"{number} calls were taken"
            many.lanes.not_made(item)
            if ready == 1:
                many.offer(A)
            many.lanes.ended(item)
        many.offer(A)
        for _ in range(40):
            times += [many.clock.now - 1000] * many.take_all()[A]
            many.offer(A)
            many.clock.now += 0.25
        assert times == [1.0, 3.0, 7.0]

    def test_nor_does_one_that_was_taken_before_it_shut(self) -> None:
        many = Many(size=100)
        many.offer(A, 2)
        item = many.take()
        assert item is not None
        many.shut(A)
        many.lanes.not_made(item)
        many.lanes.ended(item)
        assert many.take() is None
        many.clock.now += 1.0
        assert many.take() is not None

    def test_one_that_nobody_calls_any_more_is_told_of_no_more(self) -> None:
        many = Many(size=100)
        many.offer(A)
        many.take_all()
        many.shut(A)
        assert A in (many.lanes.remark() or "")
        many.end_all(A, reachable=False)
        many.clock.now += 599.0
        assert many.lanes.glance() == {A: "held"}
        many.clock.now += 2.0
        assert many.lanes.remark() is None
        assert many.lanes.glance() == {}
        many.offer(A)  # nobody knows whether it is back
        assert A in (many.lanes.remark() or "")

    def test_other_lanes_go_on(self) -> None:
        many = Many(size=20)
        many.offer(A, 100)
        many.shut(A)
        many.offer(B, 3)
        assert many.take_all() == {B: 3}

    def test_failures_without_an_end_shut_it(self) -> None:
        many = Many(size=100)
        many.offer(A, 20)
        many.take_all()
        many.end_all(A, reachable=False)
        assert many.lanes.of(A).shut
        assert A in (many.lanes.remark() or "")

    def test_those_with_the_most_calls_are_named_and_the_others_counted(self) -> None:
        many = Many(size=1000)
        for number in range(7):
            many.offer(f"origin {number}", 10 + number)
            many.shut(f"origin {number}")
        told = many.lanes.remark() or ""
        assert told.startswith("No answer from origin 6 (16 calls wait), origin 5 (")
        assert told.endswith("origin 2 (12 calls wait) and 2 more.")

    def test_what_says_nothing_of_the_service_counts_for_nothing(self) -> None:
        many = Many(size=100)
        for _ in range(10):
            many.lanes.judge(many.lanes.of(A), reachable=None, seconds=0.1)
        assert not many.lanes.of(A).shut

    def test_one_that_answers_again_is_not_trampled(self) -> None:
        many = Many(size=200)
        many.offer(A, 500)
        many.shut(A)
        many.clock.now += 1
        (probe,) = [many.take()]
        assert probe is not None
        many.end(probe, reachable=True)
        assert many.lanes.remark() is None
        at_once = []
        for _ in range(6):
            many.take_all()
            at_once.append(len(many.out))
            many.clock.now += 1
        assert at_once == [1, 2, 4, 8, 16, 32]

    def test_one_that_is_asked_again_much_later_gets_its_calls(self) -> None:
        """An hour without calls after it came back."""
        many = Many(size=200)
        many.offer(A)
        many.shut(A)
        many.clock.now += 1
        probe = many.take()
        assert probe is not None
        many.end(probe, reachable=True)
        many.clock.now += 3600
        many.offer(A, 20)
        assert many.take_all() == {A: 20}
        assert many.lanes.standing(A).breaker == "closed"

    def test_probes_that_hang_hold_a_part_of_the_pool_only(self) -> None:
        many = Many(size=40)
        for number in range(100):
            many.offer(f"http://{number}.test:80", 50)
            many.shut(f"http://{number}.test:80")
        for _ in range(600):
            many.clock.now += 0.1
            many.take_all()
        assert len(many.out) <= 20
        many.offer(A)
        assert many.take_all() == {A: 1}


class TestSuspects:
    def test_one_that_hangs_gets_no_more(self) -> None:
        many = Many(size=40)
        many.prove(A, B)
        many.clock.now += 1
        many.offer(A, 100)
        assert many.take_all() == {A: 20}
        many.clock.now += 3
        many.end(many.out[0], reachable=None)
        assert many.take_all() == {}
        many.offer(B, 5)
        assert many.take_all() == {B: 5}

    def test_one_that_has_answered_since_is_none(self) -> None:
        many = Many(size=40)
        many.prove(A)
        many.offer(A, 100)
        many.take_all()
        many.clock.now += 3
        many.end(many.out[-1], reachable=True)
        assert many.take_all() == {A: 1}

    def test_one_that_is_slow_as_a_rule_is_none(self) -> None:
        many = Many(size=40)
        many.offer(A)
        first = many.take()
        assert first is not None
        many.clock.now += 30
        many.end(first, reachable=True, seconds=30.0)
        many.offer(A, 10)
        many.take_all()
        many.clock.now += 60
        many.offer(A, 5)
        assert many.take_all() == {A: 5}

    def test_new_ones_that_hang_are_suspects_after_two_seconds(self) -> None:
        many = Many(size=40)
        for number in range(10):
            many.offer(f"http://{number}.test:80", 10)
        taken = many.take_all()
        assert min(taken.values()) > 1
        many.clock.now += 2.5
        many.offer(A)
        many.end(many.out[0], reachable=False)
        assert many.take_all()[A] == 1
        assert many.lanes.of("http://0.test:80").rank is Rank.BAD

    def test_new_ones_have_their_turns_in_order(self) -> None:
        """However many wait that hang: nobody passes those that came before."""
        many = Many(size=40)
        for number in range(40):
            many.offer(f"http://{number}.test:80", 10)
        many.take_all()
        for number in range(30, 40):
            many.end(many.out[0], reachable=False)
            assert many.take_all() == {f"http://{number}.test:80": 1}

    def test_one_that_answers_waits_no_more_with_those_that_do_not(self) -> None:
        many = Many(size=40)
        for number in range(100):
            many.offer(f"http://{number}.test:80", 10)
        many.take_all()
        many.clock.now += 3
        answering = many.out[0]
        many.end(answering, reachable=True)
        assert set(many.take_all()) >= {answering.lane.key}


class TestMany:
    """However many lanes wait, a call that comes or ends costs the same."""

    @pytest.fixture
    def looked_at(self, monkeypatch: pytest.MonkeyPatch) -> list[Lane]:
        looked_at = []

        def admits(slots: Slots, lane: Lane, now: float) -> bool:
            looked_at.append(lane)
            return ask(slots, lane, now)

        ask = Slots.admits
        monkeypatch.setattr(Slots, "admits", admits)
        return looked_at

    @pytest.mark.parametrize("hanging", ["new", "suspects", "shut"])
    def test_calls_beside_many_that_hang(
        self, looked_at: list[Lane], hanging: str
    ) -> None:
        many = Many(size=200)
        many.prove(A)
        for number in range(500):
            many.offer(f"http://{number}.test:80", 3)
        many.take_all()
        if hanging != "new":
            many.clock.now += 3
            many.end_all(many.out[0].lane.key, reachable=False)
        if hanging == "shut":
            for number in range(500):
                many.shut(f"http://{number}.test:80")
            many.clock.now += 3
        many.take_all()
        looked_at.clear()
        for _ in range(100):
            many.offer(A)
            assert many.take_all() == {A: 1}
            many.end_all(A, reachable=True)
        assert len(looked_at) < 5 * 100

    @pytest.mark.parametrize("count", [66, 150, 500])
    def test_many_that_answer_and_have_more_than_there_are_slots(
        self, looked_at: list[Lane], count: int
    ) -> None:
        many = Many(size=200)
        keys = [f"http://{number}.test:80" for number in range(count)]
        many.prove(*keys)
        for key in keys:
            many.offer(key, 20)
        many.take_all()
        full = len(many.out)
        looked_at.clear()
        for _ in range(300):
            many.end(many.out[0], reachable=True)
            many.take_all()
        assert len(many.out) >= full - 1
        assert len(looked_at) < 5 * 300
        shares = Counter(item.lane.key for item in many.out)
        assert max(shares.values()) - min(shares.values()) <= 2


class TestPaused:
    def test_nothing_is_taken_until_it_is_resumed(self) -> None:
        many = Many(size=10)
        many.lanes.pause(A)
        many.offer(A, 3)
        many.clock.now += 1000
        assert many.take_all() == {}
        many.lanes.resume(A)
        assert many.take_all() == {A: 3}

    def test_it_is_asked_for_nothing(self) -> None:
        many = Many(size=10)
        many.lanes.pause(A)
        assert not many.lanes.prompt(many.lanes.of(A))
        assert many.lanes.wants(many.lanes.of(A)) == 0


class Shop:
    """A queue that writes down what it is asked for."""

    def __init__(self) -> None:
        self.hungry_for: list[str] = []
        self.shut_down: list[str] = []

    def hungry(self, lane: Lane) -> None:
        self.hungry_for.append(lane.key)

    def shut(self, lane: Lane) -> None:
        self.shut_down.append(lane.key)


class TestKeeper:
    """What the queue is asked for."""

    @pytest.fixture
    def many(self) -> Many:
        return Many(size=1000)

    @pytest.fixture
    def shop(self, many: Many) -> Shop:
        many.lanes.keeper = shop = Shop()
        return shop

    @pytest.mark.parametrize("takes", range(8))
    @pytest.mark.parametrize("flying", range(1, 4))
    def test_a_lane_that_is_served_while_it_has_its_turn_has_one_turn(
        self,
        many: Many,
        shop: Shop,
        monkeypatch: pytest.MonkeyPatch,
        flying: int,
        takes: int,
    ) -> None:
        """It has begun to hang, and what is aside for it is offered at once."""
        many.prove(A)
        lane = many.lanes.of(A)
        many.clock.now += 1
        many.offer(A, flying)
        many.take_all()
        many.lanes._takes = takes
        many.offer(A)
        lane.aside = 3

        def serve(_: Lane) -> None:
            if lane.aside:
                lane.aside -= 1
                many.offer(A)

        monkeypatch.setattr(shop, "hungry", serve)
        many.clock.now += 60
        many.take()
        rings = [turns._ring for turns in many.lanes._all_turns]
        in_rings = sum(list(ring).count(lane) for ring in rings)
        assert in_rings == int(lane.turn is Turn.RING)
        many.take_all()
        many.end_all(A, reachable=True)
        many.take_all()
        assert not lane.aside
        assert not lane.ready

    def test_more_when_a_lane_with_calls_aside_runs_low(
        self, many: Many, shop: Shop
    ) -> None:
        many.prove(A)
        many.offer(A, lanes_module.FEW_READY + 1)
        many.lanes.of(A).aside = 1000
        many.take()
        assert shop.hungry_for == []
        many.take()
        assert shop.hungry_for == [A]
        few = lanes_module.FEW_READY - 1
        wanted = many.lanes.wants(many.lanes.of(A))
        assert wanted == lanes_module.MOST_READY - few

    def test_nothing_by_a_lane_that_has_all_it_has_in_memory(
        self, many: Many, shop: Shop
    ) -> None:
        many.offer(A, 3)
        many.take_all()
        assert shop.hungry_for == []

    def test_one_call_for_a_probe(self, many: Many, shop: Shop) -> None:
        lane = many.lanes.of(A)
        lane.aside = 1000
        many.shut(A)
        assert shop.shut_down == [A]
        many.take()
        assert shop.hungry_for == []
        assert many.lanes.wants(lane) == 0
        many.clock.now += 1
        many.take()
        assert shop.hungry_for == [A]
        assert many.lanes.wants(lane) == 1
        many.offer(A)
        assert many.lanes.wants(lane) == 0

    def test_one_call_for_a_probe_after_it_wanted_to_be_left_alone(
        self, many: Many, shop: Shop
    ) -> None:
        """Nothing was aside when the probe was due that it has put off since."""
        many.offer(A)
        many.shut(A)
        many.clock.now += 1
        probe = many.take()
        assert probe is not None
        many.clock.now += 3
        assert many.take() is None
        many.lanes.judge(probe.lane, reachable=False, seconds=3.0, alone=60.0)
        many.lanes.ended(probe)
        many.lanes.of(A).aside = 1
        assert many.take() is None
        assert shop.hungry_for == []
        many.clock.now += 60
        assert many.take() is None
        assert shop.hungry_for == [A]

    def test_all_it_may_have_when_it_answers_again(
        self, many: Many, shop: Shop
    ) -> None:
        lane = many.lanes.of(A)
        lane.aside = 1000
        many.shut(A)
        many.lanes.judge(lane, reachable=True, seconds=0.1)
        assert shop.hungry_for == [A]
        assert many.lanes.wants(lane) == lanes_module.MOST_READY


class TestForgetting:
    def test_lanes_in_their_first_state_are_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known, "REMEMBERED_LANES", 10)
        many = Many(size=10)
        first = many.lanes.of("first")
        for number in range(10):
            many.lanes.of(str(number))
        assert many.lanes.of("first") is not first

    def test_those_with_a_past_are_kept_and_the_others_share(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known, "REMEMBERED_LANES", 10)
        monkeypatch.setattr(known, "SHARED_LANES", 2)
        many = Many(size=10)
        kept = {str(number): many.lanes.of(str(number)) for number in range(10)}
        for lane in kept.values():
            many.lanes.judge(lane, reachable=False, seconds=0.1)
        many.clock.now += 599
        others = set()
        for number in range(100):
            lane = many.lanes.of(f"other {number}")
            lane.aside = 1
            others.add(lane)
        assert len(others) <= 2
        assert all(many.lanes.of(key) is lane for key, lane in kept.items())

    @pytest.mark.parametrize("failures", [1, 5])
    def test_those_that_failed_once_and_get_no_more_calls(
        self, failures: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else new ones would share lanes with some that do not answer, for ever."""
        monkeypatch.setattr(known, "REMEMBERED_LANES", 10)
        many = Many(size=10)
        for number in range(10):
            for _ in range(failures):
                many.lanes.judge(many.lanes.of(str(number)), False, seconds=0.1)
        many.clock.now += 601
        new = [f"new {number}" for number in range(10)]
        assert [many.lanes.of(key).key for key in new] == new
        assert many.lanes.remark() is None

    def test_one_that_failed_is_kept_while_its_calls_wait(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(known, "REMEMBERED_LANES", 10)
        many = Many(size=10)
        many.shut(A)
        lane = many.lanes.of(A)
        lane.aside = 1
        many.clock.now += 3600
        for number in range(100):
            many.lanes.of(str(number))
        assert many.lanes.of(A) is lane
