"""Lists of calls: which ones, in which order, and how far one look goes."""

import sqlite3

import pytest
from msgspec.structs import replace

from mspc.journal import reading
from mspc.journal import statements as sql
from mspc.journal.base import EVERYTHING, Count, Filter, Seen
from mspc.journal.events import Decided, Event
from mspc.journal.writing import Writer
from tests.support.happened import (
    DESTINATION,
    NOW,
    accepted,
    decided,
    died,
    failed,
    in_memory,
    succeeded,
)

OTHER = "http://b.example:80"
QUEUED = replace(accepted(0, NOW), method="GET", labels=())
WAITING = accepted(1, NOW + 1)
DONE = accepted(2, NOW + 2)
DEAD = accepted(3, NOW + 3, OTHER)
GONE = accepted(4, NOW + 4, OTHER)
# What has ended by then is in flight no more.
FLYING = (QUEUED.id, WAITING.id, DONE.id, GONE.id, "unknown")
EVENTS: list[Event] = [
    *(QUEUED, failed(WAITING, 4), succeeded(DONE, 2), died(DEAD), GONE),
    decided("cancelled", GONE.id),
]


def counted(wanted: Filter, db: sqlite3.Connection) -> int:
    """In steps."""
    total, after = 0, None
    while True:
        count = reading.Counting(wanted, after)(db)
        total += count.calls
        if count.next is None:
            return total
        assert count.calls <= reading.COUNT_ROWS
        after = count.next


def numbers(wanted: Filter) -> str:
    """Of the calls, in the order of the list."""
    db = in_memory()
    Writer(db).write(EVENTS)
    found = reading.Looking(wanted, None, 9)(db)
    assert found.next is None
    assert reading.Counting(wanted, None)(db) == Count(len(found.calls), None)
    return "".join(call.url[-1] for call in found.calls)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EVERYTHING, "43210"),
        (Filter(states=frozenset({"dead"})), "3"),
        (Filter(states=frozenset({"queued", "waiting", "cancelled"})), "410"),
        (Filter(states=frozenset({"queued", "succeeded"})), "20"),
        (Filter(states=frozenset({"in_flight"})), ""),
        (Filter(states=frozenset({"in_flight"}), flying=FLYING), "10"),
        (Filter(frozenset({"in_flight"}), OTHER, flying=FLYING), ""),
        (Filter(frozenset({"in_flight", "dead"}), OTHER, flying=FLYING), "3"),
        (Filter(states=frozenset({"in_flight", "queued"}), flying=FLYING), "10"),
        (Filter(states=frozenset({"in_flight", "dead"}), flying=FLYING), "310"),
        (Filter(states=frozenset({"in_flight", "succeeded"}), flying=FLYING), "210"),
        (
            Filter(frozenset({"in_flight", "dead"}), DESTINATION, flying=FLYING),
            "10",
        ),
        (Filter(frozenset({"in_flight"}), label="blue", flying=FLYING), "1"),
        (Filter(destination=OTHER), "43"),
        (Filter(destination=DESTINATION, states=frozenset({"waiting"})), "1"),
        (Filter(destination=DESTINATION, states=frozenset({"succeeded"})), "2"),
        (Filter(destination="http://nobody:80"), ""),
        (Filter(url_prefix=f"{OTHER}/"), "43"),
        (Filter(url_prefix="%"), ""),
        (Filter(method="GET"), "0"),
        (Filter(label="blue"), "4321"),
        (Filter(label="blu"), ""),
        (Filter(reason="permanent"), "3"),
        (Filter(error="bad_status"), "31"),
        (Filter(status="404"), "3"),
        (Filter(status="5xx"), "1"),
        (Filter(status="9xx"), ""),
        (Filter(status="none"), "40"),
        (Filter(created_after=NOW + 1), "432"),
        (Filter(created_before=NOW + 1), "0"),
        (Filter(created_after=NOW + 1, created_before=NOW + 3), "2"),
        (Filter(attempts_min=2), "21"),
        (Filter(attempts_min=2, status="2xx", label="large"), "2"),
    ],
)
def test_a_filter_finds_what_it_says(wanted: Filter, expected: str) -> None:
    assert numbers(wanted) == expected


@pytest.mark.parametrize(
    "wanted",
    [
        EVERYTHING,
        Filter(states=frozenset({"queued"})),
        Filter(states=frozenset({"queued", "waiting"})),
        Filter(destination=DESTINATION),
        Filter(destination=DESTINATION, states=frozenset({"queued", "dead"})),
        Filter(
            frozenset({"queued", "in_flight"}),
            flying=tuple(accepted(one, NOW + one).id for one in (0, 1, 9, 22)),
        ),
        Filter(attempts_min=1),
    ],
)
@pytest.mark.parametrize("limit", [1, 3, 10])
def test_looks_one_after_the_other_find_everything_once(
    wanted: Filter, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOOK_ROWS", 4)
    monkeypatch.setattr(reading, "COUNT_ROWS", 5)
    db = in_memory()
    calls = [accepted(number, NOW + number) for number in range(23)]
    attempts = [failed(call) for call in calls[::3]]
    Writer(db).write([*calls, *attempts, *(died(call) for call in calls[::5])])
    everything = reading.Looking(wanted, None, 99)
    monkeypatch.setattr(reading, "LOOK_ROWS", 99)
    expected = list(everything(db).calls)
    monkeypatch.setattr(reading, "LOOK_ROWS", 4)
    found: list[Seen] = []
    after = None
    for _ in range(40):
        look = reading.Looking(wanted, after, limit)(db)
        assert len(look.calls) <= min(limit, 4)
        found += look.calls
        after = look.next
        if after is None:
            break
    assert found == expected
    assert after is None
    assert counted(wanted, db) == len(expected)


HOSTILE = 'a\x00"b\\c\u202e\U0001f4a5</script>\u2028'


def test_a_list_has_the_same_of_each_call_as_it_has_alone() -> None:
    """It is read as JSON, and a call alone is not."""
    db = in_memory()
    strange = replace(accepted(7), url=f"http://a.example/{HOSTILE}")
    told = replace(failed(strange), text=HOSTILE, answer=HOSTILE, status=2**53)
    Writer(db).write([*EVENTS, told])
    listed = reading.Looking(EVERYTHING, None, 9)(db).calls
    assert len(listed) == 6
    for seen in listed:
        alone = reading.one_call(db, seen.id)
        assert alone is not None
        assert seen == replace(alone, headers=(), body=b"")


def test_a_text_that_is_no_utf8_is_listed() -> None:
    """A disk may alter one."""
    db = in_memory()
    db.text_factory = lambda text: text.decode(errors="replace")
    Writer(db).write(EVENTS)
    db.execute("UPDATE calls SET method = CAST(x'41ff42' AS TEXT)")
    listed = reading.Looking(EVERYTHING, None, 9)(db).calls
    assert {seen.method for seen in listed} == {"A\ufffdB"}


def test_a_number_that_is_no_json_is_listed() -> None:
    db = in_memory()
    Writer(db).write(EVENTS)
    db.execute("UPDATE calls SET due = 9e999 WHERE due IS NOT NULL")
    listed = reading.Looking(EVERYTHING, None, 9)(db).calls
    assert len(listed) == len(EVENTS) - 1
    assert max(seen.next_at or 0.0 for seen in listed) == float("inf")


def test_what_is_in_flight_is_found_among_many_without_looking_at_them() -> None:
    db = in_memory()
    calls = [accepted(number, NOW + number) for number in range(4000)]
    Writer(db).write(calls)
    flying = (calls[7].id, calls[3000].id)
    wanted = Filter(frozenset({"in_flight"}), flying=flying)
    looked_at = 0

    def look() -> None:
        nonlocal looked_at
        looked_at += 1

    db.set_progress_handler(look, 100)  # instructions of SQLite's machine
    look_at = reading.Looking(wanted, None, 100)(db)
    assert [call.id for call in look_at.calls] == [calls[3000].id, calls[7].id]
    assert look_at.next is None
    assert looked_at < 20  # 4,000 rows take hundreds


def test_what_is_due_first_is_known_of_each_destination() -> None:
    db = in_memory()
    assert reading.oldest_due(db) is None
    Writer(db).write(EVENTS)
    assert reading.oldest_due(db) == NOW
    due = reading.OldestDue((DESTINATION, OTHER, "http://nobody:80"))(db)
    assert due == {DESTINATION: NOW}


def test_what_may_have_ended_in_a_crash_is_not_taken_for_late() -> None:
    """RabbitMQ cannot be asked: it would seem to be late until it is forgotten."""
    db = in_memory()
    crashed = Decided("crashed", NOW + 5, "mspc", ("here",), id="c")
    Writer(db).write([accepted(1, NOW + 1), accepted(9, NOW + 9), crashed])
    assert reading.oldest_due(db) == NOW + 9
    due = reading.OldestDue((DESTINATION,))(db)
    assert due == {DESTINATION: NOW + 9}


def test_the_oldest_due_is_found_without_looking_at_all() -> None:
    db = in_memory()
    for query, values in (
        (sql.OLDEST_DUE, (0,)),
        (sql.OLDEST_DUE_OF, (0, DESTINATION)),
        (sql.CRASHED, ()),
    ):
        plan = db.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
        assert not any(step[3].startswith("SCAN") for step in plan), plan
