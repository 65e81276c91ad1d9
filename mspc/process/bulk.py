"""One statement for many rows.

Python's sqlite3 lets the interpreter's lock go for each statement, and gets it back
when the other thread, the one with all the greenlets, pauses: up to 5 ms later. So what
a transaction does to a hundred rows is done in a few statements.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Row = tuple[object, ...]

# Powers of two up to this, so that few statements are prepared, and each only once.
LARGEST = 64


@dataclass(frozen=True, slots=True)
class Bulk:
    """A statement that takes any number of rows: `head`, each `row`, `tail`."""

    head: str
    row: str
    tail: str = ""

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
        text = f"{self.head}{', '.join([self.row] * len(some))}{self.tail}"
        return db.execute(text, [value for row in some for value in row])


def _portions(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = 0
    while start < len(rows):
        count = min(LARGEST, 1 << (len(rows) - start).bit_length() - 1)
        yield rows[start : start + count]
        start += count
