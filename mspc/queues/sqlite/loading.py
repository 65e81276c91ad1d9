"""Finds what lies in the file and reads what has its turn, in a greenlet of its own.

Two steps. What is found is a number and whom it goes to, some thousands in one look;
what is read is what its lane has room for. So a million calls of a service that is down
are found once, and read never, until it is back.
"""

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Callable

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from msgspec.structs import replace

from mspc.calls.call import Call
from mspc.errors import QueueFailed, QueueUnavailable
from mspc.lanes.lane import Lane
from mspc.lanes.lanes import Lanes
from mspc.process.once import Once
from mspc.queues.sqlite import statements as sql
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.delivery import Owner, Place, SqliteDelivery, table_of
from mspc.queues.sqlite.keys import Keys
from mspc.queues.sqlite.lending import Lending

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
_LAST_SEQ = (1 << 63) - 1
# Nobody has read whom these go to: so many are read at once to find out, since reading
# them takes longer than finding the others.
UNSORTED_AT_ONCE = 100
# seq, id, accepted_at, attempts, last_error, crc, body, size, lane, payload
Row = tuple[
    int, str, float, int, str, int | None, int | None, int, str | None, bytes | None
]


class Loading:
    """What is found in the file, and read when its lane asks for it.

    Attributes:
        still: whoever has it knows that nothing is being found or read.
    """

    def __init__(
        self,
        store: Store,
        owner: Owner,
        lanes: Lanes,
        lending: Lending,
        lane_of: Callable[[Call], str],
        now: Callable[[], float],
        wake_at: Callable[[float], None],
    ) -> None:
        """
        Args:
            store: the file.
            owner: whose deliveries they are.
            lanes: where they get their turns.
            lending: what is in memory.
            lane_of: reads whom a call goes to.
            now: Unix seconds that never step back.
            wake_at: look_for_due() is to be called then.
        """
        self._store = store
        self._owner = owner
        self._lanes = lanes
        self._lending = lending
        self._lane_of = lane_of
        self._now = now
        self._wake_at = wake_at
        self.still = BoundedSemaphore(1)
        self._stopping = Event()
        # Rows are found in key order, so a key is all that tells what was found. New
        # ones are told by who puts them; the others were there at the start.
        self._found_new = 0
        self._last_new = 0
        self._found_due = (0, 0)
        self._due = True
        self._unsorted = Keys()

    def start_at(self, last_new: int) -> None:
        """What was put up to `last_new` is to be found."""
        self._last_new = last_new

    def look_for_due(self) -> None:
        """Something may be due now."""
        self._due = True
        self._lending.news.set()

    def has_found(self, table: str, seq: int, due: int) -> bool:
        """Whether a row was found already, or told by whoever put it.

        Args:
            table: `calls` or `waiting`.
            seq: its row there.
            due: when it is due, Unix milliseconds; of those that wait.
        """
        if table == "waiting":
            return (due, seq) <= self._found_due
        return seq <= self._found_new or seq > self._last_new

    def stop(self) -> None:
        self._stopping.set()
        self._lending.news.set()

    def run(self) -> None:
        """Until stop(); the store is open."""
        gevent.wait((self._store.opened, self._stopping), count=1)
        failure = Once()
        while not self._stopping.is_set():
            self._lending.news.clear()  # before the look: what comes after rings again
            try:
                with self.still:
                    if self._look():
                        self._lending.news.set()  # there may be more
                failure.forget()
            except QueueFailed:
                return  # the store has said so; the service stops
            except QueueUnavailable as exc:
                if failure.is_new(exc):
                    log.warning("No calls can be read: %s", exc)
                self._stopping.wait(AGAIN_SECONDS)
                self._lending.news.set()
            self._lending.news.wait()

    def _look(self) -> bool:
        """One turn of everything; whether there was something to do."""
        # In turns: neither a backlog nor a flood of retries starves the others.
        found = [
            self._read_large(),
            self._read(),
            self._due and self._find_due(),
            self._found_new < self._last_new and self._find_new(),
            bool(self._unsorted) and self._sort(),
        ]
        return any(found)

    def _find_new(self) -> bool:
        rows = self._store.run(
            lambda db: db.execute(
                sql.SCAN_NEW, (self._found_new, self._last_new)
            ).fetchall()
        )
        self._found_new = rows[-1][0] if rows else self._last_new
        self._found(rows)
        return True

    def _find_due(self) -> bool:
        self._due = False
        now = int(self._now() * 1000)
        try:
            rows, next_due = self._store.run(
                lambda db: (
                    db.execute(sql.SCAN_DUE, (*self._found_due, now)).fetchall(),
                    db.execute(sql.NEXT_DUE, (now,)).fetchone()[0],
                )
            )
        except BaseException:
            self._due = True
            raise
        # What is not due yet comes after (now, ...), and due_in() adds nothing before.
        more = len(rows) == sql.SCAN_ROWS
        self._found_due = rows[-1][:2] if more else (now, _LAST_SEQ)
        self._due = self._due or more
        self._found([(-seq, lane) for _, seq, lane in rows])
        if next_due is not None and not self._stopping.is_set():
            self._wake_at(next_due / 1000)
        return True

    def _found(self, rows: list[tuple[int, str | None]]) -> None:
        """Thousands of them, between two turns of the event loop."""
        keys: dict[str | None, list[int]] = defaultdict(list)
        for key, lane in rows:
            keys[lane].append(key)
        self._unsorted.add(keys.pop(None, []))
        for lane, some in keys.items():
            self._lending.found(self._lanes.of(lane or ""), some)

    def _sort(self) -> bool:
        """Reads some of those of which nobody knows whom they go to."""
        keys = self._unsorted.take(UNSORTED_AT_ONCE)
        try:
            rows = self._rows(keys)
            while keys:
                row = rows.get(keys[0])
                if row is not None and row[9] is None:  # large: has to be read for it
                    row = self._one(keys[0])
                if row is not None:
                    lane = self._lane_of(self._call(row))
                    self._lending.found(self._lanes.of(lane), keys[:1])
                del keys[0]
        except BaseException:
            self._unsorted.give_back(keys)
            raise
        return True

    def _read(self) -> bool:
        wanted = self._lending.next_rows()
        if not wanted:
            return False
        try:
            rows = self._rows([key for _, keys in wanted for key in keys])
        except BaseException:
            for lane, keys in wanted:
                self._lending.not_read(lane, keys)
            raise
        for lane, keys in wanted:
            made = [self._made(key, rows[key], lane) for key in keys if key in rows]
            self._lending.read(lane, made)
        return True

    def _read_large(self) -> bool:
        wanted = self._lending.next_large()
        if not wanted:
            return False
        try:
            rows: list[Row | None] = self._store.run(
                lambda db: [
                    db.execute(sql.LOAD_ONE[place.table], (place.seq,)).fetchone()
                    for _, place in wanted
                ]
            )
        except BaseException:
            for lane, place in reversed(wanted):
                self._lending.large_not_read(lane, place)
            raise
        for (lane, place), row in zip(wanted, rows, strict=True):
            if row is None:
                self._lending.large_gone(lane, place)
            else:
                self._lending.read_large(self._delivery(place, row, lane))
        return True

    def _one(self, key: int) -> Row | None:
        """The row of this key, with its payload."""
        table = table_of(key)
        row: Row | None = self._store.run(
            lambda db: db.execute(sql.LOAD_ONE[table], (abs(key),)).fetchone()
        )
        return row

    def _rows(self, keys: list[int]) -> dict[int, Row]:
        """The rows of these keys, without payloads that are large."""
        new = [(key,) for key in keys if key > 0]
        due = [(-key,) for key in keys if key < 0]

        def load(db: sqlite3.Connection) -> dict[int, Row]:
            rows = {row[0]: row for row in sql.LOAD["calls"].fetch(db, new)}
            return rows | {-row[0]: row for row in sql.LOAD["waiting"].fetch(db, due)}

        return self._store.run(load)

    def _made(self, key: int, row: Row, lane: Lane) -> SqliteDelivery | Place:
        place = Place(table_of(key), row[0], size=row[7], body=row[6])
        return place if row[9] is None else self._delivery(place, row, lane)

    def _delivery(self, place: Place, row: Row, lane: Lane) -> SqliteDelivery:
        call = self._call(row)
        waited = place.table == "waiting"
        if waited or not call.lane:
            call = replace(call, lane=call.lane or lane.key, waited=waited)
        return SqliteDelivery(self._owner, place, call, lane, row[5])

    def _call(self, row: Row) -> Call:
        _, call_id, accepted_at, attempts, last_error, _, _, _, lane, payload = row
        return Call(
            payload or b"", call_id, accepted_at, attempts, last_error, lane or ""
        )
