"""What waits to be written is bounded, and is written in pieces."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from mspc.journal import gathering
from mspc.journal.events import Accepted, Event
from mspc.journal.gathering import Gathered, Shared
from tests.support.happened import accepted, decided, failed


class NoFeed:
    """Nobody listens."""

    shared = False

    def start(self, arrived: object, after: int | None) -> None: ...

    def publish(self, batch: bytes) -> None: ...

    def stop(self) -> None: ...


def test_beyond_a_number_of_events_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathering, "MOST_EVENTS", 2)
    gathered = Gathered()
    assert [gathered.add(accepted(n)) for n in range(3)] == [True, True, False]
    assert [len(chunk) for chunk in gathered.take()] == [2]
    assert gathered.add(accepted(4))


@pytest.mark.parametrize("make", [lambda call: call, failed])
def test_beyond_a_number_of_bytes_there_is_no_room(
    make: Callable[[Accepted], Event],
) -> None:
    gathered = Gathered()
    large = make(replace(accepted(), body=b"x" * 2**20))
    count = 0
    while gathered.add(large):
        count += 1
    assert count == gathering.MOST_BYTES // 2**20


def test_all_that_has_gathered_is_taken_in_order_and_in_pieces() -> None:
    gathered = Gathered()
    events: list[Event] = [accepted(n) for n in range(gathering.CHUNK_EVENTS + 1)]
    events += [replace(accepted(), body=b"x" * gathering.CHUNK_BYTES)] * 2
    events.append(decided("paused", "http://a:80"))
    for event in events:
        gathered.add(event)
    chunks = list(gathered.take())
    assert [event for chunk in chunks for event in chunk] == events
    assert [len(chunk) for chunk in chunks] == [gathering.CHUNK_EVENTS, 2, 1, 1]
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


def test_what_comes_back_is_not_read_again_but_has_its_place() -> None:
    read: list[bytes] = []

    def decode(batch: bytes) -> list[Event]:
        read.append(batch)
        return []

    shared = Shared(NoFeed(), lambda _: b"", decode)
    shared.publish(b"own")
    shared.add(b"other", 4)
    shared.add(b"own", 5)
    ((batches, offset),) = shared.take()
    shared.decoded(batches)
    assert (read, offset) == ([b"other"], 5)
