"""What waits to be written is bounded, and is written in pieces."""

import itertools
from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from mspc.journal import gathering
from mspc.journal.events import Accepted, Event
from mspc.journal.gathering import Gathered, Shared
from tests.support.happened import accepted, decided, failed


class NoFeed:
    """Nobody listens."""

    shared = keeps = False

    def start(self, arrived: object, after: int | None) -> None: ...

    def publish(self, batch: bytes) -> None: ...

    def stop(self) -> None: ...


def test_beyond_a_number_of_events_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathering, "MOST_EVENTS", 2)
    gathered = Gathered(lambda: 0.0)
    assert [gathered.add(accepted(n)) for n in range(3)] == [True, True, False]
    assert not list(gathered.take(all_of_them=False))
    assert not gathered.add(accepted(3)), "what is kept back takes room, too"
    assert [len(chunk) for chunk in gathered.take(all_of_them=True)] == [2]
    assert gathered.add(accepted(4))


@pytest.mark.parametrize("make", [lambda call: call, failed])
def test_beyond_a_number_of_bytes_there_is_no_room(
    make: Callable[[Accepted], Event],
) -> None:
    gathered = Gathered(lambda: 0.0)
    large = make(replace(accepted(), body=b"x" * 2**20))
    count = 0
    while gathered.add(large):
        count += 1
    assert count == gathering.MOST_BYTES // 2**20


def test_all_that_has_gathered_is_taken_in_order_and_in_pieces() -> None:
    gathered = Gathered(lambda: 0.0)
    events: list[Event] = [accepted(n) for n in range(gathering.CHUNK_EVENTS + 1)]
    for number in (1000, 1001):
        large = replace(accepted(number), body=b"x" * gathering.CHUNK_BYTES)
        events.append(large)
    events.append(decided("paused", "http://a:80"))
    for event in events:
        gathered.add(event)
    chunks = list(gathered.take(all_of_them=True))
    assert [event for chunk in chunks for event in chunk] == events
    assert [len(chunk) for chunk in chunks] == [gathering.CHUNK_EVENTS, 2, 1, 1]
    assert not gathered


def turning() -> Gathered:
    """A turn is over whenever something is taken."""
    return Gathered(itertools.count(0.0, gathering.TURN_SECONDS * 1.5).__next__)


def taken(gathered: Gathered) -> list[Event]:
    chunks = gathered.take(all_of_them=False)
    return [event for chunk in chunks for event in chunk]


def test_an_attempt_tells_of_its_call_and_others_are_kept_back_for_a_turn() -> None:
    gathered = turning()
    first, second, third = (accepted(n) for n in range(3))
    gathered.add(first)
    gathered.add(second)
    gathered.add(failed(first))
    assert taken(gathered) == [failed(first)]
    assert gathered, "and one that is kept back"
    gathered.add(third)
    assert taken(gathered) == [second]
    gathered.add(failed(third))
    assert taken(gathered) == [failed(third)]
    assert not gathered
    assert taken(gathered) == []


def test_a_call_that_its_attempt_has_told_of_is_not_told_of_again() -> None:
    """RabbitMQ delivers it before it confirms it: the client's greenlet comes late."""
    gathered = turning()
    first, second = accepted(1), accepted(2)
    gathered.add(failed(first))
    gathered.add(first)
    gathered.add(failed(second))
    assert taken(gathered) == [failed(first), failed(second)]
    gathered.add(second)
    assert not gathered
    assert taken(gathered) == []


def test_an_attempt_that_could_not_read_its_call_does_not_tell_of_it() -> None:
    gathered = turning()
    unread = Accepted(accepted().id, accepted().at, "", "", "unreadable")
    gathered.add(failed(unread))
    gathered.add(accepted())
    assert taken(gathered) == [failed(unread)]
    assert taken(gathered) == [accepted()]


def test_what_was_told_is_forgotten_after_a_turn() -> None:
    gathered = turning()
    gathered.add(failed(accepted()))
    for _ in range(3):
        taken(gathered)
    gathered.add(accepted())
    assert gathered


def test_a_batch_that_is_whole_is_written_before_the_turn_is_over() -> None:
    now = 0.0
    gathered = Gathered(lambda: now)
    waiting, attempted = accepted(0), failed(accepted(1))
    gathered.add(waiting)
    whole = []
    for _ in range(gathering.BATCH_EVENTS):
        gathered.add(attempted)
        whole.append(gathered.is_batch)
    assert whole == [False] * (gathering.BATCH_EVENTS - 1) + [True]
    assert taken(gathered) == [attempted] * gathering.BATCH_EVENTS
    now = gathering.TURN_SECONDS
    assert taken(gathered) == [], "it was accepted in the turn that is over"
    now *= 2
    assert taken(gathered) == [waiting]


def test_after_a_long_turn_nothing_is_kept_back() -> None:
    now = 0.0
    gathered = Gathered(lambda: now)
    gathered.add(accepted(1))
    now = gathering.KEPT_BACK_SECONDS
    assert taken(gathered) == []
    gathered.add(accepted(2))
    now *= 2.1
    assert taken(gathered) == [accepted(1), accepted(2)]


def test_what_was_accepted_is_written_before_what_happened_later() -> None:
    """A kill between two transactions leaves out the newest."""
    gathered = Gathered(lambda: 0.0)
    gathered.add(accepted(1))
    gathered.add(failed(accepted(2)))
    chunks = list(gathered.take(all_of_them=True))
    assert chunks == [[accepted(1), failed(accepted(2))]]


def test_what_is_told_by_its_attempt_takes_no_room() -> None:
    gathered = Gathered(lambda: 0.0)
    for number in range(3):
        call = replace(accepted(number), body=b"x" * (gathering.MOST_BYTES // 2))
        gathered.add(call)
        assert gathered.add(failed(replace(call, body=b"")))
    assert len(taken(gathered)) == 3


def test_before_a_decision_is_what_it_may_be_about() -> None:
    gathered = turning()
    older, newer = accepted(1), accepted(2)
    gathered.add(older)
    assert taken(gathered) == []
    gathered.add(newer)
    gathered.add(decided("cancelled", older.id))
    gathered.add(accepted(3))
    assert taken(gathered) == [older, newer, decided("cancelled", older.id)]


def test_a_call_that_is_accepted_twice_is_told_of_twice() -> None:
    gathered = turning()
    gathered.add(accepted())
    gathered.add(accepted())
    assert taken(gathered) == [accepted()]
    assert taken(gathered) == [accepted()]
    assert not gathered


def test_batches_are_written_together_up_to_the_last_offset() -> None:
    shared = Shared(NoFeed(), lambda _: b"", lambda _: [])
    half = b"x" * (gathering.CHUNK_BYTES // 2)
    for offset in range(3):
        assert shared.add(half, offset)
    assert list(shared.take()) == [([half, half], 1), ([half], 2)]
    assert not shared
    while shared.add(half, 7):
        pass
    kept = sum(len(batch) for batches, _ in shared.take() for batch in batches)
    assert kept == gathering.MOST_BYTES


def test_what_cannot_be_encoded_is_not_published(
    caplog: pytest.LogCaptureFixture,
) -> None:
    published: list[bytes] = []

    class Listening(NoFeed):
        def publish(self, batch: bytes) -> None:
            published.append(batch)

    def encode(events: Sequence[Event]) -> bytes:
        if len(events) > 1:
            raise TypeError("no text")
        return b"one"

    shared = Shared(Listening(), encode, lambda _: [])
    shared.publish([accepted(1), accepted(2)])
    shared.publish([accepted(3)])
    assert published == [b"one"]
    assert "2 events were not published: no text" in caplog.text


def test_what_comes_back_is_not_read_again_but_has_its_place() -> None:
    read: list[bytes] = []

    def decode(batch: bytes) -> list[Event]:
        read.append(batch)
        return []

    shared = Shared(NoFeed(), lambda _: b"own", decode)
    shared.publish([accepted()])
    shared.add(b"other", 4)
    shared.add(b"own", 5)
    ((batches, offset),) = shared.take()
    shared.decoded(batches)
    assert (read, offset) == ([b"other"], 5)
