"""One statement for many rows.

Python's sqlite3 lets the interpreter's lock go for each statement, and gets it back
when the other thread, the one with all the greenlets, pauses: up to 5 ms later. So what
a transaction does to a hundred rows is done in a statement or two.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Row = tuple[object, ...]

# Powers of two up to this, so that few statements are prepared, and each only once.
# What is missing is filled up with NULL, which costs less than another statement.
LARGEST = 64


@dataclass(frozen=True, slots=True)
class Bulk:
    """A statement that takes any number of rows: `head`, each `row`, `tail`.

    It has to pass over rows of NULL.
    """

    head: str
    row: str
    tail: str

    def run(self, db: sqlite3.Connection, rows: Sequence[Row]) -> list[int]:
        """Executes it for all rows; for an INSERT, returns their numbers in order.

        Consecutive numbers need AUTOINCREMENT, and nobody else who writes.
        """
        numbers: list[int] = []
        for some in _portions(rows):
            done = self._execute(db, some)
            last = done.lastrowid or 0
            numbers.extend(range(last - len(some) + 1, last + 1))
        return numbers

    def fetch(self, db: sqlite3.Connection, rows: Sequence[Row]) -> list[Any]:
        """What it gives for all rows, in no order."""
        found: list[Any] = []
        for some in _portions(rows):
            found += self._execute(db, some)
        return found

    def change(self, db: sqlite3.Connection, rows: Sequence[Row]) -> int:
        """Executes it for all rows; how many it changed."""
        return sum(self._execute(db, some).rowcount for some in _portions(rows))

    def _execute(self, db: sqlite3.Connection, some: Sequence[Row]) -> sqlite3.Cursor:
        count = 1 << (len(some) - 1).bit_length()
        text = f"{self.head}{', '.join([self.row] * count)}{self.tail}"
        values = [value for row in some for value in row]
        if count > len(some):
            values += [None] * ((count - len(some)) * self.row.count("?"))
        return db.execute(text, values)


def _portions(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), LARGEST):
        yield rows[start : start + LARGEST]


def placeholders(width: int) -> str:
    """So many values, one after the other."""
    return f"({', '.join('?' * width)})"


def inserting(into: str, width: int, tail: str = "") -> Bulk:
    """Inserts rows whose first value is never NULL.

    Args:
        into: `INSERT INTO` and where.
        width: how many values a row has.
        tail: what to do on a conflict.
    """
    values = f"{into} SELECT * FROM (VALUES "
    return Bulk(values, placeholders(width), f") WHERE column1 IS NOT NULL{tail}")
