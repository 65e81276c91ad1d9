"""What was begun with one call when the process died is finished, or known."""

from collections.abc import Callable

import pytest

from mspc.calls.words import DEAD, QUEUED, WAITING
from mspc.errors import NotPossible, QueueUnavailable
from mspc.journal.events import Decided
from mspc.steering.begun import RETRYING_SECONDS
from tests.unit.steering.world import NOW, World


class Killed(Exception):
    """The process died."""


def killed_while(world: World, before: bool, delay: float = 0.0) -> None:
    """Whoever retries call 1 is killed before the queue does it, or after."""

    def kill() -> None:
        world.queue.before_verb = world.queue.after_verb = lambda: None
        raise Killed

    if before:
        world.queue.before_verb = kill
    else:
        world.queue.after_verb = kill
    with pytest.raises(Killed):
        world.operator().retry("1", "admin", "it is mended", delay)
    world.journal.lose()


def finish(world: World, last_at: float = NOW, instance: str = "here") -> list[Decided]:
    """What is told of it after the restart."""
    for _ in world.operator(instance).finish(last_at):
        pass
    world.journal.flush()
    return [one for one in world.journal.decided if one.kind != "chunk"]


@pytest.mark.parametrize("looks_up", [True, False])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("delay", "then"), [(0.0, QUEUED), (600.0, WAITING)])
def test_a_dead_letter(
    world: World, looks_up: bool, before: bool, delay: float, then: str
) -> None:
    world.add("1", state=DEAD)
    world.queue.looks_up = looks_up
    killed_while(world, before, delay)
    world.clock.now += 30
    [told] = finish(world)
    assert (told.kind, told.targets, told.who) == ("retried", ("1",), "admin")
    assert (told.at, told.reason) == (NOW, "it is mended")
    assert told.details == ({"delay": delay} if delay else {})
    assert world.queue.there == {"1": then}
    assert finish(world) == [told]  # once


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("delay", [0.0, 600.0])
def test_a_waiting_call(world: World, before: bool, delay: float) -> None:
    world.add("1", state=WAITING)
    killed_while(world, before, delay)
    [told] = finish(world)
    assert (told.kind, told.targets) == ("retried", ("1",))
    assert world.queue.there == {"1": WAITING if delay else QUEUED}


def cancelled(world: World) -> None:
    world.operator().cancel("1", "calls")


def forgotten(world: World) -> None:
    del world.journal.rows["1"]


@pytest.mark.parametrize("meanwhile", [cancelled, forgotten])
def test_what_is_something_else_by_then_is_left(
    world: World, meanwhile: Callable[[World], None]
) -> None:
    world.add("1", state=WAITING)
    killed_while(world, before=True)
    meanwhile(world)
    before = dict(world.queue.there)
    told = finish(world)
    assert all(one.kind != "retried" for one in told)
    assert world.queue.there == before


def test_what_was_refused_is_not_done_later(world: World) -> None:
    """Whoever was told so may have thought better of it."""
    world.add("1", state=DEAD)

    def refuse() -> None:
        world.queue.before_verb = lambda: None
        raise QueueUnavailable("The broker is away.")

    world.queue.before_verb = refuse
    with pytest.raises(QueueUnavailable):
        world.operator().retry("1", "admin")
    assert finish(world) == []
    assert world.queue.there == {"1": DEAD}


def test_a_damaged_dead_letter_is_not_taken_for_one_that_was_made_again(
    world: World,
) -> None:
    """The queue does not make it again, and has it all the same."""
    world.add("1", state=DEAD)
    world.queue.damaged.add("1")
    killed_while(world, before=True)
    assert finish(world) == []
    assert world.journal.state("1") == DEAD


@pytest.mark.parametrize("before", [True, False])
def test_what_is_cut_short_by_a_stop_is_not_finished(
    world: World, before: bool
) -> None:
    """Of the journal, it is to be said."""
    world.add("1", "2", state=WAITING)

    def cut_short() -> None:
        raise Killed

    operator = world.operator()
    operator.cancel("2", "admin")
    assert not operator.unfinished()
    setattr(world.queue, "before_verb" if before else "after_verb", cut_short)
    with pytest.raises(Killed):
        operator.cancel("1", "admin")
    assert operator.unfinished()


def test_what_was_refused_is_finished(world: World) -> None:
    world.add("1", state=QUEUED)
    world.queue.lent.add("1")
    operator = world.operator()
    with pytest.raises(NotPossible):
        operator.cancel("1", "admin")
    assert not operator.unfinished()


def test_what_another_instance_began_is_left_to_it(world: World) -> None:
    world.add("1", state=DEAD)
    killed_while(world, before=True)
    assert finish(world, instance="there") == []
    assert len(finish(world)) == 1


def test_what_was_begun_long_before_is_left(world: World) -> None:
    world.add("1", state=DEAD)
    killed_while(world, before=True)
    assert finish(world, NOW + RETRYING_SECONDS + 1) == []


def test_a_job_and_a_cancel_are_nothing_to_finish(world: World) -> None:
    world.add("1", "2", state=WAITING)
    world.queue.failures = 1
    with pytest.raises(QueueUnavailable):
        world.operator().cancel("1", "admin")
    details = {"ids": ["2"], "asked": 1, "cursor": None, "matched": 0, "at": NOW}
    world.journal.take(Decided("chunk", NOW, "admin", ("9",), "", details, "9" * 32))
    assert finish(world) == []
    assert world.queue.there == {"2": WAITING}


def test_what_is_done_needs_nothing_more(world: World) -> None:
    world.add("1", state=DEAD)
    world.operator().retry("1", "admin")
    world.journal.flush()
    [told] = [one for one in world.journal.decided if one.kind == "retried"]
    assert finish(world) == [told]
    assert world.journal.state("1") == QUEUED
