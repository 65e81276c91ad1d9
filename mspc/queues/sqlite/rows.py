"""Rows of calls that somebody knows by their ids.

All of it runs in the store's thread.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mspc.calls.call import Call
from mspc.queues.base import Kept
from mspc.queues.sqlite import statements as sql
from mspc.queues.sqlite.delivery import Place, checksum


@dataclass(frozen=True, slots=True)
class Found:
    """The row of a call.

    Attributes:
        table: `calls`, `waiting` or `dead`.
        seq, id, lane: as there.
        body: the number of its payload in `bodies`; None when the row has it.
        size: bytes of its payload.
        due: Unix milliseconds; 0 for those that do not wait.
        reason: why it is dead; empty for the living.
    """

    table: str
    seq: int
    id: str
    body: int | None
    size: int
    lane: str | None
    due: int
    reason: str

    @property
    def key(self) -> int:
        """As Place.key; of the living."""
        return Place(self.table, self.seq, self.size, self.body).key

    @property
    def damaged(self) -> bool:
        """Whether it is dead because it was altered in the file."""
        return self.reason.startswith("damaged")


def find(
    ids: Sequence[str], tables: Sequence[str], db: sqlite3.Connection
) -> list[Found]:
    wanted = [(call_id,) for call_id in ids]
    return [
        Found(table, *row)
        for table in tables
        for row in sql.FIND[table].fetch(db, wanted)
    ]


def kept(ids: Sequence[str], db: sqlite3.Connection) -> dict[str, Kept]:
    """An open one counts, when a dead letter has its id too."""
    wanted = [(call_id,) for call_id in ids]
    rows = [row for bulk in sql.KEPT.values() for row in bulk.fetch(db, wanted)]
    return {call_id: Kept(*told) for call_id, *told in rows}


def recent(table: str, after: str, last: str, db: sqlite3.Connection) -> list[Found]:
    """The next ones by their ids, both ends exclusive."""
    rows = db.execute(sql.RECENT[table], (after, last))
    return [Found(table, *row) for row in rows]


def recent_dead(before: int, db: sqlite3.Connection) -> list[Found]:
    """The next ones before that row, the newest first."""
    return [Found("dead", *row) for row in db.execute(sql.RECENT_DEAD, (before,))]


def intact(rows: Sequence[Found], db: sqlite3.Connection) -> list[tuple[Found, Call]]:
    """Those that are still there, as they were written."""
    found: list[tuple[Found, Call]] = []
    for table, some in _by_table(rows).items():
        for seq, *told, crc, _, _, _, payload in sql.LOAD_ALL[table].fetch(
            db, [(seq,) for seq in some]
        ):
            call = Call(payload, *told)
            # The number of one that has gone is given again, to another dead letter.
            if call.id == some[seq].id and (crc is None or crc == checksum(call)):
                found.append((some[seq], call))
    return found


def delete(rows: Sequence[Found], db: sqlite3.Connection) -> list[str]:
    """Deletes rows of calls for good; the ids of those that were still there."""
    # What is damaged may refer to the body of another call.
    with_body = [row for row in rows if row.body is not None]
    bodies = [(row.body,) for row, _ in intact(with_body, db)]
    deleted: list[str] = []
    for table in _by_table(rows):
        there = still_there(table, rows, db)
        sql.DELETE[table].run(db, [(seq,) for seq in there])
        deleted += there.values()
    sql.DELETE_BODY.run(db, bodies)
    return deleted


def still_there(
    table: str, rows: Sequence[Found], db: sqlite3.Connection
) -> dict[int, str]:
    """The ids of those of a table, by their rows."""
    some = {row.seq: row.id for row in rows if row.table == table}
    found = sql.STILL_THERE[table].fetch(db, [(seq,) for seq in some])
    return {seq: one for seq, one in found if one == some[seq]}


def _by_table(rows: Sequence[Found]) -> dict[str, dict[int, Found]]:
    tables: dict[str, dict[int, Found]] = defaultdict(dict)
    for row in rows:
        tables[row.table][row.seq] = row
    return tables
