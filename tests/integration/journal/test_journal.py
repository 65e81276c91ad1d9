"""The journal with a real file: what survives, and what goes wrong with it."""

import logging
import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from gevent import Greenlet
from msgspec.structs import replace

from mspc.errors import JournalUnavailable
from mspc.journal import gathering, reading
from mspc.journal.base import Filter, Group, Seen, Tally
from mspc.journal.changes import Changes
from mspc.journal.events import Decided, Event
from mspc.journal.file import open_file
from mspc.journal.journal import Journal
from mspc.journal.keeper import IDLE_SECONDS, RETRY_SECONDS, TIDY_REST_SECONDS
from mspc.journal.leisure import LONGEST_REST_SECONDS, Leisure
from mspc.journal.nothing import NoJournal
from mspc.journal.room import LEAST_MARGIN_BYTES
from mspc.journal.store import Store
from mspc.journal.writing import Writer
from mspc.process.disk import reserve_of
from mspc.settings.config import JournalConfig
from tests.integration.journal.conftest import Journals, fill, questions_to
from tests.support.beside import somebody_beside
from tests.support.clock import Clock
from tests.support.happened import (
    DESTINATION,
    NOW,
    accepted,
    decided,
    died,
    failed,
    succeeded,
)

DEAD = Filter(states=frozenset({"dead"}))


def record(journal: Journal, *events: Event) -> None:
    for event in events:
        journal.record(event)


def state(journal: Journal, call_id: str) -> str:
    seen = journal.call(call_id)
    assert seen is not None
    return seen.state


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [one for one in caplog.records if one.levelno >= logging.WARNING]
    return [one.getMessage() for one in found]


def test_each_answer_has_what_was_recorded_before(
    journals: Journals, tmp_path: Path
) -> None:
    journal = journals(tmp_path / "journal.db")
    call = accepted()
    journal.record(call)
    assert state(journal, call.id) == "queued"
    journal.record(failed(call))
    assert [one.number for one in journal.attempts(call.id)] == [1]
    journal.record(died(call, 2, 90))
    assert [seen.id for seen in journal.calls(DEAD).calls] == [call.id]
    assert journal.destinations()[DESTINATION].states == {"dead": 1}
    assert journal.groups()[0].latest_id == call.id
    journal.record(decided("retried", call.id, after=200))
    assert not journal.groups()
    assert journal.tally().states == {"queued": 1}
    assert journal.tally().oldest_due == NOW + 200
    assert [one.kind for one in journal.decisions(call.id)] == ["retried"]
    journals.clock.now = NOW + 60
    assert sum(journal.summary().minutes.attempts) == 2
    assert (journal.scope, journal.dropped, journal.problem()) == ("instance", 0, None)


def test_of_dead_letters_the_first_and_the_latest_are_those_that_are_left(
    journals: Journals, tmp_path: Path
) -> None:
    journal = journals(tmp_path / "journal.db")
    calls = [accepted(number, NOW + number) for number in range(4)]
    record(journal, *map(died, calls))
    journal.record(decided("deleted", calls[0].id, calls[3].id))
    (group,) = journal.groups()
    ends = group.count, group.first_at, group.last_at, group.latest_id
    assert ends == (2, NOW + 2.25, NOW + 3.25, calls[2].id)


def test_an_answer_has_what_was_recorded_while_others_were_written(
    journals: Journals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "CHUNK_EVENTS", 1)
    journal = journals(tmp_path / "journal.db")
    call = accepted()
    asked: list[Greenlet[..., Seen | None]] = []

    def between_two_transactions(event: Decided) -> None:
        if event.kind == "paused":
            journal.record(call)
            asked.append(Greenlet.spawn(journal.call, call.id))

    journal.listen(between_two_transactions)
    record(journal, decided("paused", DESTINATION), decided("resumed", DESTINATION))
    journal.tally()
    (answer,) = asked
    assert answer.get() is not None


def test_what_goes_on_writes_nothing_first(journals: Journals, tmp_path: Path) -> None:
    """A long page is read in several looks: what is new is for the next one."""
    journal = journals(tmp_path / "journal.db")
    journal.tally()

    def calls(db: sqlite3.Connection) -> int:
        (found,) = db.execute("SELECT count(*) FROM calls").fetchone()
        return int(found)

    journal.record(accepted())
    assert journal._keeper.ask(calls, goes_on=True) == 0
    assert journal._keeper.ask(calls) == 1
    assert len(journal.calls().calls) == 1


def test_a_page_of_several_looks(
    journals: Journals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOK_CALLS", 2)
    journal = journals(tmp_path / "journal.db")
    record(journal, *(accepted(number) for number in range(7)))
    first = journal.calls(limit=5)
    rest = journal.calls(after=first.next)
    found = [seen.id for page in (first, rest) for seen in page.calls]
    assert sorted(found) == [accepted(number).id for number in range(7)]
    assert (len(first.calls), rest.next) == (5, None)


def test_others_have_their_turn_between_two_looks(
    journals: Journals, tmp_path: Path
) -> None:
    journal = journals(tmp_path / "journal.db")
    calls = 10 * reading.LOOK_CALLS
    record(journal, *(accepted(number) for number in range(calls)))
    with somebody_beside() as other:
        assert len(journal.calls(limit=calls).calls) == calls
    assert other.turns >= 9


@pytest.mark.parametrize("busy", [True, False])
def test_a_page_rests_while_calls_come_and_go(
    busy: bool, journals: Journals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOK_CALLS", 2)
    journal = journals(tmp_path / "journal.db")
    record(journal, *(accepted(number) for number in range(7)))
    now, slept = Clock(), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now.now += seconds

    leisure = Leisure(journal._keeper.is_busy, now, sleep)
    monkeypatch.setattr(journal, "_leisure", leisure)
    found = 0
    for page in journal.looks():
        found += len(page.calls)
        now.now += 0.25  # whatever is done with them
        if busy:
            journal.record(accepted(found + 100))
    assert found == 7
    assert slept == pytest.approx([LONGEST_REST_SECONDS] * 3 if busy else [])


def test_only_the_owner_can_read_the_file(journals: Journals, tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.db"
    journal = journals(path)
    journal.record(accepted())
    journal.tally()
    for one in path.parent.iterdir():
        assert one.stat().st_mode & 0o777 == 0o600, one


def test_what_was_recorded_is_there_after_a_stop(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    journal = journals(path)
    call = accepted()
    record(journal, call, died(call))
    journal.stop()
    assert [one.name for one in tmp_path.iterdir()] == ["journal.db"]
    again = journals(path)
    assert again.tally().states == {"dead": 1}
    assert again.groups()[0].count == 1
    assert again.last_at() == NOW + 1


def test_what_was_written_is_there_after_the_process_was_killed(
    journals: Journals, tmp_path: Path
) -> None:
    journal = journals(tmp_path / "journal.db")
    call = accepted()
    record(journal, call, failed(call))
    journal.tally()
    left = tmp_path / "left"
    left.mkdir()
    for one in tmp_path.glob("journal.db*"):
        shutil.copy(one, left)
    again = journals(left / "journal.db")
    assert again.tally().states == {"waiting": 1}
    assert again.problem() is None
    assert again.cut_off()


def test_a_file_that_was_closed_has_everything(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    for _ in range(2):
        journal = journals(path)
        record(journal, accepted())
        assert not journal.cut_off()
        journal.stop()


def alter(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


def test_a_file_for_which_there_was_too_much_has_not(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    journal = journals(path)
    for _ in range(gathering.MOST_EVENTS + 1):
        journal.record(accepted())
    journal.stop()
    assert journal.dropped
    assert journals(path).cut_off()


def test_a_file_that_was_not_completed_is_cut_off_until_it_is(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    journals(path).stop()
    alter(path, "UPDATE position SET value = 0 WHERE name = 'closed'")
    for _ in range(2):
        journal = journals(path)
        assert journal.cut_off()
        journal.stop()
    journal = journals(path)
    journal.completed()
    assert not journal.cut_off()
    journal.stop()
    assert not journals(path).cut_off()


def test_when_a_file_was_cut_off_is_known_until_it_is_completed(
    journals: Journals, tmp_path: Path
) -> None:
    """What is written before does not tell of what was lost: the next start looks."""
    path = tmp_path / "journal.db"
    journal = journals(path)
    record(journal, accepted(1, NOW))
    journal.incomplete()
    journal.stop()
    for number in (2, 3):
        journal = journals(path)
        assert journal.cut_off()
        assert journal.last_at() == NOW
        record(journal, accepted(number, NOW + number))
        journal.stop()
    journal = journals(path)
    journal.completed()
    record(journal, accepted(4, NOW + 9))
    journal.tally()
    journal.incomplete()
    journal.stop()
    journal = journals(path)
    assert journal.cut_off()
    assert journal.last_at() == NOW + 9


def test_of_a_file_of_before_nobody_says_that_something_is_missing(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    journals(path).stop()
    alter(path, "DELETE FROM position WHERE name = 'closed'")
    assert not journals(path).cut_off()


def test_what_is_recorded_after_a_stop_is_dropped(
    journals: Journals, tmp_path: Path
) -> None:
    journal = journals(tmp_path / "journal.db")
    journal.stop()
    journal.record(accepted())
    assert journal.dropped == 1
    with pytest.raises(JournalUnavailable, match="closed"):
        journal.tally()


def test_it_can_be_stopped_without_a_start_and_twice(tmp_path: Path) -> None:
    journal = Journal(JournalConfig(tmp_path / "journal.db"))
    journal.stop()
    journal.stop()
    assert not list(tmp_path.iterdir())


def test_what_there_is_no_room_for_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MOST_EVENTS", 3)
    journal = Journal(JournalConfig(tmp_path / "journal.db"))
    record(journal, *(accepted(number) for number in range(5)))
    assert journal.dropped == 2
    journal.start()
    assert journal.tally().states == {"queued": 3}
    journal.stop()


def test_an_event_that_cannot_be_written_is_dropped_alone(
    journals: Journals, tmp_path: Path
) -> None:
    journal = journals(tmp_path / "journal.db")
    record(journal, replace(accepted(1), url="http://\ud800/"), accepted(2))
    assert journal.tally().states == {"queued": 1}
    assert (journal.dropped, journal.problem()) == (1, None)


@pytest.mark.parametrize(
    "left", [b"no database at all" * 99, b"SQLite format 3\0" * 99]
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    journals: Journals,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    left: bytes,
) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(left)
    path.with_name("journal.db.damaged").write_bytes(b"an older one")
    journal = journals(path)
    journal.record(accepted())
    assert journal.tally().states == {"queued": 1}
    assert journal.problem() is None
    assert path.with_name("journal.db.damaged").read_bytes() == left
    (line,) = warnings(caplog)
    assert "journal.db was damaged" in line


def test_a_file_of_another_program_or_layout_is_set_aside(
    journals: Journals, tmp_path: Path
) -> None:
    for number, statement in enumerate(
        ("CREATE TABLE theirs (a)", "PRAGMA user_version = 99")
    ):
        path = tmp_path / f"{number}.db"
        if number:
            journals(path).stop()
        db = sqlite3.connect(path)
        db.execute(statement)
        db.close()
        assert journals(path).tally().states == {}
        assert path.with_name(f"{number}.db.damaged").exists()


def test_damage_that_is_found_later_costs_the_journal_and_nothing_else(
    journals: Journals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.db"
    db = open_file(path, journals.timer)
    writer = Writer(db)
    large = [replace(accepted(n, NOW + n), body=b"x" * 3000) for n in range(9000)]
    for place in range(0, len(large), 500):
        writer.write(large[place : place + 500])
    db.close()
    journal = journals(path)
    assert journal.tally().states == {"queued": 9000}
    # More than its cache holds, so that it is read again.
    with path.open("r+b") as file:
        file.seek(64 * 4096)
        file.write(b"\xff" * (path.stat().st_size - 64 * 4096))
    with pytest.raises(JournalUnavailable):
        [journal.call(call.id) for call in large]
    journal.record(accepted(1))
    assert journal.tally().states == {"queued": 1}
    assert (journal.problem(), journal.dropped) == (None, 0)
    assert journal.to_make_up.is_set()
    assert journal.cut_off()
    assert 0 < journal.last_at() < 1  # all of it
    journal.stop()
    journal = journals(path)
    assert journal.cut_off()
    assert 0 < journal.last_at() < 1
    assert path.with_name("journal.db.damaged").exists()
    (line,) = warnings(caplog)
    assert "journal.db was damaged" in line


def test_on_a_full_disk_events_are_dropped_until_there_is_room(
    journals: Journals, tiny_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    journal = journals(tiny_disk / "journal.db")
    kept = accepted(0)
    journal.record(kept)
    assert state(journal, kept.id) == "queued"
    ballast = fill(tiny_disk)
    large = [replace(accepted(n), body=b"x" * 4096) for n in range(1, 600)]
    record(journal, *large)
    assert state(journal, kept.id) == "queued"
    assert "cannot be written" in (journal.problem() or "")
    assert journal.dropped == len(large)
    ballast.unlink()
    journal.record(large[0])
    journal.tally()
    assert journal.dropped == len(large) + 1
    journals.timer.now += RETRY_SECONDS
    journal.record(large[1])
    assert state(journal, large[1].id) == "queued"
    assert journal.problem() is None
    lines = [one.getMessage() for one in caplog.records]
    first, last = [line for line in lines if line.startswith("The journal")]
    assert "events are dropped" in first
    assert "written again" in last


def test_what_is_left_of_a_disk_is_left_to_the_queue(
    journals: Journals, tiny_disk: Path
) -> None:
    journal = journals(tiny_disk / "journal.db")
    kept = accepted(0)
    journal.record(kept)
    assert state(journal, kept.id) == "queued"
    least = reserve_of(8 * 2**20) + LEAST_MARGIN_BYTES
    free = shutil.disk_usage(tiny_disk).free
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(free - least + 2**16))
    before = shutil.disk_usage(tiny_disk).free
    large = [replace(accepted(n), body=b"x" * 4096) for n in range(1, 100)]
    record(journal, *large)
    assert state(journal, kept.id) == "queued"
    assert "is nearly full" in (journal.problem() or "")
    assert journal.dropped == len(large)
    assert shutil.disk_usage(tiny_disk).free == before
    ballast.unlink()
    journals.timer.now += RETRY_SECONDS
    journal.record(large[0])
    assert state(journal, large[0].id) == "queued"
    assert journal.problem() is None


def test_a_transaction_takes_less_than_is_kept_beside_the_reserve(
    journals: Journals, tiny_disk: Path
) -> None:
    journal = journals(tiny_disk / "journal.db")
    journal.record(accepted(0))
    journal.tally()
    ballast = tiny_disk / "ballast"
    least = reserve_of(8 * 2**20) + LEAST_MARGIN_BYTES
    ballast.write_bytes(bytes(shutil.disk_usage(tiny_disk).free - least - 2**16))
    large = [replace(accepted(n), body=b"x" * 4096) for n in range(1, 1000)]
    record(journal, *large)
    journal.tally()
    assert 0 < journal.dropped < len(large)
    assert shutil.disk_usage(tiny_disk).free > reserve_of(8 * 2**20)


def test_a_folder_that_cannot_be_made_leaves_it_without_a_file(
    journals: Journals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "journal.db"
    journal = journals(path)
    journal.record(accepted())
    with pytest.raises(JournalUnavailable, match="cannot be written"):
        journal.tally()
    assert journal.dropped == 1
    assert len(warnings(caplog)) == 1
    (tmp_path / "file").unlink()
    journals.timer.now += RETRY_SECONDS
    assert journal.tally().states == {}
    assert journal.problem() is None


def test_a_file_that_another_one_has_is_left_alone(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    first = journals(path)
    first.record(accepted())
    first.tally()
    with pytest.raises(JournalUnavailable, match="in use"):
        journals(path).tally()
    assert first.tally().states == {"queued": 1}


def test_what_is_forgotten_gives_its_space_back(
    journals: Journals, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    journal = journals(path)
    for number in range(4000):
        call = replace(accepted(number, NOW + number), body=b"x" * 4096)
        record(journal, call, succeeded(call))
        if number % 500 == 499:
            journal.tally()
    journal.stop()
    before = path.stat().st_size
    journal = journals(path, max_calls=10)
    for _ in range(200):
        journals.timer.now += TIDY_REST_SECONDS
        journal.decisions()
    assert journal.tally().states == {"succeeded": 10}
    journal.stop()
    assert before > 16 * 2**20
    assert path.stat().st_size < 6 * 2**20
    assert os.listdir(tmp_path) == ["journal.db"]


def test_what_is_asked_does_not_wait_for_tidying_each_time(
    journals: Journals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    tidy = Store.tidy

    def counted(store: Store) -> Changes | None:
        nonlocal steps
        steps += 1
        return tidy(store)

    monkeypatch.setattr(Store, "tidy", counted)
    journal = journals(tmp_path / "journal.db")
    for _ in range(50):
        journal.decisions()
    assert steps == 1
    journals.timer.now += IDLE_SECONDS
    for _ in range(50):
        journal.decisions()
    assert steps == 2


def test_a_page_of_many_calls_looks_at_few(journals: Journals, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    db = open_file(path, journals.timer)
    db.execute("PRAGMA synchronous=OFF")
    writer = Writer(db)
    calls = 30_000
    for place in range(0, calls, 1000):
        events: list[Event] = []
        for number in range(place, place + 1000):
            call = accepted(number, NOW + number, f"http://h{number % 10}:80")
            events.append((died if number % 3 == 0 else succeeded)(call))
            if number % 1000 == 0:
                events[-1] = failed(call, 9)
        writer.write(events)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    for wanted, expected in (
        (Filter(attempts_min=9), 30),
        (Filter(states=frozenset({"waiting"})), 30),
        (Filter(states=frozenset({"waiting", "dead"}), attempts_min=9), 30),
        (Filter(destination="http://h0:80", attempts_min=9), 30),
        (Filter(label="nobody's"), 0),
        (Filter(states=frozenset({"dead"}), label="nobody's"), 0),
    ):
        found: list[Seen] = []
        after, most, looks = None, 0, 0
        while looks == 0 or after is not None:
            steps = 0
            db.set_progress_handler(step, 1000)
            look = reading.Looking(wanted, after, 100)(db)
            db.set_progress_handler(None, 0)
            most, looks = max(most, steps), looks + 1
            found += look.calls
            after = look.next
        assert len(found) == expected
        # Some fifty instructions of SQLite's for each of a thousand rows.
        assert most < 100, wanted
    db.close()


def test_without_a_journal_everything_goes_on_and_questions_say_why() -> None:
    nothing = NoJournal()
    nothing.start()
    assert not nothing.on
    nothing.record(accepted())
    with pytest.raises(JournalUnavailable, match="JOURNAL is 0") as caught:
        nothing.tally()
    assert caught.value.off
    nothing.stop()


def test_where_nothing_has_happened_nobody_asks_the_file_again(
    journals: Journals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way to the journal's thread and back is a wait for a processor."""
    journal = journals(tmp_path / "journal.db")
    record(journal, accepted(0), accepted(1), died(accepted(2)))

    def looked() -> tuple[Tally, dict[str, Tally], Sequence[Group]]:
        return journal.tally(), journal.destinations(), journal.groups()

    before = looked()  # which writes
    assert looked() == before
    asked = questions_to(journal, monkeypatch)
    assert looked() == before
    assert asked == []
    journal.record(accepted(3))
    tally, destinations, _ = looked()
    assert tally.states["queued"] == 3
    assert sum(one.states["queued"] for one in destinations.values()) == 3
    assert asked
