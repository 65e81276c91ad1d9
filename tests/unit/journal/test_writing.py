"""Events become rows, once each, and what cannot be written is in nobody's way."""

import pytest
from msgspec.structs import replace

from mspc.journal import reading
from mspc.journal import statements as sql
from mspc.journal.events import Attempted, Event
from mspc.journal.keys import key_of
from mspc.journal.writing import Writer
from tests.support.happened import (
    DESTINATION,
    NOW,
    accepted,
    call_id,
    decided,
    died,
    failed,
    in_memory,
    succeeded,
)

CALL = accepted()


def test_a_call_that_is_done_at_its_first_attempt_is_one_row() -> None:
    db = in_memory()
    Writer(db).write([CALL, succeeded(CALL)])
    assert db.execute("SELECT count(*) FROM calls").fetchone() == (1,)
    assert db.execute("SELECT count(*) FROM attempts").fetchone() == (0,)


@pytest.mark.parametrize(
    "event",
    [
        succeeded(CALL),
        succeeded(CALL, 3, 90),
        replace(succeeded(CALL), answer="thanks"),
        succeeded(replace(CALL, labels=(), headers=(), body=b"", max_attempts=1)),
        succeeded(replace(CALL, id="order-17")),
        # Another version of mspc may say more of a success.
        replace(succeeded(CALL), text="slowly"),
        replace(succeeded(CALL), error="unknown"),
        replace(succeeded(CALL), reason="permanent"),
        replace(succeeded(CALL), next_at=NOW + 9),
    ],
)
def test_what_was_delivered_is_written_as_any_call(event: Attempted) -> None:
    # Of one that is heard of twice there is more to say than that.
    once, twice = in_memory(), in_memory()
    changes = Writer(once).write([event])
    assert changes == Writer(twice).write([event, event])
    rows, expected = (db.execute("SELECT * FROM calls") for db in (once, twice))
    assert rows.fetchall() == expected.fetchall()
    assert reading.attempts_of(once, event.call.id) == reading.attempts_of(
        twice, event.call.id
    )


@pytest.mark.parametrize("before", [[], [CALL], [failed(CALL, 1, 0)]])
@pytest.mark.parametrize("after", [[], [CALL], [decided("cancelled", CALL.id)]])
def test_a_delivery_is_the_last_word(before: list[Event], after: list[Event]) -> None:
    events = [*before, succeeded(CALL, 2), *after]
    for batches in ([events], [[one] for one in events]):
        db = in_memory()
        writer = Writer(db)
        for batch in batches:
            writer.write(batch)
        assert writer.states["succeeded"] == sum(writer.states.values()) == 1
        seen = reading.one_call(db, CALL.id)
        assert seen is not None
        assert (seen.state, seen.attempts) == ("succeeded", 2)


def test_one_call_is_read_as_it_was_written() -> None:
    db = in_memory()
    Writer(db).write([CALL, failed(CALL), died(CALL, 2, 90)])
    seen = reading.one_call(db, CALL.id)
    assert seen is not None
    assert (seen.id, seen.url, seen.labels) == (CALL.id, CALL.url, CALL.labels)
    assert (seen.headers, seen.body, seen.body_bytes) == (CALL.headers, b"body", 4)
    assert (seen.state, seen.reason, seen.created_at) == ("dead", "permanent", NOW)
    assert seen.finished_at == NOW + 90.25
    assert seen.last is not None
    bare = replace(CALL, headers=(), body=b"", due=0.0)
    assert seen.last == replace(died(CALL, 2, 90), call=bare)


def test_attempts_are_those_that_failed_and_the_last_one() -> None:
    db = in_memory()
    writer = Writer(db)
    writer.write([CALL, failed(CALL, 1, 1)])
    writer.write([failed(CALL, 2, 70), succeeded(CALL, 3, 140)])
    found = reading.attempts_of(db, CALL.id)
    assert [one.number for one in found] == [1, 2, 3]
    assert [one.status for one in found] == [503, 503, 204]
    assert reading.attempts_of(db, "unknown") == []


def test_of_many_attempts_the_latest_are_kept() -> None:
    db = in_memory()
    writer = Writer(db)
    for number in range(1, sql.KEPT_ATTEMPTS + 11):
        writer.write([failed(CALL, number, number * 60)])
    numbers = [one.number for one in reading.attempts_of(db, CALL.id)]
    assert numbers == list(range(11, sql.KEPT_ATTEMPTS + 11))


def test_a_call_with_an_id_of_another_producer_is_known_again() -> None:
    db = in_memory()
    writer = Writer(db)
    call = replace(CALL, id="order-17")
    writer.write([call])
    writer.write([replace(failed(call), call=replace(call, at=NOW + 7))])
    assert db.execute("SELECT id, state FROM calls").fetchall() == [
        ("order-17", "waiting")
    ]


def test_calls_whose_keys_are_the_same_get_two() -> None:
    # Two ids of one millisecond with the same CRC in its lowest 20 bits.
    first, second = accepted(1), accepted(1_056_136)
    assert key_of(first.id, NOW) == key_of(second.id, NOW)
    for batches in ([[first, second]], [[first], [second]]):
        db = in_memory()
        writer = Writer(db)
        for batch in batches:
            writer.write(batch)
        writer.write([died(first), died(second)])
        assert writer.states["dead"] == 2
        for call in (first, second):
            assert len(reading.attempts_of(db, call.id)) == 1


def test_so_do_those_that_were_delivered() -> None:
    first, second = succeeded(accepted(1)), succeeded(accepted(1_056_136))
    for batches in ([[first, second]], [[first], [second]]):
        db = in_memory()
        writer = Writer(db)
        for batch in batches:
            writer.write(batch)
        assert writer.states["succeeded"] == 2
        for one in (first, second):
            assert len(reading.attempts_of(db, one.call.id)) == 1


@pytest.mark.parametrize(
    "unfit",
    [
        replace(accepted(7), url="http://a/\ud800"),
        replace(accepted(7), body_bytes=1 << 64),
        replace(accepted(7), labels=("\ud800",)),
        Attempted(replace(accepted(7), method="\udfff"), 1, NOW, status=200),
    ],
)
def test_what_cannot_be_written_takes_nothing_else_along(unfit: object) -> None:
    db = in_memory()
    writer = Writer(db)
    changes = writer.write([CALL, unfit, succeeded(CALL)])  # type: ignore[list-item]
    assert changes.unfit == 1
    assert reading.one_call(db, accepted(7).id) is None
    assert writer.states["succeeded"] == 1
    assert sum(writer.states.values()) == 1


def test_what_is_known_at_the_next_start_is_what_was_written() -> None:
    db = in_memory()
    writer = Writer(db)
    assert (writer.offset, writer.last_at) == (None, 0.0)
    writer.write([CALL, failed(CALL)], offset=17)
    writer.write([accepted(2, NOW - 5)])
    again = Writer(db)
    assert (again.offset, again.last_at, again.states) == (17, NOW + 1, writer.states)


@pytest.mark.parametrize("last", [succeeded(CALL, 2, 90), died(CALL, 2, 90)])
def test_what_is_known_is_not_written_again(last: Attempted) -> None:
    db = in_memory()
    writer = Writer(db)
    writer.write([CALL, failed(CALL), last])
    changes = db.total_changes
    writer.write([])
    notes = db.total_changes - changes
    writer.write([CALL, last])
    assert db.total_changes - changes == 2 * notes


def test_a_decision_is_new_only_once() -> None:
    db = in_memory()
    writer = Writer(db)
    paused = decided("paused", CALL.destination)
    assert writer.write([paused, paused]).decided == [paused]
    assert writer.write([paused]).decided == []
    assert reading.decisions(db, "", (), 9) == [paused]


def test_a_decision_that_comes_again_undoes_nothing_that_has_happened_since() -> None:
    db = in_memory()
    writer = Writer(db)
    # It died all the same, and was retried then.
    cancelled = decided("cancelled", CALL.id, after=2)
    writer.write([CALL, died(CALL), cancelled, decided("retried", CALL.id, after=3)])
    writer.write([cancelled])
    seen = reading.one_call(db, CALL.id)
    assert seen is not None
    assert seen.state == "queued"


def test_decisions_of_one_moment_whose_keys_are_the_same_are_two() -> None:
    db = in_memory()
    paused = decided("paused", DESTINATION)
    # As above.
    first, second = (replace(paused, id=call_id(n, paused.at)) for n in (1, 1_056_136))
    assert key_of(first.id, first.at) == key_of(second.id, second.at)
    assert Writer(db).write([first, second, second, first]).decided == [first, second]
    assert reading.decisions(db, DESTINATION, (), 9) == [second, first]


def test_decisions_are_found_by_target_and_kind() -> None:
    db = in_memory()
    writer = Writer(db)
    paused = decided("paused", CALL.destination, after=1)
    limited = decided("limited", CALL.destination, after=2)
    other = decided("paused", "http://b:80", after=3)
    cancelled = decided("cancelled", CALL.id, call_id(2), after=4)
    writer.write([paused, limited, other, cancelled])
    everything = [cancelled, other, limited, paused]
    assert reading.decisions(db, "", (), 9) == everything
    assert reading.decisions(db, "", (), 2) == everything[:2]
    assert reading.decisions(db, call_id(2), (), 9) == [cancelled]
    assert reading.decisions(db, CALL.destination, (), 9) == [limited, paused]
    assert reading.decisions(db, CALL.destination, ("paused",), 9) == [paused]
    assert reading.decisions(db, "", ("paused", "limited"), 9) == everything[1:]


def test_of_the_chunks_of_a_job_the_last_one_is_kept_and_shown_when_asked_for() -> None:
    db = in_memory()
    writer = Writer(db)
    for number in range(3):
        for job in ("one", "other"):
            event = decided("chunk", job, after=number)
            writer.write([replace(event, details={"number": number})])
    writer.write([decided("bulk", "one")])
    for job in ("one", "other"):
        chunks = reading.decisions(db, job, ("chunk",), 9)
        assert [one.details for one in chunks] == [{"number": 2}]
    assert db.execute("SELECT count(*) FROM targets").fetchone() == (3,)
    for target in ("", "one"):
        shown = reading.decisions(db, target, (), 9)
        assert [one.kind for one in shown] == ["bulk"]


def test_of_a_job_its_beginning_its_newest_progress_and_its_end_are_kept() -> None:
    db = in_memory()
    writer = Writer(db)
    first, *progress = (decided("bulk", "one", after=number) for number in range(5))
    first = replace(first, details={"status": "running", "ids": ["a"]})
    states = ("running", "running", "stopped", "running")
    progress = [
        replace(one, details={"status": state})
        for one, state in zip(progress, states, strict=True)
    ]
    for one in (first, decided("bulk", "other", after=9), *progress[:2]):
        writer.write([one])
    assert reading.decisions(db, "one", (), 9) == [progress[1], first]
    writer.write(progress[2:])
    assert reading.decisions(db, "one", (), 9) == [progress[3], progress[2], first]
    assert len(reading.decisions(db, "other", (), 9)) == 1
