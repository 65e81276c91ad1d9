"""Several instances that tell each other what happened."""

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gevent
import pytest

from mspc.errors import JournalUnavailable
from mspc.journal import gathering
from mspc.journal.events import Decided
from mspc.journal.gathering import Shared
from mspc.journal.journal import Journal
from mspc.journal.keeper import RETRY_SECONDS
from tests.integration.journal.conftest import Journals, questions_to
from tests.support.happened import DESTINATION, NOW, accepted, decided, died, failed
from tests.support.waiting import eventually


class Stream:
    """What is published comes to all who have begun to read, at once."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.readers: list[Reader] = []

    def publish(self, batch: bytes) -> None:
        self.batches.append(batch)
        for reader in self.readers:
            reader.catch_up()


class Reader:
    """A Feed.

    Attributes:
        began: after which offset it was told to begin, each time.
    """

    shared = keeps = True

    def __init__(self, stream: Stream) -> None:
        self.began: list[int | None] = []
        self._stream = stream
        self._next = 0
        self._arrived: Callable[[bytes, int], None] | None = None

    def start(self, arrived: Callable[[bytes, int], None], after: int | None) -> None:
        self.began.append(after)
        self._arrived = arrived
        self._next = 0 if after is None else after + 1
        self._stream.readers.append(self)
        self.catch_up()

    def catch_up(self) -> None:
        while self._arrived is not None and self._next < len(self._stream.batches):
            offset = self._next
            self._next += 1
            self._arrived(self._stream.batches[offset], offset)

    def publish(self, batch: bytes) -> None:
        self._stream.publish(batch)

    def stop(self) -> None:
        self._arrived = None
        if self in self._stream.readers:
            self._stream.readers.remove(self)


class Instances:
    """Journals with one stream."""

    def __init__(self, journals: Journals, folder: Path) -> None:
        self.stream = Stream()
        self.readers: list[Reader] = []
        self._journals = journals
        self._folder = folder

    def start(self, name: str) -> Journal:
        reader = Reader(self.stream)
        self.readers.append(reader)
        shared = Shared(reader, pickle.dumps, pickle.loads)
        return self._journals(self._folder / f"{name}.db", shared)


def test_each_instance_answers_for_all(journals: Journals, tmp_path: Path) -> None:
    instances = Instances(journals, tmp_path)
    one, other = instances.start("one"), instances.start("other")
    call = accepted()
    one.record(call)
    one.tally()
    other.record(died(call))
    other.tally()
    for journal in (one, other):
        assert journal.tally().states == {"dead": 1}
        assert len(journal.attempts(call.id)) == 1
        assert sum(journal._keeper.known.counters.rates(NOW).accepted) == 1
        assert journal.scope == "all"
    assert one.calls() == other.calls()


def test_where_only_its_own_came_back_nobody_asks_the_file_again(
    journals: Journals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to where the stream was read is noted, which changes no answer."""
    instances = Instances(journals, tmp_path)
    one, other = instances.start("one"), instances.start("other")
    one.record(accepted(0))
    due = one.tally().oldest_due
    eventually(lambda: one._keeper.version())
    assert one.tally().oldest_due == due
    asked = questions_to(one, monkeypatch)
    instances.stream.publish(instances.stream.batches[0])
    eventually(lambda: one._keeper._offset is None and one._keeper.version())
    assert one.tally().oldest_due == due
    assert asked == []
    other.record(accepted(1))
    other.tally()
    assert one.tally().states == {"queued": 2}
    assert asked


def test_a_decision_holds_on_all_instances_once(
    journals: Journals, tmp_path: Path
) -> None:
    instances = Instances(journals, tmp_path)
    one, other = instances.start("one"), instances.start("other")
    heard: list[tuple[str, Decided]] = []
    one.listen(lambda event: heard.append(("one", event)))
    other.listen(lambda event: heard.append(("other", event)))
    paused = decided("paused", DESTINATION)
    one.record(paused)
    for _ in range(2):
        one.tally()
        other.tally()
    assert heard == [("one", paused), ("other", paused)]
    assert other.decisions() == [paused]


def test_a_new_instance_reads_from_the_first_and_goes_on_where_it_was(
    journals: Journals, tmp_path: Path
) -> None:
    instances = Instances(journals, tmp_path)
    one = instances.start("one")
    call = accepted()
    one.record(call)
    one.tally()
    other = instances.start("other")
    assert other.tally().states == {"queued": 1}
    other.stop()
    one.record(failed(call))
    one.tally()
    again = instances.start("other")
    assert again.tally().states == {"waiting": 1}
    assert [reader.began for reader in instances.readers] == [[None], [None], [0]]


def test_what_comes_back_of_its_own_is_not_read_again_after_a_start(
    journals: Journals, tmp_path: Path
) -> None:
    instances = Instances(journals, tmp_path)
    one = instances.start("one")
    for number in range(3):
        one.record(accepted(number))
        one.tally()
    one.stop()
    instances.start("one")
    assert [reader.began for reader in instances.readers] == [[None], [2]]


def test_a_decision_from_before_a_start_is_not_told_again(
    journals: Journals, tmp_path: Path
) -> None:
    instances = Instances(journals, tmp_path)
    one = instances.start("one")
    one.record(decided("paused", DESTINATION))
    one.tally()
    one.tally()
    one.stop()
    heard: list[Decided] = []
    again = instances.start("one")
    again.listen(heard.append)
    again.tally()
    assert not heard


def test_a_new_file_is_filled_from_the_stream(
    journals: Journals, tmp_path: Path
) -> None:
    instances = Instances(journals, tmp_path)
    one = instances.start("one")
    one.record(accepted())
    one.tally()
    one.tally()
    one.stop()
    (tmp_path / "one.db").write_bytes(b"damaged" * 999)
    assert instances.start("one").tally().states == {"queued": 1}


def test_what_was_missed_is_read_at_the_next_start(
    journals: Journals, tmp_path: Path
) -> None:
    instances = Instances(journals, tmp_path)
    one, other = instances.start("one"), instances.start("other")
    calls = [accepted(number, NOW + number) for number in range(3)]
    one.record(calls[0])
    one.tally()
    assert other.tally().states == {"queued": 1}
    # Lost behind its back: what comes next is not written, and a new file begun.
    other._keeper._store.drop()
    (tmp_path / "other.db").write_bytes(b"damaged" * 9999)
    for call in calls[1:]:
        one.record(call)
        one.tally()
        journals.timer.now += RETRY_SECONDS
        with suppress(JournalUnavailable):  # once, and it is opened again
            other.summary()
    other.summary()
    other.stop()
    assert instances.start("other").tally().states == {"queued": 3}


def test_a_pause_is_heard_although_nothing_can_be_written(
    journals: Journals, tmp_path: Path
) -> None:
    instances = Instances(journals, tmp_path)
    one = instances.start("one")
    (tmp_path / "file").write_text("")
    reader = Reader(instances.stream)
    shared = Shared(reader, pickle.dumps, pickle.loads)
    other = journals(tmp_path / "file" / "other.db", shared)
    heard: list[Decided] = []
    one.listen(heard.append)
    other.listen(heard.append)
    paused = decided("paused", DESTINATION)
    other.record(paused)
    other.stop()
    one.tally()
    assert heard == [paused, paused]


def test_a_new_instance_reads_all_however_much_it_is(
    journals: Journals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than there is room for at once: the reader waits, nothing is left out."""
    monkeypatch.setattr(gathering, "MOST_EVENTS", 3)
    stream = Stream()
    calls = [accepted(number, NOW + number) for number in range(20)]
    stream.batches = [pickle.dumps([call]) for call in calls]

    class InItsOwnGreenlet(Reader):
        def start(
            self, arrived: Callable[[bytes, int], None], after: int | None
        ) -> None:
            gevent.spawn(super().start, arrived, after)

    reader = InItsOwnGreenlet(stream)
    new = journals(tmp_path / "new.db", Shared(reader, pickle.dumps, pickle.loads))
    eventually(lambda: new.tally().states == {"queued": len(calls)})
    assert new.dropped == 0
