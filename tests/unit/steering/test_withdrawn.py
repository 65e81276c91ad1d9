"""Which cancelled calls a queue that cannot look them up is told of after a start."""

import pytest

from mspc.calls.words import DEAD, QUEUED
from mspc.journal.events import Decided
from mspc.steering import decisions, withdrawn
from tests.unit.steering.world import NOW, World


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "FIRST_LOOK", 1)
    monkeypatch.setattr(withdrawn, "TOLD_CALLS", 2)
    monkeypatch.setattr(withdrawn, "REMADE_CALLS", 10)


@pytest.fixture
def unseen(world: World) -> World:
    """Where the queue looks nothing up."""
    world.queue.looks_up = False
    return world


def told(world: World) -> list[str]:
    world.queue.told.clear()
    with world.steered():
        return world.queue.told[:]


def cancel(world: World, *ids: str) -> None:
    operator = world.restored("there")
    world.add(*ids, state=QUEUED)
    for one in ids:
        world.clock.now += 1
        operator.cancel(one, "admin")


def retry(world: World, *ids: str) -> None:
    operator = world.restored("there")
    world.add(*ids, state=DEAD)
    for one in ids:
        world.clock.now += 1
        operator.retry(one, "admin")


@pytest.mark.usefixtures("_few")
def test_the_last_ones_are_told_of(unseen: World) -> None:
    cancel(unseen, *"12345")
    assert told(unseen) == ["4", "5"]


@pytest.mark.usefixtures("_few")
def test_those_that_are_made_again_take_nobody_elses_place(unseen: World) -> None:
    cancel(unseen, "1", "2")
    retry(unseen, *"3456")
    assert told(unseen) == ["1", "2"]


@pytest.mark.usefixtures("_few")
def test_before_what_is_looked_at_a_call_may_have_been_made_again(
    unseen: World,
) -> None:
    """Rather made once too often than lost."""
    cancel(unseen, "1")
    retry(unseen, "1")
    retry(unseen, *"abcdefghijkl")
    cancel(unseen, "2")
    assert told(unseen) == ["2"]


def test_what_was_cancelled_long_ago_may_have_been_made_again(unseen: World) -> None:
    """Who was away hears of both, one after the other, and may have the call."""
    with unseen.steered("here"):
        unseen.clock.now += 3600
        unseen.add("1", "2", state=DEAD)
        for decided in (
            Decided("cancelled", NOW + 1, "admin", ("1", "2"), id="1"),
            Decided("retried", NOW + 2, "admin", ("1",), id="2"),
        ):
            unseen.journal.take(decided)
            assert unseen.queue.told == []
        unseen.clock.now += withdrawn.QUIET_SECONDS
        unseen.timers.ring()
        assert unseen.queue.told == ["2"]


def test_nothing_is_told_while_more_of_before_may_follow(unseen: World) -> None:
    with unseen.steered("here"):
        unseen.clock.now += 3600
        for n in range(3):
            unseen.add(f"{n}", state=QUEUED)
            cancelled = Decided("cancelled", NOW + n, "admin", (f"{n}",), id=f"{n:032}")
            unseen.journal.take(cancelled)
            unseen.clock.now += withdrawn.QUIET_SECONDS / 2
        unseen.timers.ring()
        assert unseen.queue.told == []
        unseen.clock.now += withdrawn.QUIET_SECONDS
        unseen.timers.ring()
        assert unseen.queue.told == ["0", "1", "2"]


def test_a_start_waits_for_what_was_decided_elsewhere_meanwhile(
    unseen: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel(unseen, "1", "2")

    def catch_up() -> None:
        if unseen.journal.scope == "instance":
            unseen.journal.scope = "all"
            unseen.add("1", state=DEAD)
            again = Decided("retried", NOW + 60, "admin", ("1",), id="r")
            unseen.journal.take(again)

    monkeypatch.setattr(unseen.journal, "scope", "instance")
    unseen.while_waiting = catch_up
    assert told(unseen) == ["2"]


def test_but_not_for_ever(unseen: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some RabbitMQ keep no stream."""
    cancel(unseen, "1")
    monkeypatch.setattr(unseen.journal, "scope", "instance")
    unseen.waits.clear()
    assert told(unseen) == ["1"]
    assert sum(unseen.waits) == pytest.approx(withdrawn.CATCH_UP_SECONDS)


def test_what_a_job_was_about_to_make_again_is_not_let_go(unseen: World) -> None:
    """It died in flight after it was cancelled; the job's instance was killed after it
    was revived, and before that was written down.
    """
    cancel(unseen, "1", "2")
    unseen.add("1", state=DEAD)
    killed = unseen.restored("there")
    job = killed.begin("retry", ["1"], "admin")

    def die() -> None:
        raise KeyboardInterrupt

    unseen.queue.after_verb = die
    with pytest.raises(KeyboardInterrupt):
        killed._jobs.work_off()
    unseen.journal.lose()
    unseen.queue.after_verb = lambda: None
    assert unseen.queue.revived() == ["1"]
    assert [one.kind for one in unseen.journal.decided][-1] == "chunk", job
    assert told(unseen) == ["2"]
