"""One call is cancelled or made again, and what cannot be is refused with a reason."""

from collections.abc import Callable
from typing import cast

import pytest

from mspc.calls.words import DEAD, GONE, QUEUED, SUCCEEDED, WAITING
from mspc.errors import (
    JournalUnavailable,
    NoSuchCall,
    NotPossible,
    QueueUnavailable,
)
from mspc.journal.base import View
from mspc.journal.events import Decided
from mspc.steering import decisions
from mspc.steering import operator as operator_module
from mspc.steering.begun import CANCELLING_SECONDS, cancelling
from mspc.steering.operator import Operator
from tests.unit.steering.world import NOW, World

Verb = Callable[[Operator, str, str], None]


class Killed(BaseException):
    """The process is gone."""


BOTH = pytest.mark.parametrize("verb", [Operator.cancel, Operator.retry])


def decided(world: World) -> list[Decided]:
    """What is told of; not that a queue was about to take a call out."""
    world.journal.flush()
    return [one for one in world.journal.decided if one.kind != "chunk"]


def refusal(world: World, verb: Verb, call_id: str = "1") -> str:
    """The code; nothing was written down, and the queue has what it had."""
    before = dict(world.queue.there)
    with pytest.raises(NotPossible) as refused:
        verb(world.operator(), call_id, "admin")
    assert str(refused.value).endswith((".", "again."))
    assert decided(world) == []
    assert world.queue.there == before
    return refused.value.code


@pytest.mark.parametrize("state", [QUEUED, WAITING])
def test_an_open_call_is_cancelled(world: World, state: str) -> None:
    world.add("1", "2", state=state)
    world.operator().cancel("1", "admin", "sent twice")
    assert world.queue.there == {"2": state}
    about, told = world.journal.decided  # in the file: nobody has asked for it since
    assert told.kind == "cancelled"
    assert told.targets == ("1",)
    assert (told.who, told.reason, told.at) == ("admin", "sent twice", NOW)
    assert len(told.id) == 32
    assert (about.kind, about.targets, about.reason) == ("chunk", ("1",), told.reason)
    assert about.id < told.id


def test_a_queue_that_is_told_of_cancelled_calls_forgets_none(world: World) -> None:
    """Nobody has to know what it was about to do."""
    world.add("1", state=QUEUED)
    world.queue.looks_up = False
    world.operator().cancel("1", "admin")
    assert [one.kind for one in world.journal.decided] == ["cancelled"]


def test_cancelling_again_is_no_mistake(world: World) -> None:
    world.add("1", state=QUEUED)
    operator = world.operator()
    operator.cancel("1", "admin")
    operator.cancel("1", "calls")
    assert len(decided(world)) == 1


@BOTH
def test_what_nobody_knows_is_not_found(world: World, verb: Verb) -> None:
    with pytest.raises(NoSuchCall, match='no call "1"'):
        verb(world.operator(), "1", "admin")


@BOTH
def test_what_has_succeeded_stays_so(world: World, verb: Verb) -> None:
    world.journal.add("1", state=SUCCEEDED)
    assert refusal(world, verb) == "already_succeeded"


@BOTH
@pytest.mark.parametrize("state", [QUEUED, WAITING])
def test_what_is_in_flight_is_left_alone(world: World, verb: Verb, state: str) -> None:
    world.add("1", state=state)
    world.in_flight.add("1")
    assert refusal(world, verb) == "in_flight"


def test_a_dead_letter_is_not_cancelled(world: World) -> None:
    world.add("1", state=DEAD)
    assert refusal(world, Operator.cancel) == "already_dead"


def test_what_is_lent_out_is_not_cancelled(world: World) -> None:
    world.add("1", state=QUEUED)
    world.queue.lent.add("1")
    assert refusal(world, Operator.cancel) == "in_flight"


def test_what_succeeds_while_it_is_cancelled_is_told_as_it_is(world: World) -> None:
    world.add("1", state=QUEUED)

    def succeed() -> None:
        world.journal.add("1", state=SUCCEEDED)
        world.queue.there.clear()

    world.queue.before_verb = succeed
    with pytest.raises(NotPossible) as refused:
        world.operator().cancel("1", "admin")
    assert refused.value.code == "already_succeeded"


def test_a_call_that_was_withdrawn_before_a_crash_is_cancelled_now(
    world: World,
) -> None:
    """The process had died before the decision was in the journal."""
    world.add("1", state=QUEUED)

    def die() -> None:
        raise Killed

    world.queue.after_verb = die
    with pytest.raises(Killed):
        world.operator().cancel("1", "admin")
    world.journal.lose()
    world.queue.after_verb = lambda: None
    world.operator().cancel("1", "admin")
    assert world.journal.state("1") == GONE


def test_a_call_whose_success_the_journal_has_missed_was_not_cancelled(
    world: World,
) -> None:
    """It is not in the queue, not in flight, and open as far as the journal knows."""
    world.journal.add("1", state=QUEUED)
    for _ in range(2):
        assert refusal(world, Operator.cancel) == "in_flight"


def test_a_dead_letter_is_made_again(world: World) -> None:
    world.add("1", state=DEAD)
    world.operator().retry("1", "admin", "it is mended")
    assert world.queue.there == {"1": QUEUED}
    [told] = decided(world)
    assert (told.kind, told.targets) == ("retried", ("1",))
    assert told.reason == "it is mended"


def test_a_waiting_call_comes_forward(world: World) -> None:
    world.add("1", state=WAITING)
    world.operator().retry("1", "admin")
    assert world.queue.asked == [("hurry", ("1",))]
    assert decided(world)[0].kind == "retried"


def test_a_waiting_call_is_put_off(world: World) -> None:
    world.add("1", state=WAITING)
    world.operator().retry("1", "admin", delay=600)
    assert world.queue.asked == [("postpone by 600", ("1",))]
    [told] = decided(world)
    assert (told.kind, told.details) == ("retried", {"delay": 600})


def test_a_dead_letter_is_made_again_later(world: World) -> None:
    world.add("1", state=DEAD)
    world.operator().retry("1", "admin", delay=600)
    assert world.queue.there == {"1": WAITING}
    assert decided(world)[0].details == {"delay": 600}


def test_what_waits_in_rabbitmq_stays_there_and_its_time_is_told(world: World) -> None:
    world.add("1", state=WAITING)
    world.queue.looks_up = False
    with pytest.raises(NotPossible, match=r"2027-01-15T07:59:00\.000Z.*resumed") as no:
        world.operator().retry("1", "admin")
    assert no.value.code == "waits_in_rabbitmq"
    assert world.queue.asked == []


@pytest.mark.parametrize(("state", "code"), [(QUEUED, "queued"), (GONE, "cancelled")])
def test_what_is_on_its_way_or_cancelled_is_not_made_again(
    world: World, state: str, code: str
) -> None:
    world.add("1", state=state)
    assert refusal(world, Operator.retry) == code


def test_a_dead_letter_that_is_gone_is_not_said_to_be_made_again(world: World) -> None:
    world.journal.add("1", state=DEAD)
    assert refusal(world, Operator.retry) == "queued"


@BOTH
def test_what_becomes_of_a_call_meanwhile_is_later_than_the_decision(
    world: World, verb: Verb
) -> None:
    """It may fail again before the queue has answered: then it is dead again."""
    world.add("1", state=WAITING)

    def take_time() -> None:
        world.clock.now += 3

    world.queue.after_verb = take_time
    verb(world.operator(), "1", "admin")
    assert decided(world)[0].at == NOW


@BOTH
def test_without_the_journal_nothing_is_done(world: World, verb: Verb) -> None:
    world.add("1", state=WAITING)
    world.journal.away = JournalUnavailable("its file is away")
    with pytest.raises(JournalUnavailable, match="away"):
        verb(world.operator(), "1", "admin")
    assert world.queue.there == {"1": WAITING}


@BOTH
def test_a_queue_that_is_away_is_told(world: World, verb: Verb) -> None:
    world.add("1", state=WAITING)
    world.queue.failures = 1
    with pytest.raises(QueueUnavailable):
        verb(world.operator(), "1", "admin")
    assert decided(world) == []


def test_a_decision_that_the_journal_drops_is_not_promised(world: World) -> None:
    world.add("1", state=WAITING)
    world.journal.full = True
    with pytest.raises(JournalUnavailable, match="too much to do"):
        world.operator().cancel("1", "admin")
    world.journal.broken = "The disk is nearly full."
    with pytest.raises(JournalUnavailable, match=r"nearly full\. Try again"):
        world.operator().cancel("1", "admin")
    assert world.queue.there == {"1": WAITING}


def test_what_was_about_to_be_cancelled_and_is_not_is_forgotten(world: World) -> None:
    world.add("1", state=QUEUED)
    world.queue.lent.add("1")
    assert refusal(world, Operator.cancel) == "in_flight"
    assert cancelling(cast(View, world.journal), "1", NOW) is None


@pytest.mark.parametrize(
    ("seconds", "about"), [(0.0, True), (CANCELLING_SECONDS + 1, False)]
)
def test_somebody_is_about_to_cancel_until_the_queue_has_answered(
    world: World, seconds: float, about: bool
) -> None:
    world.add("1", state=QUEUED)
    world.queue.failures = 1
    with pytest.raises(QueueUnavailable):
        world.operator().cancel("1", "admin", "sent twice")
    found = cancelling(cast(View, world.journal), "1", NOW + seconds)
    assert (found is not None) == about
    assert found is None or (found.who, found.reason) == ("admin", "sent twice")


def test_revealing_is_written_down_before_anything_is_shown(world: World) -> None:
    world.operator().revealed("1", "admin")
    [told] = decided(world)
    assert (told.kind, told.who, told.targets) == (
        *("revealed", "admin"),
        ("1",),
    )


def test_what_the_queue_has_of_a_call_is_shown(world: World) -> None:
    world.queue.add("1", state=QUEUED)
    assert list(world.operator().payloads(["1", "2"])) == [("1", b"{}")]


def test_cancelled_calls_are_told_to_a_queue_that_cannot_look_them_up(
    world: World,
) -> None:
    """Here, on another instance, and after a restart, the newest last."""
    here, there = world.operator("here"), world.operator("there")
    world.queue.looks_up = False
    here.start()
    there.start()
    world.add("1", "2", state=QUEUED)
    there.cancel("2", "admin")
    world.clock.now += 1
    here.cancel("1", "admin")
    when = {"2": NOW, "1": NOW + 1}
    assert world.queue.told == when
    here.stop()
    there.stop()
    world.queue.told.clear()
    with world.steered():
        assert list(world.queue.told.items()) == list(when.items())


@pytest.mark.parametrize("first", [1, 1000])
def test_the_last_ones_are_told_after_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr(operator_module, "TOLD_CALLS", 2)
    monkeypatch.setattr(decisions, "FIRST_LOOK", first)
    world.queue.looks_up = False
    world.add(*"12345", state=QUEUED)
    for one in "12345":
        world.clock.now += 1
        world.operator().cancel(one, "admin")
    with world.steered():
        assert world.queue.told == {"4": NOW + 4, "5": NOW + 5}


def test_a_queue_that_looks_up_is_told_nothing_twice(world: World) -> None:
    with world.steered() as operator:
        world.add("1", state=QUEUED)
        operator.cancel("1", "admin")
        assert world.queue.asked == [("withdraw", ("1",))]
    with world.steered():
        assert world.queue.asked == [("withdraw", ("1",))]


# ---- what RabbitMQ does not tell


def crashed(at: float, number: int = 1) -> Decided:
    return Decided("crashed", at, "mspc", ("here",), id=f"{number:032x}")


def test_that_an_instance_was_killed_is_known(world: World) -> None:
    with world.steered() as operator:
        assert operator.cut_off_at() is None
        world.journal.take(crashed(NOW - 2))
        assert operator.cut_off_at() == NOW - 2
        world.journal.take(crashed(NOW - 9, 2))  # another instance's comes late
        assert operator.cut_off_at() == NOW - 2


def test_that_an_instance_was_killed_is_known_after_a_restart(world: World) -> None:
    for number in (1, 2):
        world.journal.take(crashed(NOW - 9 + number, number))
    with world.steered() as operator:
        assert operator.cut_off_at() == NOW - 7


def test_while_a_queue_is_asked_that_is_known_too(world: World) -> None:
    operator = world.operator()
    operator.doubt(NOW)
    assert operator.cut_off_at() == NOW
    operator.doubt(None)
    assert operator.cut_off_at() is None
