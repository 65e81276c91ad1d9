"""Finds calls by their ids and does what somebody has decided about them.

In small steps, each a transaction of some milliseconds: whoever stores or settles a
call meanwhile waits for one of them. What is lent out is left to whoever settles it.
"""

import logging
import math
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import gevent

from mspc.calls.call import Call, first_call_id
from mspc.errors import MspcError, QueueUnavailable
from mspc.lanes.lane import Lane
from mspc.process.bulk import Row
from mspc.process.greenlets import caught
from mspc.queues.base import Kept
from mspc.queues.sqlite import rows as stored
from mspc.queues.sqlite import statements as sql
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.delivery import Owner, checksum, fields
from mspc.queues.sqlite.lending import Lending
from mspc.queues.sqlite.loading import Loading
from mspc.queues.sqlite.rows import Found

log = logging.getLogger(__name__)

AT_ONCE = 200
BYTES_AT_ONCE = 1024 * 1024  # of payloads; one alone may be larger
# Between now and when it is due what is made due now.
DELAY_MILLISECONDS = 1
# Ids of other producers tell no time: most of them are from long after now.
FUTURE_SECONDS = 3600.0
LAST_ID = "\U0010ffff"
LAST_ROW = (1 << 63) - 1


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

    def postpone(self, ids: Sequence[str], delay: float) -> list[str]:
        return _to_its_end(partial(self._postpone, _milliseconds(delay)), ids)

    def revive(self, ids: Sequence[str], delay: float) -> list[str]:
        return _gathered(
            self._store.run(partial(self._revive, rows, delay), counted=len)
            for some in _portions(ids)
            for rows in _in_steps(self._find(some, "dead"))
        )

    def forget(self, ids: Sequence[str]) -> list[str]:
        return _gathered(
            self._store.run(partial(stored.delete, rows))
            for some in _portions(ids)
            for rows in _in_steps(self._find(some, "dead"))
        )

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """What does not fit its checksum any more is not what the client sent."""
        for some in _portions(list(dict.fromkeys(ids))):
            places = {call_id: number for number, call_id in enumerate(some)}
            rows = self._find(some, "calls", "waiting", "dead")
            # An open one stays before a dead letter that has its id too.
            rows.sort(key=lambda row: places[row.id])
            told: str | None = None
            for step in _in_steps(rows):
                intact = dict(self._store.run(partial(stored.intact, step)))
                for row in step:
                    if row in intact and row.id != told:
                        told = row.id
                        yield row.id, intact[row].payload

    def recent(self, since: float) -> Iterator[list[tuple[Call, Kept | None]]]:
        last = first_call_id(time.time() + FUTURE_SECONDS) if since > 0 else LAST_ID
        for table in ("calls", "waiting"):
            after = first_call_id(since) if since > 0 else ""
            while rows := self._store.run(partial(stored.recent, table, after, last)):
                for some in _in_steps(rows):
                    intact = self._store.run(partial(stored.intact, some))
                    yield [(call, None) for _, call in intact]
                after = rows[-1].id
        yield from self._died(since)

    def _died(self, since: float) -> Iterator[list[tuple[Call, Kept | None]]]:
        before = LAST_ROW
        while rows := self._store.run(partial(stored.recent_dead, before)):
            kept = self.kept([row.id for row in rows])
            # Somebody may have deleted one, or made it again, since the rows were read.
            died = {one: at for one, its in kept.items() if (at := its.died_at)}
            lately = [row for row in rows if died.get(row.id, 0.0) >= since]
            for some in _in_steps(lately):
                intact = self._store.run(partial(stored.intact, some))
                yield [(call, kept[call.id]) for _, call in intact]
            if died and not lately:
                return
            before = rows[-1].seq

    def kept(self, ids: Sequence[str]) -> Mapping[str, Kept]:
        kept: dict[str, Kept] = {}
        for some in _portions(ids):
            kept |= self._store.run(partial(stored.kept, some))
        return kept

    def _find(self, ids: Sequence[str], *tables: str) -> list[Found]:
        return self._store.run(partial(stored.find, ids, tables))

    def _withdraw(self, ids: Sequence[str]) -> Iterator[list[str]]:
        for some in _portions(ids):
            # Else a row could be on its way into memory while it is deleted.
            with self._loading.still:
                for rows in _in_steps(self._find(some, "calls", "waiting")):
                    yield self._take_out(rows, stored.delete, lambda ids: -len(ids))

    def _postpone(self, delay: int, ids: Sequence[str]) -> Iterator[list[str]]:
        def statements(rows: Sequence[Found], db: sqlite3.Connection) -> list[str]:
            there = stored.still_there("waiting", rows, db)
            due, new = self._owner.due_in(delay), self._owner.new_wait
            # Another number: whoever has found the row before finds nothing.
            db.executemany(sql.PUT_OFF, [(new(), due, delay, seq) for seq in there])
            return list(there.values())

        for some in _portions(ids):
            with self._loading.still:
                yield self._take_out(self._find(some, "waiting"), statements)

    def _take_out(
        self,
        rows: list[Found],
        change: Callable[[Sequence[Found], sqlite3.Connection], list[str]],
        counted: Callable[[list[str]], int] | None = None,
    ) -> list[str]:
        """Has `change` done to those that are not lent, which are not in memory then:
        as they are in the file, they are found there.
        """
        mine = [row for row in rows if not self._lending.lent(row.key)]
        ready = [self._lending.take_out(row.key) for row in mine]
        try:
            reached = self._store.run(partial(change, mine), counted=counted)
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
            rows = stored.find(ids, ("waiting",), db)
            due = self._owner.due_in(DELAY_MILLISECONDS)
            be_due = sql.be_due(due, DELAY_MILLISECONDS)
            be_due.run(db, [(row.seq,) for row in rows])
            return rows

        rows = self._store.run(statements)
        return [row.id for row in rows if not self._lending.lent(row.key)]

    def _revive(
        self, rows: list[Found], delay: float, db: sqlite3.Connection
    ) -> list[str]:
        milliseconds = _milliseconds(delay)
        due = self._owner.due_in(milliseconds)
        intact = stored.intact([row for row in rows if not row.damaged], db)
        waiting: list[Row] = []
        for row, call in intact:
            new = Call(call.payload, call.id, time.time() + delay)
            payload = call.payload if row.body is None else sql.reference(row.body)
            when = (self._owner.new_wait(), due, milliseconds)
            waiting.append((*when, *fields(new), payload, checksum(new), row.lane))
        sql.PUT_WAITING.run(db, waiting)
        sql.DELETE["dead"].run(db, [(row.seq,) for row, _ in intact])
        return [row.id for row, _ in intact]


def _milliseconds(delay: float) -> int:
    return max(DELAY_MILLISECONDS, math.ceil(delay * 1000))


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
    return result
