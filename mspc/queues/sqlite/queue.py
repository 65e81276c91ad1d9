"""The embedded queue: a SQLite file, nothing to install.

Calls that were never attempted lie in `calls`, in order of arrival; calls that failed
lie in `waiting`, in due order; the dead in `dead`. What is lent out is known in memory
only: one process owns the file, so after a crash every row is ready again. Each row
has a checksum, since SQLite has none: what a failing disk has altered is not sent.
"""

import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gevent
from gevent.event import Event

from mspc.calls.call import Call
from mspc.errors import MspcError, QueueUnavailable
from mspc.queues.base import Delivery
from mspc.queues.clock import Alarm
from mspc.queues.sqlite import statements as sql
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.delivery import Move, Place, SqliteDelivery, checksum, fields
from mspc.queues.sqlite.lending import Lending
from mspc.queues.sqlite.tidying import Tidying
from mspc.settings.config import SqliteConfig

log = logging.getLogger(__name__)

SETTLE_AGAIN_SECONDS = 1.0
_LAST_SEQ = (1 << 63) - 1
# seq, id, accepted_at, attempts, last_error, crc, body, size, payload
_Row = tuple[int, str, float, int, str, int | None, int | None, int, bytes | None]


class SqliteQueue:
    """The queue contract on one file."""

    def __init__(self, config: SqliteConfig) -> None:
        self._store = Store(config.path)
        self._tidying = Tidying(self._store)
        self._lending = Lending()
        self._bodies = itertools.count(1)
        self._orphans: list[int] = []
        self._look = True  # the file may have calls that were not lent
        self._loading = False
        self._news = Event()
        self._cancelled = False
        self._closing = Event()
        self._alarm = Alarm(self._look_again, self._now)
        # Rows are taken in key order, so a key is all that tells what was lent out.
        self._last_new = 0
        self._last_due = (0, 0)
        # A wall clock that never steps back while we run: (due, seq) only grows.
        self._started = time.time() - time.monotonic()

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        self._store.open(on_failure, self._take_stock)
        self._tidying.start(lambda: self._orphans)

    def _take_stock(self, db: sqlite3.Connection) -> None:
        """The first transaction; nothing is put or lent before it."""
        db.execute(sql.CLAMP_DUE, {"now": round(self._now() * 1000)})
        new, waiting, dead = db.execute(sql.COUNTS).fetchone()
        self._store.calls = new + waiting
        last = db.execute(sql.LAST_BODY).fetchone()
        if last is not None:
            self._bodies = itertools.count(last[0] + 1)
            self._orphans = [body for (body,) in db.execute(sql.ORPHANS)]
        log.info(
            "%s is open: %d calls to make, %d waiting for their next attempt,"
            " %d dead letters",
            self._store.path,
            new,
            waiting,
            dead,
        )

    def put(self, call: Call) -> None:
        stored, body = call.payload, None
        also: tuple[tuple[Any, tuple[object, ...]], ...] = ()
        if sql.needs_body(stored):
            body = self.new_body()
            also = ((sql.PUT_BODY, (body, call.payload)),)
            stored = sql.reference(body)
        size = len(call.payload)
        row = (*fields(call), stored, checksum(call))
        try:
            seq = self._store.run_for(sql.PUT, row, *also, grows=size, adds=1)
        except BaseException:  # who waits may have been ended: it may be stored
            self._look_again()
            raise
        if self._is_next(seq):
            self._last_new = seq
            place = Place("calls", seq, size, body)
            self._lending.add(SqliteDelivery(self, place, call))
            self._news.set()
        else:
            self._look_again()

    def _is_next(self, seq: int) -> bool:
        """Whether a new call is lent without being read: nothing else has its turn."""
        busy = self._look or self._loading or len(self._lending) >= sql.LOAD_ROWS
        free = not busy and self._lending.open
        return seq == self._last_new + 1 and free and not self._cancelled

    def _look_again(self) -> None:
        self._look = True
        self._news.set()

    def deliveries(self) -> Iterator[Delivery]:
        while not self._cancelled:
            if not self._store.opened.is_set():
                self._news.clear()
                gevent.wait((self._store.opened, self._news), count=1)
                continue
            large = self._lending.next_large()
            if large:
                self._try(partial(self._read_large, large))
            if self._lending:
                delivery = self._lending.take()
                if delivery.intact:
                    yield delivery
                else:
                    self._set_aside(delivery)
                continue
            self._news.clear()  # before the look: what comes after it rings again
            if not self._look or not self._lending.open:
                self._news.wait()
                continue
            self._look, self._loading = False, True
            try:
                if not self._try(self._load):
                    self._look = True
            finally:
                self._loading = False

    def _try(self, read: Callable[[], None]) -> bool:
        """Whether it succeeded; if not, there was a pause."""
        try:
            read()
        except QueueUnavailable as exc:
            log.warning("No calls can be read: %s", exc)
            self._closing.wait(SETTLE_AGAIN_SECONDS)
            return False
        return True

    def cancel(self) -> None:
        self._cancelled = True
        self._alarm.cancel()
        self._lending.clear()
        self._news.set()

    def close(self) -> None:
        self.cancel()
        self._closing.set()
        self._tidying.stop()
        self._store.close()

    def problem(self) -> str | None:
        return self._store.problem()

    def remark(self) -> str | None:
        return None

    def size(self) -> int:
        """Calls stored and not settled yet, the waiting ones included."""
        return self._store.calls

    def _now(self) -> float:
        return self._started + time.monotonic()

    def _load(self) -> None:
        now = int(self._now() * 1000)
        new, due, next_due = self._store.run(
            lambda db: (
                db.execute(sql.LOAD_NEW, (self._last_new,)).fetchall(),
                db.execute(sql.LOAD_DUE, (*self._last_due, now)).fetchall(),
                db.execute(sql.NEXT_DUE, (now,)).fetchone()[0],
            )
        )
        # All or nothing: a position that is passed without its rows would hide them.
        # In turns: neither a flood of new calls nor one of retries starves the other.
        for pair in itertools.zip_longest(new, (row[1:] for row in due)):
            for table, row in zip(("calls", "waiting"), pair, strict=True):
                if row:
                    self._lend(table, row)
        if new:
            self._last_new = new[-1][0]
        # What is not due yet comes after (now, ...), and due_in() adds nothing before.
        self._last_due = due[-1][:2] if len(due) == sql.LOAD_ROWS else (now, _LAST_SEQ)
        if sql.LOAD_ROWS in (len(new), len(due)):  # there may be more
            self._look = True
        if next_due is not None and not self._cancelled:
            self._alarm.set(next_due / 1000)

    def _lend(self, table: str, row: _Row) -> None:
        place = Place(table, row[0], size=row[7], body=row[6])
        if row[8] is None:
            self._lending.add_unread(place)
        else:
            self._lending.add(self._delivery(place, row))

    def _delivery(self, place: Place, row: _Row) -> SqliteDelivery:
        _, call_id, accepted_at, attempts, last_error, crc, _, _, payload = row
        call = Call(payload or b"", call_id, accepted_at, attempts, last_error)
        return SqliteDelivery(self, place, call, crc)

    def _read_large(self, places: list[Place]) -> None:
        """Reads the payloads of calls for which there is room now."""
        try:
            rows: list[_Row] = self._store.run(
                lambda db: [
                    db.execute(sql.LOAD_ONE[place.table], (place.seq,)).fetchone()
                    for place in places
                ]
            )
        except BaseException:
            self._lending.put_back(places)
            raise
        self._lending.add_read(
            [self._delivery(*pair) for pair in zip(places, rows, strict=True)]
        )

    def _set_aside(self, delivery: "SqliteDelivery") -> None:
        log.error(
            "%s is damaged in %s, now a dead letter", delivery.call.id, self._store.path
        )
        delivery.bury(delivery.call, "damaged in the file: its checksum does not fit")

    def delete(self, place: Place) -> None:
        also = () if place.body is None else ((sql.DELETE_BODY, (place.body,)),)
        self._settle(
            place,
            partial(
                self._store.run_for,
                sql.DELETE[place.table],
                (place.seq,),
                *also,
                adds=-1,
            ),
        )

    def bury(self, place: Place, move: Move) -> None:
        self._settle(place, partial(self._store.run, move, adds=-1))

    def wait(self, place: Place, move: Move) -> None:
        due: int = self._settle(place, partial(self._store.run, move))
        if not self._cancelled:
            self._alarm.set(due / 1000)

    def new_body(self) -> int:
        return next(self._bodies)

    def _settle(self, place: Place, store: Callable[[], Any]) -> Any:
        try:
            return self._settled(store)
        finally:
            if self._lending.settled(place):
                self._news.set()

    def _settled(self, store: Callable[[], Any]) -> Any:
        """Does what settles a delivery, again until it is stored or the queue closes.

        Giving up would mean to lend the call out again, so that a full disk had the
        same successful call made over and over.
        """
        while True:
            try:
                return store()
            except QueueUnavailable as exc:
                log.warning("A call could not be settled, trying again: %s", exc)
                if self._closing.wait(SETTLE_AGAIN_SECONDS):
                    raise

    def due_in(self, milliseconds: int) -> int:
        """A due time no load has passed yet. For the store's thread, as loads are."""
        return int(self._now() * 1000) + 1 + milliseconds
