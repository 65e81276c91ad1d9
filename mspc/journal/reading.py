"""Answers questions about calls from the file; each looks at a bounded number of rows.

All of it runs in the journal's thread.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mspc.calls.words import SUCCEEDED
from mspc.journal import columns
from mspc.journal import statements as sql
from mspc.journal.base import Count, Filter, Group, Page, Seen
from mspc.journal.changes import Dead
from mspc.journal.events import Attempted, Decided
from mspc.journal.filtering import Source, conditions, keys, sources
from mspc.journal.folding import Cause

# In one look: a millisecond. Of so many rows, and so many calls, at most.
LOOK_ROWS = 500
LOOK_CALLS = 50
# To count what is in rows takes no longer than to show a page of them.
COUNT_ROWS = 5000


@dataclass(frozen=True, slots=True)
class Looking:
    """Looks at some calls, newest first.

    Attributes:
        wanted: which.
        after: Page.next of the look before; None for from the newest.
        limit: how many at most.
    """

    wanted: Filter
    after: int | None
    limit: int

    def __call__(self, db: sqlite3.Connection) -> Page:
        span = _span(db, self.wanted, self.after, LOOK_ROWS)
        most = min(self.limit, LOOK_CALLS)
        rows: list[Sequence[Any]] = []
        for source in span.where:
            rows += _rows(db, source, self.wanted, span.between, most + 1)
        rows.sort(key=_key, reverse=True)
        found = [columns.seen(row) for row in rows[:most]]
        if len(rows) > most:
            return Page(found, rows[most - 1][0])
        return Page(found, span.next)


@dataclass(frozen=True, slots=True)
class Counting:
    """Counts some calls, newest first, without looking at more of them than it must.

    Attributes:
        wanted: which.
        after: Count.next of the count before; None for from the newest.
    """

    wanted: Filter
    after: int | None

    def __call__(self, db: sqlite3.Connection) -> Count:
        span = _span(db, self.wanted, self.after, COUNT_ROWS)
        condition, values = conditions(self.wanted)
        calls = 0
        for source in span.where:
            (found,) = db.execute(
                f"SELECT count(*) FROM {source.table} WHERE {source.condition}"
                f" AND key > ? AND key < ? AND {condition}",
                (*source.values, *span.between, *values),
            ).fetchone()
            calls += found
        return Count(calls, span.next)


@dataclass(frozen=True, slots=True)
class _Span:
    """Where one look goes.

    Attributes:
        where: among which rows; nowhere for a destination that nobody knows.
        between: which keys, both exclusive.
        next: where the next look begins; None when there is nothing more.
    """

    where: Sequence[Source]
    between: tuple[int, int]
    next: int | None


def _span(
    db: sqlite3.Connection, wanted: Filter, after: int | None, rows: int
) -> _Span:
    """Of so many rows at most."""
    number = None
    if wanted.destination:
        number = _number(db, wanted.destination)
        if number is None:
            return _Span((), (0, 0), None)
    first, end = keys(wanted)
    end = end if after is None else min(after, end)
    where = sources(wanted, number)
    # Side by side: as far as the one that comes least far.
    each = rows // len(where)
    low = max(_low(db, source, first, end, each) for source in where)
    return _Span(where, (low, end), low + 1 if low > first else None)


def _low(
    db: sqlite3.Connection, source: Source, first: int, end: int, rows: int
) -> int:
    """Below the last key of so many rows; `first` when there are fewer."""
    found = db.execute(
        f"SELECT key FROM {source.table} WHERE {source.condition} AND key > ?"
        " AND key < ? ORDER BY key DESC LIMIT 1 OFFSET ?",
        (*source.values, first, end, rows - 1),
    ).fetchone()
    return first if found is None else int(found[0]) - 1


def _rows(
    db: sqlite3.Connection,
    source: Source,
    wanted: Filter,
    between: tuple[int, int],
    limit: int,
) -> list[Sequence[Any]]:
    condition, values = conditions(wanted)
    rows = (
        f"SELECT {sql.SEEN} FROM {source.table} JOIN destinations d"
        f" ON d.number = c.destination WHERE {source.condition} AND key > ?"
        f" AND key < ? AND {condition} ORDER BY key DESC LIMIT ?"
    )
    given = *source.values, *between, *values, limit
    together = f"SELECT {sql.SEEN_TOGETHER} FROM ({rows})"
    (found,) = db.execute(together, given).fetchone()
    try:
        return columns.rows_together.decode(found)
    except msgspec.DecodeError:  # an infinite number is no JSON
        return db.execute(rows, given).fetchall()


def _key(row: Sequence[Any]) -> int:
    return int(row[0])


def _number(db: sqlite3.Connection, destination: str) -> int | None:
    query = "SELECT number FROM destinations WHERE name = ?"
    found = db.execute(query, (destination,)).fetchone()
    return None if found is None else int(found[0])


def one_call(db: sqlite3.Connection, call_id: str) -> Seen | None:
    found = db.execute(
        f"SELECT {sql.SEEN}, c.headers, c.body FROM calls c"
        " JOIN destinations d ON d.number = c.destination WHERE c.id = ?",
        (call_id,),
    ).fetchone()
    return None if found is None else columns.seen(found[:-2], *found[-2:])


def attempts_of(db: sqlite3.Connection, call_id: str) -> list[Attempted]:
    """Those that failed, and the last one; in order."""
    found = db.execute("SELECT key FROM calls WHERE id = ?", (call_id,)).fetchone()
    call = one_call(db, call_id)
    if found is None or call is None:
        return []
    about = call.accepted()
    failed = [Attempted(about, *row) for row in db.execute(sql.ATTEMPTS, (found[0],))]
    last = call.last
    if last is not None and (not failed or failed[-1].at < last.at):
        failed.append(last)
    return failed


def oldest_due(db: sqlite3.Connection) -> float | None:
    """Of all open calls, but for those that may have ended unnoticed in a crash."""
    (due,) = db.execute(sql.OLDEST_DUE, (_crashed(db),)).fetchone()
    return None if due is None else float(due)


def _crashed(db: sqlite3.Connection) -> float:
    """When calls that were due may have ended last without being told of; or 0."""
    (at,) = db.execute(sql.CRASHED).fetchone()
    return 0.0 if at is None else float(at)


@dataclass(frozen=True, slots=True)
class OldestDue:
    """Of the open calls of some destinations, where there are any; as oldest_due()."""

    destinations: tuple[str, ...]

    def __call__(self, db: sqlite3.Connection) -> dict[str, float]:
        found, crashed = {}, _crashed(db)
        for name in self.destinations:
            (due,) = db.execute(sql.OLDEST_DUE_OF, (crashed, name)).fetchone()
            if due is not None:
                found[name] = float(due)
        return found


def ends_of_dead(
    db: sqlite3.Connection, of: Sequence[tuple[Cause, str]]
) -> list[tuple[float | None, Dead]]:
    """Of each cause and destination when the first one died, Unix seconds, and the
    latest. Nothing of one that has none among the destination's last thousand.
    """
    found = []
    for cause, destination in of:
        which = destination, cause.reason, cause.status, cause.error
        (first_at,) = db.execute(sql.FIRST_DEAD, which).fetchone()
        latest = db.execute(sql.LATEST_DEAD, which).fetchone()
        if latest is not None:
            found.append((first_at, Dead(cause, destination, *latest)))
    return found


def decisions(
    db: sqlite3.Connection, target: str, kinds: Sequence[str], limit: int
) -> list[Decided]:
    """Newest first; of one target, or of all. Chunks only when they are asked for."""
    table, condition = "decisions d", "1"
    values: list[object] = []
    if target:
        table = "targets t CROSS JOIN decisions d ON d.key = t.decision"
        condition = "t.target = ?"
        values.append(target)
    if kinds:
        condition += f" AND kind IN ({', '.join('?' * len(kinds))})"
        values += kinds
    else:
        condition += " AND kind <> 'chunk'"
    place = "t.decision" if target else "d.key"
    found = db.execute(
        "SELECT kind, at, who, targets, reason, details, id"
        f" FROM {table} WHERE {condition} ORDER BY {place} DESC LIMIT ?",
        (*values, limit),
    )
    return [
        Decided(
            kind=kind,
            at=at,
            who=who,
            targets=msgspec.json.decode(targets, type=tuple[str, ...]),
            reason=reason,
            details=msgspec.json.decode(details),
            id=decision_id,
        )
        for kind, at, who, targets, reason, details, decision_id in found
    ]


def count_destinations(db: sqlite3.Connection) -> list[tuple[str, str, int]]:
    """Destination, state, how many; without those that have succeeded."""
    return db.execute(
        "SELECT d.name, found.state, found.count FROM (SELECT destination, state,"
        " count(*) AS count FROM calls INDEXED BY calls_standing"
        f" WHERE state <> '{SUCCEEDED}' GROUP BY destination, state) found"
        " JOIN destinations d ON d.number = found.destination"
    ).fetchall()


def count_groups(db: sqlite3.Connection) -> list[Group]:
    """Dead letters by cause, the most first; takes some seconds for a million."""
    groups = []
    for *about, key in db.execute(sql.GROUPS).fetchall():
        query = "SELECT id, answer FROM calls WHERE key = ?"
        groups.append(Group(*about, *db.execute(query, (key,)).fetchone()))
    return groups
