"""What happened while nothing could be written is told when there is room again."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from mspc.calls.accepted import Accepted as Remembered
from mspc.calls.call import Call, first_call_id
from mspc.calls.networks import NetworkRules
from mspc.calls.requests import Requests
from mspc.errors import JournalUnavailable
from mspc.journal import gathering
from mspc.journal.events import accepted
from mspc.journal.gathering import Feed, Shared
from mspc.journal.journal import Journal
from mspc.journal.keeper import RETRY_SECONDS
from mspc.journal.room import LEAST_MARGIN_BYTES
from mspc.journal.wire import decode, encode
from mspc.process.disk import reserve_of
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.settings.config import SqliteConfig
from mspc.steering.ended import Ended
from mspc.steering.missed import Missed
from tests.integration.journal.conftest import Journals, fill
from tests.support.happened import DESTINATION, decided
from tests.support.happened import NOW as HAPPENED
from tests.support.opened import Opened
from tests.support.waiting import eventually

PAYLOAD = b'{"url": "http://a.example/"}'
PAUSED = decided("paused", DESTINATION)
# Of the clock: the queue looks for no call of a later time.
NOW = time.time() - 600


def call(number: int) -> Call:
    at = NOW + number
    return Call(PAYLOAD, f"{first_call_id(at)[:-1]}1", at)


class Nobody:
    """A stream that nobody else reads."""

    shared = keeps = True

    def start(self, arrived: object, offset: object) -> None: ...

    def publish(self, batch: bytes) -> None: ...

    def stop(self) -> None: ...


class World:
    """A journal and an embedded queue."""

    def __init__(self, journals: Journals, journal: Path, queue: Path) -> None:
        self.journal: Journal = journals(journal)
        self.opened = Opened(SqliteQueue(SqliteConfig(queue)))
        self.requests = Requests(NetworkRules(), Remembered())
        self.missed = Missed(
            self.opened.queue,
            self.journal,
            self.requests.read,
            Ended(
                *(self.opened.queue, self.journal, self.journal),
                lambda call_id: False,
                tuple,
            ),
            self,
            "here",
            lambda event, seconds: None,
            journals.clock,
        )

    def remind(self) -> None:
        self.journal.record(PAUSED)

    def finish(self, last_at: float) -> Iterator[None]:
        return iter(())

    def doubt(self, since: float | None) -> None: ...

    def accept(self, one: Call) -> None:
        self.opened.queue.put(one)
        request = self.requests.read(one)
        self.journal.record(accepted(one, request, 0, NOW + 60))

    def state(self, one: Call) -> str:
        seen = self.journal.call(one.id)
        return "unknown" if seen is None else seen.state


@pytest.fixture
def world(journals: Journals, tiny_disk: Path, tmp_path: Path) -> World:
    return World(journals, tiny_disk / "journal.db", tmp_path / "queue.db")


def test_after_a_full_disk(world: World, journals: Journals, tiny_disk: Path) -> None:
    journal, opened = world.journal, world.opened
    before, after, dead = (call(number) for number in (1, 2, 3))
    journals.clock.now = NOW + 60
    world.accept(before)
    assert world.state(before) == "queued"
    ballast = fill(tiny_disk)
    opened.take().ack()  # and nobody can write that down, nor what follows
    world.accept(dead)
    one = opened.take()
    one.bury(one.call, "max_attempts")
    world.accept(after)
    assert (world.state(before), world.state(after)) == ("queued", "unknown")
    assert journal.dropped
    assert not journal.to_make_up.is_set()

    ballast.unlink()
    journals.timer.now += RETRY_SECONDS
    journal.tally()
    assert journal.to_make_up.is_set()
    assert journal.cut_off()
    assert journal.last_at() == call(1).accepted_at
    world.missed.make_up()
    assert world.state(before) == "succeeded"
    assert (world.state(dead), world.state(after)) == ("dead", "queued")
    assert journal.decisions(DESTINATION) == [PAUSED]
    assert not journal.cut_off()
    assert not journal.to_make_up.is_set()
    opened.close()


def test_until_then_a_restart_knows_from_when_on(
    world: World, journals: Journals, tiny_disk: Path
) -> None:
    journal, file = world.journal, tiny_disk / "journal.db"
    world.accept(call(1))
    journal.tally()
    ballast = fill(tiny_disk)
    world.accept(call(2))
    journal.tally()
    ballast.unlink()
    journals.timer.now += RETRY_SECONDS
    world.accept(call(3))
    journal.tally()
    journal.stop()
    again = journals(file)
    assert again.cut_off()
    assert again.last_at() == call(1).accepted_at
    world.opened.close()


def test_a_full_disk_is_no_reason_to_forget_nothing(
    journals: Journals, tiny_disk: Path
) -> None:
    """What is forgotten may make the room."""
    journal = journals(tiny_disk / "journal.db", days=1)
    old = call(0)
    request = Requests(NetworkRules(), Remembered()).read(old)
    event = accepted(old, request, 0, NOW)
    journal.record(event)
    journal.record(replace(decided("cancelled", old.id), at=NOW + 1))
    assert journal.call(old.id) is not None
    least = reserve_of(8 * 2**20) + LEAST_MARGIN_BYTES
    free = shutil.disk_usage(tiny_disk).free
    (tiny_disk / "ballast").write_bytes(bytes(free - least + 2**16))
    journal.record(event)
    journal.tally()
    assert "is nearly full" in (journal.problem() or "")
    journals.clock.now = NOW + 3 * 86_400
    journals.timer.now += RETRY_SECONDS
    eventually(lambda: journal.call(old.id) is None)
    assert "is nearly full" in (journal.problem() or "")


def test_a_file_that_was_opened_late_is_no_new_one(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    first = journals(path)
    first.record(decided("paused", DESTINATION, after=NOW - HAPPENED))
    first.tally()
    second = journals(path)  # in vain: it is in use
    second.record(PAUSED)
    with pytest.raises(JournalUnavailable):
        second.tally()
    first.stop()
    assert (second.dropped, second.to_make_up.is_set()) == (1, False)
    journals.timer.now += RETRY_SECONDS
    second.tally()
    assert second.to_make_up.is_set()
    assert (second.cut_off(), second.last_at()) == (True, NOW)
    second.completed()  # not yet: nobody has looked for it
    assert second.cut_off()
    second.to_make_up.clear()
    second.completed()
    assert not second.cut_off()


def test_a_file_that_was_opened_on_a_full_disk_says_later_that_it_is_in_use(
    journals: Journals, tiny_disk: Path, tmp_path: Path
) -> None:
    journals(tiny_disk / "journal.db").stop()
    ballast = fill(tiny_disk)
    journal = journals(tiny_disk / "journal.db")
    assert journal.problem()
    ballast.unlink()
    journals.timer.now += RETRY_SECONDS
    journal.record(PAUSED)
    journal.tally()
    assert journal.dropped == 0
    killed = tmp_path / "killed"
    shutil.copytree(tiny_disk, killed)
    assert journals(killed / "journal.db").cut_off()


def test_a_new_file_knows_that_it_knows_nothing_until_it_is_completed(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    journal = journals(path)
    assert (journal.last_at(), journal.cut_off()) == (0.0, False)
    journal.knows_nothing()
    for _ in range(2):
        journal.record(PAUSED)
        journal.stop()
        journal = journals(path)
        assert journal.cut_off()
        assert 0 < journal.last_at() < 1
    journal.completed()
    journal.stop()
    assert not journals(path).cut_off()


def test_what_comes_after_an_overflow_is_a_loss_that_is_known_before_it(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    journal = journals(path)
    before = replace(PAUSED, at=NOW)
    journal.record(before)
    journal.tally()
    for _ in range(gathering.MOST_EVENTS + 1):
        journal.record(replace(PAUSED, at=NOW + 9))
    assert journal.dropped == 1
    journal.tally()
    assert journal.to_make_up.is_set()
    assert (journal.cut_off(), journal.last_at()) == (True, NOW)


def test_what_the_stream_has_is_not_missing(
    journals: Journals, tiny_disk: Path
) -> None:
    """The next start reads it again; nobody says then that mspc was killed."""
    file = tiny_disk / "journal.db"
    shared = Shared(cast(Feed, Nobody()), encode, decode)
    journal = journals(file, shared)
    journal.tally()
    ballast = fill(tiny_disk)
    journal.record(PAUSED)
    journal.tally()
    assert journal.dropped == 1
    ballast.unlink()
    journals.timer.now += RETRY_SECONDS
    journal.tally()
    assert not journal.to_make_up.is_set()
    journal.stop()
    assert not journals(file, shared).cut_off()


def test_what_a_stream_that_is_refused_does_not_have_is_missing(
    journals: Journals, tiny_disk: Path
) -> None:
    file, nobody = tiny_disk / "journal.db", Nobody()
    nobody.keeps = False
    shared = Shared(cast(Feed, nobody), encode, decode)
    journal = journals(file, shared)
    journal.tally()
    ballast = fill(tiny_disk)
    journal.record(PAUSED)
    journal.tally()
    ballast.unlink()
    journals.timer.now += RETRY_SECONDS
    journal.tally()
    assert journal.to_make_up.is_set()
    journal.stop()
    assert journals(file, shared).cut_off()
