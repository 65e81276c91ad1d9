"""Pauses and limits hold on every instance, over restarts, until they are over."""

from collections.abc import Callable
from functools import partial

import pytest
from gevent import idle as settle

from mspc.errors import JournalUnavailable, NotPossible
from mspc.journal.events import Decided, Kind
from mspc.lanes.state import State
from mspc.steering.base import Limits, Standing
from mspc.steering.destinations import LOOK_SECONDS
from tests.unit.steering.world import NOW, URL, FakeLanes, World

OTHER = "http://other.test:8080"


def decided(
    kind: Kind, at: float, id_: str = "", target: str = URL, **details: object
) -> Decided:
    return Decided(kind, at, "admin", (target,), "", details, id_)


def test_a_pause_holds_at_once_and_is_written_down(world: World) -> None:
    world.operator().pause(URL, "admin", None, "they move house")
    assert world.lanes.told == [("pause", URL, NOW)]
    [written] = world.journal.decided
    assert (written.kind, written.targets, written.who, written.reason) == (
        *("paused", (URL,)),
        *("admin", "they move house"),
    )
    assert written.details == {"until": None}


def test_pause_and_resume_may_be_said_twice(world: World) -> None:
    operator = world.operator()
    operator.pause(URL, "admin", None)
    operator.pause(URL, "admin", None)
    assert world.lanes.paused == {URL}
    operator.resume(URL, "admin")
    operator.resume(URL, "admin")
    assert world.lanes.paused == set()
    assert operator.standing(URL) == Standing(URL)


@pytest.mark.parametrize(
    "written",
    [
        "https://API.test:443",
        "HTTPS://api.test",
        "https://api.test/",
        "https://\uff41pi.test",
    ],
)
def test_a_destination_may_be_spelled_as_people_do(world: World, written: str) -> None:
    operator = world.operator()
    operator.pause(written, "admin", None)
    assert world.lanes.paused == {URL}
    assert operator.standing(written).state == "paused"


@pytest.mark.parametrize(
    "written",
    [
        *("", "api.test", "ftp://api.test:21", "https://api.test:0", "https://"),
        *("https://api.test/path", "https://me:secret@api.test", "https://api.test?a"),
    ],
)
def test_what_is_no_destination_is_refused(world: World, written: str) -> None:
    operator = world.operator()
    orders: tuple[Callable[[], None], ...] = (
        partial(operator.pause, written, "admin", None),
        partial(operator.resume, written, "admin"),
        partial(operator.limit, written, "admin", Limits(5)),
    )
    for order in orders:
        with pytest.raises(NotPossible, match="is no destination such as") as refused:
            order()
        assert refused.value.code == "not_a_destination"
    world.journal.flush()
    assert world.journal.decided == []


def test_a_pause_ends_by_itself(world: World) -> None:
    operator = world.operator()
    operator.pause(URL, "admin", NOW + 10)
    assert operator.standing(URL).paused_until == NOW + 10
    assert world.timers.delay == 10
    world.clock.now += 10
    world.timers.ring()
    assert world.lanes.told == [("pause", URL, NOW), ("resume", URL, NOW + 10)]
    assert operator.standing(URL) == Standing(URL)
    assert not world.timers.runs


def test_each_of_some_pauses_ends_at_its_time(world: World) -> None:
    operator = world.operator()
    operator.pause(URL, "admin", NOW + 10)
    operator.pause(OTHER, "admin", NOW + 5)
    assert world.timers.delay == 5
    world.clock.now += 5
    world.timers.ring()
    assert world.lanes.paused == {URL}
    assert world.timers.delay == 5
    world.clock.now += 5
    world.timers.ring()
    assert world.lanes.paused == set()


def test_a_clock_that_is_set_forward_ends_a_pause_soon(world: World) -> None:
    world.operator().pause(URL, "admin", NOW + 3600)
    assert world.timers.delay == LOOK_SECONDS
    world.timers.ring()
    assert world.lanes.paused == {URL}
    world.clock.now += 3600
    world.timers.ring()
    assert world.lanes.paused == set()


def test_a_pause_that_is_prolonged_ends_later(world: World) -> None:
    operator = world.operator()
    operator.pause(URL, "admin", NOW + 10)
    operator.pause(URL, "admin", NOW + 20)
    world.clock.now += 10
    world.timers.ring()
    assert operator.standing(URL).paused_until == NOW + 20
    operator.pause(URL, "admin", None)
    world.clock.now += 100
    world.timers.ring()
    assert world.lanes.paused == {URL}


def test_pauses_and_limits_hold_on_the_other_instance(world: World) -> None:
    other = FakeLanes()
    here, there = world.operator("here"), world.operator("there", other)
    here.start()
    there.start()
    here.pause(URL, "admin", None)
    here.limit(OTHER, "admin", Limits(5, 60.0, 2))
    assert there.standing(URL).state == "paused"
    assert other.paused == {URL}
    assert other.limits == {OTHER: (5, 60.0, 2)}
    there.resume(URL, "admin")
    there.limit(OTHER, "admin", None)
    assert here.standing(URL) == Standing(URL)
    assert world.lanes.paused == set()
    assert world.lanes.limits == {}
    here.stop()
    there.stop()


def test_they_hold_after_a_restart_before_anything_is_made(world: World) -> None:
    first = world.operator()
    first.pause(URL, "admin", NOW + 60)
    first.pause(OTHER, "admin", None)
    first.resume(OTHER, "admin")
    first.limit(URL, "admin", Limits(rate=5))
    first.limit(OTHER, "admin", Limits(parallelism=1))
    world.journal.lose()  # a kill; what was answered is in the journal
    world.lanes = FakeLanes()
    with world.steered() as operator:
        assert world.lanes.paused == {URL}
        assert world.lanes.limits == {URL: (5, 1.0, None), OTHER: (None, 1.0, 1)}
        assert world.timers.delay == LOOK_SECONDS
        assert operator.standing(URL).limits == Limits(rate=5)
        world.clock.now += 60
        world.timers.ring()
        assert world.lanes.paused == set()


def test_the_lanes_are_told_of_each_pause_that_was(world: World) -> None:
    """Calls did not age in it, also when it ended by itself while nobody was there."""
    for one in (
        decided("paused", NOW - 100, "1", until=NOW - 90),
        decided("paused", NOW - 80, "2", until=None),
        decided("resumed", NOW - 70, "3"),
        decided("paused", NOW - 60, "4", until=NOW - 50),
    ):
        world.journal.take(one)
    with world.steered() as operator:
        assert world.lanes.told == [
            ("pause", URL, NOW - 100),
            ("resume", URL, NOW - 90),
            ("pause", URL, NOW - 80),
            ("resume", URL, NOW - 70),
            ("pause", URL, NOW - 60),
            ("resume", URL, NOW - 50),
        ]
        assert operator.standing(URL).state == "ok"


def test_the_newest_decision_counts_whenever_it_arrives(world: World) -> None:
    with world.steered() as operator:
        world.journal.take(decided("resumed", NOW + 2, "b"))
        world.journal.take(decided("paused", NOW + 1, "c", until=None))
        world.journal.take(decided("paused", NOW + 2, "a", until=None))
        assert operator.standing(URL).state == "ok"
        world.journal.take(decided("paused", NOW + 2, "c", until=None))
        assert operator.standing(URL).state == "paused"


def test_an_instance_whose_clock_is_behind_is_obeyed(world: World) -> None:
    with world.steered() as operator:
        world.journal.take(decided("paused", NOW + 30, until=None))
        operator.resume(URL, "admin")
        assert operator.standing(URL).state == "ok"
        assert world.journal.decided[-1].at > NOW + 30


def test_what_another_version_has_written_breaks_nothing(world: World) -> None:
    with world.steered() as operator:
        world.journal.take(decided("paused", NOW, until="tomorrow"))
        world.journal.take(decided("limited", NOW, rate="fast", parallelism=0))
        assert operator.standing(URL) == Standing(URL, "paused")


def test_limits_replace_each_other_and_are_taken_back(world: World) -> None:
    operator = world.operator()
    operator.limit(URL, "admin", Limits(5, 60.0, 2))
    operator.limit(URL, "admin", Limits(parallelism=3))
    assert world.lanes.limits == {URL: (None, 1.0, 3)}
    assert operator.standing(URL).limits == Limits(parallelism=3)
    operator.limit(URL, "admin", Limits())
    assert world.lanes.limits == {}
    assert [one.kind for one in world.journal.decided] == [
        *("limited", "limited", "unlimited"),
    ]


def test_a_destination_says_whether_it_is_held(world: World) -> None:
    world.lanes.states[URL] = State(URL, breaker="open", in_flight=1, next_probe_in=2.5)
    operator = world.operator()
    assert operator.standing(URL) == Standing(
        URL, "held", "open", 1, next_probe=NOW + 2.5
    )
    operator.pause(URL, "admin", None)
    assert operator.standing(URL).state == "paused"


def test_calls_that_nobody_can_read_have_a_lane_too(world: World) -> None:
    assert world.operator().standing("unreadable calls").state == "ok"


def test_all_that_are_not_as_the_others_are_listed(world: World) -> None:
    third, down = "http://third.test:80", "http://down.test:80"
    world.lanes.states = {
        third: State(third, breaker="half_open", in_flight=3),
        down: State(down, breaker="open"),
        URL: State(URL, breaker="open"),
    }
    operator = world.operator()
    operator.pause(URL, "admin", None)
    operator.limit(OTHER, "admin", Limits(1))
    operator.pause("http://fourth.test", "admin", None)
    operator.resume("http://fourth.test", "admin")
    expected = {third: "ok", down: "held", URL: "paused", OTHER: "ok"}
    assert operator.glance() == expected
    assert {name: operator.standing(name).state for name in expected} == expected


def test_with_the_journal_off_nothing_is_decided(world: World) -> None:
    world.journal.on = False
    world.journal.away = JournalUnavailable("JOURNAL is 0.", off=True)
    with world.steered() as operator:
        with pytest.raises(JournalUnavailable, match="JOURNAL is 0") as refused:
            operator.pause(URL, "admin", None)
        assert refused.value.off
        assert world.lanes.told == []
        assert world.waits == []  # nobody waits for a journal that never comes


def test_a_journal_that_comes_late_is_obeyed_then(world: World) -> None:
    world.operator().pause(URL, "admin", None)
    world.lanes = FakeLanes()
    world.journal.away = JournalUnavailable("its disk is away")
    calls = []

    def mend() -> None:
        calls.append(1)
        if len(calls) == 3:
            world.journal.away = None

    world.while_waiting = mend
    with world.steered() as operator:
        assert world.lanes.paused == set()
        settle()
        assert world.lanes.paused == {URL}
        assert world.waits == [1.0, 1.0, 1.0]
        assert operator.standing(URL).state == "paused"


def test_the_journal_is_reminded_of_what_was_decided_last(world: World) -> None:
    operator = world.operator()
    operator.pause(URL, "admin", None)
    operator.limit(OTHER, "admin", Limits(5))
    world.journal.full = True
    with pytest.raises(JournalUnavailable):
        operator.resume(URL, "admin")
    world.journal.full = False
    # As a journal does with what it has no room for.
    operator._arrived(decided("resumed", NOW + 1, "later"))
    operator.remind()
    world.journal.flush()
    kinds = [one.kind for one in world.journal.decided]
    assert kinds == ["paused", "limited", "resumed"]
