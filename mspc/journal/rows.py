"""Calls as rows of the journal's file: found, inserted, changed."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from mspc.journal import columns
from mspc.journal import statements as sql
from mspc.journal.applying import Batch
from mspc.journal.folding import Row

# Of destinations; asked for again, when there are more.
_MOST_NUMBERS = 20_000


class Rows:
    """Of one file. Whoever calls has begun a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._numbers: dict[str, int] = {}

    def found(self, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        """The columns of statements.FIND of those that are there, in no order."""
        return sql.FIND.fetch(self._db, [(call_id,) for call_id in ids])

    def write(self, batch: Batch) -> None:
        """What a batch makes of its calls."""
        self._insert_delivered(batch)
        self._insert(batch.new)
        self._update(batch.changed)
        self._keep_failed(batch.rows)

    def forget_numbers(self) -> None:
        """Destinations may have other ones, or none: they were deleted, or what was
        written is undone.
        """
        self._numbers.clear()

    def _insert_delivered(self, batch: Batch) -> None:
        events = batch.delivered.values()
        values = [
            columns.of_delivered(
                batch.key(event.call), self._number(event.call.destination), event
            )
            for event in events
        ]
        if sql.DELIVERED.change(self._db, values) < len(values):
            self._insert([batch.row(event) for event in events])

    def _insert(self, rows: Sequence[Row]) -> None:
        if rows and self._added(rows) < len(rows):
            # Two calls of a millisecond may have one key: the next one is free.
            for row in rows:
                known = "SELECT 1 FROM calls WHERE id = ?"
                while self._db.execute(known, (row.id,)).fetchone() is None:
                    if not self._added([row]):
                        row.key += 1

    def _added(self, rows: Sequence[Row]) -> int:
        values = [columns.of_call(row, self._number(row.destination)) for row in rows]
        return sql.INSERT.change(self._db, values)

    def _number(self, destination: str) -> int:
        number = self._numbers.get(destination)
        if number is None:
            if len(self._numbers) >= _MOST_NUMBERS:
                self._numbers.clear()
            number = self._numbers[destination] = self._number_in_file(destination)
        return number

    def _number_in_file(self, destination: str) -> int:
        self._db.execute(
            "INSERT OR IGNORE INTO destinations (name) VALUES (?)", (destination,)
        )
        found = self._db.execute(
            "SELECT number FROM destinations WHERE name = ?", (destination,)
        )
        return int(found.fetchone()[0])

    def _update(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        same = [columns.of_change(row) for row in rows if row.last is None]
        attempted = [columns.of_change(row) for row in rows if row.last is not None]
        filled = [columns.of_missing(row) for row in rows if row.call is not None]
        sql.UPDATE.change(self._db, same)
        sql.UPDATE_LAST.change(self._db, attempted)
        self._db.executemany(sql.FILL, filled)

    def _keep_failed(self, rows: Iterable[Row]) -> None:
        failed = [(row.key, one) for row in rows for one in row.failed]
        if not failed:
            return
        values = [columns.of_attempt(key, one) for key, one in failed]
        sql.FAILED.change(self._db, values)
        many = {key for key, one in failed if one.number > sql.KEPT_ATTEMPTS}
        self._db.executemany(sql.FORGET_ATTEMPTS, [(key,) for key in many])
