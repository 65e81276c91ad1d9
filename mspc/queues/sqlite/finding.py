"""Finds calls by their ids and does what somebody has decided about them.

In small steps, each a transaction of some milliseconds: whoever stores or settles a
call meanwhile waits for one of them. What is lent out is left to whoever settles it.
"""

import logging
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import gevent

from mspc.calls.call import Call, first_call_id
from mspc.errors import MspcError, QueueUnavailable
from mspc.lanes.lane import Lane
from mspc.process.bulk import Row
from mspc.queues.base import Kept
from mspc.queues.sqlite import statements as sql
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.delivery import Owner, Place, checksum, fields
from mspc.queues.sqlite.jobs import caught
from mspc.queues.sqlite.lending import Lending
from mspc.queues.sqlite.loading import Loading

log = logging.getLogger(__name__)

AT_ONCE = 200
BYTES_AT_ONCE = 1024 * 1024  # of payloads; one alone may be larger
# Between now and when it is due what is made due now.
DELAY_MILLISECONDS = 1
# Ids of other producers tell no time: most of them are from long after now.
FUTURE_SECONDS = 3600.0
LAST_ID = "\U0010ffff"


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


class Finding:
    """What a SqliteQueue does to calls of which somebody knows the ids."""

    def __init__(
        self,
        store: Store,
        owner: Owner,
        loading: Loading,
        lending: Lending,
        lane_called: Callable[[str], Lane],
    ) -> None:
        self._store = store
        self._owner = owner
        self._loading = loading
        self._lending = lending
        self._lane_called = lane_called

    def withdraw(self, ids: Sequence[str]) -> list[str]:
        return _to_its_end(self._withdraw, ids)

    def hurry(self, ids: Sequence[str]) -> list[str]:
        return _gathered(map(self._hurry, _portions(ids)))

    def revive(self, ids: Sequence[str]) -> list[str]:
        return _gathered(
            self._store.run(partial(self._revive, rows), counted=len)
            for some in _portions(ids)
            for rows in _in_steps(self._find(some, "dead"))
        )

    def forget(self, ids: Sequence[str]) -> list[str]:
        return _gathered(
            self._store.run(partial(_delete, rows))
            for some in _portions(ids)
            for rows in _in_steps(self._find(some, "dead"))
        )

    def payload(self, call_id: str) -> bytes | None:
        """What does not fit its checksum any more is not what the client sent."""
        for row in self._find([call_id], "calls", "waiting", "dead"):
            for _, call in self._store.run(partial(_intact, [row])):
                return call.payload
        return None

    def recent(self, since: float) -> Iterator[list[Call]]:
        last = first_call_id(time.time() + FUTURE_SECONDS) if since > 0 else LAST_ID
        for table in ("calls", "waiting"):
            after = first_call_id(since) if since > 0 else ""
            while rows := self._store.run(partial(_recent, table, after, last)):
                for some in _in_steps(rows):
                    intact = self._store.run(partial(_intact, some))
                    yield [call for _, call in intact]
                after = rows[-1].id

    def kept(self, ids: Sequence[str]) -> Mapping[str, Kept]:
        kept: dict[str, Kept] = {}
        for some in _portions(ids):
            kept |= self._store.run(partial(_kept, some))
        return kept

    def _find(self, ids: Sequence[str], *tables: str) -> list[Found]:
        return self._store.run(partial(_find, ids, tables))

    def _withdraw(self, ids: Sequence[str]) -> Iterator[list[str]]:
        for some in _portions(ids):
            # Else a row could be on its way into memory while it is deleted.
            with self._loading.still:
                for rows in _in_steps(self._find(some, "calls", "waiting")):
                    yield self._take_out(rows)

    def _take_out(self, rows: list[Found]) -> list[str]:
        mine = [row for row in rows if not self._lending.lent(row.key)]
        ready = [self._lending.take_out(row.key) for row in mine]
        try:
            reached = self._store.run(
                partial(_delete, mine), counted=lambda ids: -len(ids)
            )
        except MspcError:
            for taken in filter(None, ready):
                self._lending.put_back(taken)
            raise
        gone: dict[Lane, set[int]] = defaultdict(set)
        for row, delivery in zip(mine, ready, strict=True):
            if delivery is not None:
                self._lending.settled(delivery)
                gone[delivery.lane].update()
            elif row.lane and self._loading.has_found(row.table, row.seq, row.due):
                gone[self._lane_called(row.lane)].add(row.key)
        for lane, keys in gone.items():
            self._lending.gone(lane, keys)
        return reached

    def _hurry(self, ids: Sequence[str]) -> list[str]:
        def statements(db: sqlite3.Connection) -> list[Found]:
            rows = _find(ids, ("waiting",), db)
            due = self._owner.due_in(DELAY_MILLISECONDS)
            hurry = sql.hurry(due, DELAY_MILLISECONDS)
            hurry.run(db, [(row.seq,) for row in rows])
            return rows

        rows = self._store.run(statements)
        return [row.id for row in rows if not self._lending.lent(row.key)]

    def _revive(self, rows: list[Found], db: sqlite3.Connection) -> list[str]:
        due = self._owner.due_in(DELAY_MILLISECONDS)
        intact = _intact([row for row in rows if not row.damaged], db)
        waiting: list[Row] = []
        for row, call in intact:
            new = Call(call.payload, call.id, time.time())
            stored = call.payload if row.body is None else sql.reference(row.body)
            when = (self._owner.new_wait(), due, DELAY_MILLISECONDS)
            waiting.append((*when, *fields(new), stored, checksum(new), row.lane))
        sql.PUT_WAITING.run(db, waiting)
        sql.DELETE["dead"].run(db, [(row.seq,) for row, _ in intact])
        return [row.id for row, _ in intact]


def _portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def _in_steps(rows: list[Found]) -> Iterator[list[Found]]:
    """As many at once as are read in some milliseconds."""
    some: list[Found] = []
    size = 0
    for row in rows:
        if some and size + row.size > BYTES_AT_ONCE:
            yield some
            some, size = [], 0
        some.append(row)
        size += row.size
    if some:
        yield some


def _gathered(steps: Iterable[list[str]]) -> list[str]:
    """What all of them have reached, or those before the first that failed.

    Raises:
        QueueUnavailable: it was the very first.
    """
    reached: list[str] = []
    try:
        for some in steps:
            reached += some
    except QueueUnavailable as exc:
        if not reached:
            raise
        log.warning("Only %d calls were reached: %s", len(reached), exc)
    return list(dict.fromkeys(reached))


def _to_its_end(
    steps: Callable[[Sequence[str]], Iterable[list[str]]], ids: Sequence[str]
) -> list[str]:
    """_gathered() of these, whether or not whoever waits for it is ended meanwhile.

    What is in memory has to follow what is in the file.
    """
    result = gevent.spawn(caught, lambda: _gathered(steps(ids))).get()
    if isinstance(result, Exception):
        raise result
    return result  # type: ignore[no-any-return]


# ---- in the store's thread


def _find(
    ids: Sequence[str], tables: Sequence[str], db: sqlite3.Connection
) -> list[Found]:
    wanted = [(call_id,) for call_id in ids]
    return [
        Found(table, *row)
        for table in tables
        for row in sql.FIND[table].fetch(db, wanted)
    ]


def _kept(ids: Sequence[str], db: sqlite3.Connection) -> dict[str, Kept]:
    """An open one counts, when a dead letter has its id too."""
    wanted = [(call_id,) for call_id in ids]
    rows = [row for bulk in sql.KEPT.values() for row in bulk.fetch(db, wanted)]
    return {call_id: Kept(*told) for call_id, *told in rows}


def _recent(table: str, after: str, last: str, db: sqlite3.Connection) -> list[Found]:
    """The next ones by their ids, both ends exclusive."""
    rows = db.execute(sql.RECENT[table], (after, last))
    return [Found(table, *row) for row in rows]


def _intact(rows: Sequence[Found], db: sqlite3.Connection) -> list[tuple[Found, Call]]:
    """Those that are still there, as they were written."""
    found: list[tuple[Found, Call]] = []
    for table, some in _by_table(rows).items():
        for seq, *told, crc, _, _, _, payload in sql.LOAD_ALL[table].fetch(
            db, [(seq,) for seq in some]
        ):
            call = Call(payload, *told)
            if crc is None or crc == checksum(call):
                found.append((some[seq], call))
    return found


def _delete(rows: Sequence[Found], db: sqlite3.Connection) -> list[str]:
    """Deletes rows of calls for good; the ids of those that were still there."""
    # What is damaged may refer to the body of another call.
    with_body = [row for row in rows if row.body is not None]
    bodies = [(row.body,) for row, _ in _intact(with_body, db)]
    deleted: list[str] = []
    for table, some in _by_table(rows).items():
        there = sql.STILL_THERE[table].fetch(db, [(seq,) for seq in some])
        sql.DELETE[table].run(db, there)
        deleted += [some[seq].id for (seq,) in there]
    sql.DELETE_BODY.run(db, bodies)
    return deleted


def _by_table(rows: Sequence[Found]) -> dict[str, dict[int, Found]]:
    tables: dict[str, dict[int, Found]] = defaultdict(dict)
    for row in rows:
        tables[row.table][row.seq] = row
    return tables
