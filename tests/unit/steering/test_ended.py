"""What ended in the journal's last moments is not open in it for ever."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import pytest
from msgspec import structs

from mspc.calls.words import NOT_SENDABLE, REASONS, reason_in
from mspc.journal import reading
from mspc.journal.base import EVERYTHING, Filter, Page, Recorder, Seen, View
from mspc.journal.events import Attempted, Decided, Event
from mspc.journal.writing import Writer
from mspc.queues.base import Kept, Queue
from mspc.steering.begun import CANCELLING_SECONDS
from mspc.steering.ended import PAGE, TEXT, Ended
from tests.support.happened import NOW, accepted, died, failed, in_memory, succeeded

LAST_AT = NOW + 30
STARTED = NOW + 60
CALL = accepted()


class World:
    """A journal, and a queue that tells how it has calls.

    Attributes:
        kept: what it has.
        told: what the journal was told besides what it was made with.
        asked: the ids that the queue was asked for, each time.
        meanwhile: called when the queue has been asked.
        flying: calls that are attempted now.
        busy: of which somebody else tells.
    """

    body_bytes = 0
    on = True

    def __init__(self, *events: Event) -> None:
        self._db = in_memory()
        self._writer = Writer(self._db)
        self._writer.write(events)
        self.kept_calls: dict[str, Kept] = {}
        self.told: list[Event] = []
        self.asked: list[Sequence[str]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.flying: set[str] = set()
        self.busy: Collection[str] = ()

    def write(self, *events: Event) -> None:
        self._writer.write(events)

    def record(self, event: Event) -> None:
        self.told.append(event)
        self.write(event)

    def kept(self, ids: Sequence[str]) -> Mapping[str, Kept]:
        self.asked.append(ids)
        found = {one: self.kept_calls[one] for one in ids if one in self.kept_calls}
        self.meanwhile()
        return found

    def call(self, call_id: str) -> Seen | None:
        return reading.one_call(self._db, call_id)

    def calls(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> Page:
        found: list[Seen] = []
        while True:
            look = reading.Looking(wanted, after, limit - len(found))(self._db)
            found += look.calls
            after = look.next
            if after is None or len(found) == limit:
                return Page(found, after)

    def decisions(
        self, target: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> Sequence[Decided]:
        return reading.decisions(self._db, target, kinds, limit)

    @property
    def ended(self) -> Ended:
        itself = cast(Any, self)
        return Ended(
            cast(Queue, itself),
            cast(Recorder, itself),
            cast(View, itself),
            self.flying.__contains__,
            lambda: self.busy,
        )

    def tell(self) -> int:
        """How many times others had their turn."""
        return len(list(self.ended.tell(STARTED, LAST_AT)))

    def seen(self, call_id: str = CALL.id) -> Seen:
        seen = self.call(call_id)
        assert seen is not None
        return seen


def test_what_the_queue_has_not_any_more_was_done() -> None:
    world = World(CALL)
    world.tell()
    seen = world.seen()
    assert (seen.state, seen.attempts) == ("succeeded", 1)
    assert (seen.finished_at, seen.next_at) == (LAST_AT, None)
    assert seen.last is not None
    assert (seen.last.status, seen.last.error, seen.last.text) == (None, "", TEXT)
    assert (seen.url, seen.labels) == (CALL.url, CALL.labels)


def about_to_cancel(at: float, action: str = "cancel") -> Decided:
    """What is noted before a queue takes a call out, or leaves it after all."""
    details = {"action": action}
    number = f"{int(at):032x}"
    return Decided("chunk", at, "calls", (CALL.id,), "sent twice", details, number)


def test_what_somebody_was_about_to_cancel_was_cancelled() -> None:
    world = World(CALL, about_to_cancel(LAST_AT - 1))
    world.tell()
    seen = world.seen()
    assert (seen.state, seen.attempts, seen.reason) == ("cancelled", 0, "sent twice")
    (told,) = world.decisions(CALL.id)
    assert (told.kind, told.who, told.at) == ("cancelled", "calls", LAST_AT - 1)
    world.tell()
    assert len(world.told) == 1


@pytest.mark.parametrize(
    "noted",
    [
        (about_to_cancel(LAST_AT - 3), about_to_cancel(LAST_AT - 2, "")),
        (about_to_cancel(LAST_AT - CANCELLING_SECONDS - 1),),
    ],
    ids=["left after all", "long ago"],
)
def test_what_nobody_was_about_to_cancel_was_done(noted: tuple[Decided, ...]) -> None:
    world = World(CALL, *noted)
    world.tell()
    assert world.seen().state == "succeeded"


def test_what_somebody_was_about_to_cancel_and_is_there_waits() -> None:
    world = World(CALL, about_to_cancel(LAST_AT))
    world.kept_calls = {CALL.id: Kept(0, "")}
    world.tell()
    assert world.told == []


def test_it_ended_after_all_that_is_known_of_it() -> None:
    late = accepted(2, STARTED - 1)
    world = World(late)
    world.tell()
    assert world.seen(late.id).finished_at == late.at


def test_what_waits_as_the_journal_says_is_left_alone() -> None:
    other = accepted(2)
    world = World(CALL, failed(CALL), other)
    world.kept_calls = {CALL.id: Kept(1, "503", NOW + 61), other.id: Kept(0, "")}
    world.tell()
    assert world.told == []


def test_an_attempt_that_failed_is_told() -> None:
    world = World(CALL, failed(CALL))
    world.kept_calls = {CALL.id: Kept(2, "answered 500", NOW + 90)}
    world.tell()
    seen = world.seen()
    assert (seen.state, seen.attempts, seen.next_at) == ("waiting", 2, NOW + 90)
    assert seen.last is not None
    assert (seen.last.error, seen.last.text) == ("unknown", "answered 500")
    world.tell()
    assert len(world.told) == 1


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("max_attempts: 3 failed, the last with 500", "max_attempts"),
        ("max_age: 60 s would be over, it was never attempted", "max_age"),
        ("failed, and requeue is false: 500", "no_requeue"),
        ("permanent: 404", "permanent"),
        ("cannot be sent: denied", "not_sendable"),
        ("is no call: url is missing", "not_sendable"),
        ("damaged in the file: its checksum does not fit", "damaged"),
        ("somebody's own", NOT_SENDABLE),
    ],
)
def test_a_death_is_told_with_the_word_for_it(sentence: str, word: str) -> None:
    world = World(CALL)
    world.kept_calls = {CALL.id: Kept(3, "answered 500", 0.0, NOW + 31, sentence)}
    world.tell()
    seen = world.seen()
    assert (seen.state, seen.reason, seen.attempts) == ("dead", word, 3)
    assert seen.finished_at == NOW + 31
    assert reason_in(sentence) in ("", *REASONS)


def test_a_dead_letter_that_nobody_told_of_died_then() -> None:
    world = World(CALL)
    death = world.ended.died(
        CALL, Kept(2, "answered 404", 0.0, NOW + 31, "permanent: 404")
    )
    assert death is not None
    world.write(death)
    seen = world.seen()
    assert (seen.state, seen.reason, seen.attempts) == ("dead", "permanent", 2)
    assert (seen.finished_at, seen.url) == (NOW + 31, CALL.url)


@pytest.mark.parametrize("event", [died(CALL), succeeded(CALL)])
def test_what_the_journal_knows_of_an_end_is_left_alone(event: Event) -> None:
    world = World(CALL, event)
    assert world.ended.died(CALL, Kept(1, "500", 0.0, NOW + 31, "no_requeue")) is None


def test_what_is_attempted_now_tells_of_itself() -> None:
    world = World(CALL)
    world.flying = {CALL.id}
    world.tell()
    assert world.told == []


def test_what_somebody_else_tells_is_not_told() -> None:
    world = World(CALL)
    world.busy = {CALL.id}
    world.tell()
    assert world.told == []


@pytest.mark.parametrize("kept", [None, Kept(1, "503", NOW + 99)])
def test_what_ended_while_the_queue_was_asked_is_not_told(kept: Kept | None) -> None:
    world = World(CALL)
    if kept is not None:
        world.kept_calls = {CALL.id: kept}
    event: Attempted = succeeded(CALL) if kept is None else failed(CALL)
    world.meanwhile = lambda: world.write(event)
    world.tell()
    assert world.told == []
    assert world.seen().last == structs.replace(event, call=world_call(world))


def world_call(world: World) -> Any:
    last = world.seen().last
    assert last is not None
    return last.call


def test_only_those_of_before_the_start_are_asked_for() -> None:
    after = accepted(2, STARTED + 1)
    world = World(CALL, after)
    world.tell()
    assert world.asked == [[CALL.id]]
    assert world.seen(after.id).state == "queued"


def test_others_have_their_turn_after_some() -> None:
    calls = [accepted(number) for number in range(2 * PAGE + 1)]
    world = World(*calls)
    assert world.tell() == 2
    assert [len(ids) for ids in world.asked] == [PAGE, PAGE, 1]
    assert {event.call.id for event in world.told if isinstance(event, Attempted)} == {
        call.id for call in calls
    }
