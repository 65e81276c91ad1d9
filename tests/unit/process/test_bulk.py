"""One statement for many rows does what one for each would."""

import sqlite3

import pytest

from mspc.process.bulk import LARGEST, Bulk, inserting

INSERT = inserting("INSERT INTO some (name, size)", 2)
FIND = Bulk("SELECT name, size FROM some WHERE name IN (", "?", ")")
DELETE = Bulk("DELETE FROM some WHERE name IN (", "?", ")")
COUNTS = [1, 2, 3, 5, 7, 8, 9, 33, LARGEST - 1, LARGEST, LARGEST + 1, 3 * LARGEST + 5]


@pytest.fixture
def db() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(
        "CREATE TABLE some"
        " (seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, size INTEGER)"
    )
    INSERT.run(db, [("first", None)])
    return db


@pytest.mark.parametrize("count", COUNTS)
def test_any_number_of_rows(db: sqlite3.Connection, count: int) -> None:
    rows = [(f"row {number}", number or None) for number in range(count)]
    names = [(name,) for name, _ in rows]
    statements: list[str] = []
    db.set_trace_callback(statements.append)

    numbers = INSERT.run(db, rows)

    found = db.execute("SELECT seq, name, size FROM some WHERE seq > 1 ORDER BY seq")
    assert found.fetchall() == [
        (number, *row) for number, row in zip(numbers, rows, strict=True)
    ]
    assert sorted(FIND.fetch(db, names)) == sorted(rows)
    assert DELETE.change(db, names) == count
    assert db.execute("SELECT name FROM some").fetchall() == [("first",)]
    each = -(-count // LARGEST)
    assert len(statements) == 3 * each + 2


def test_no_rows(db: sqlite3.Connection) -> None:
    assert INSERT.run(db, []) == FIND.fetch(db, []) == []
    assert DELETE.change(db, []) == 0


def test_what_is_there_is_left_on_a_conflict(db: sqlite3.Connection) -> None:
    into = "INSERT INTO some (name, size)"
    insert = inserting(into, 2, " ON CONFLICT DO NOTHING")
    assert insert.change(db, [("first", 1), ("second", 2), ("third", 3)]) == 2
    assert FIND.fetch(db, [("first",)]) == [("first", None)]
