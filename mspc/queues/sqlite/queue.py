"""The embedded queue: a SQLite file, nothing to install.

Calls that were never attempted lie in `calls`, in order of arrival; calls that failed
lie in `waiting`, in due order; the dead in `dead`. What is lent out is known in memory
only: one process owns the file, so after a crash every row is ready again. Each row
has a checksum, since SQLite has none: what a failing disk has altered is not sent.
"""

import itertools
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from gevent.event import Event

from mspc.calls.call import Call
from mspc.errors import MspcError, QueueError, QueueFailed, QueueUnavailable
from mspc.lanes.lanes import Lanes
from mspc.lanes.one import OneLane
from mspc.process.bulk import Bulk, Row
from mspc.process.greenlets import Watched
from mspc.queues.base import Delivery, Kept, unread
from mspc.queues.clock import Alarm
from mspc.queues.sqlite import statements as sql
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.delivery import (
    Move,
    Place,
    SqliteDelivery,
    checksum,
    fields,
    lane_of_row,
)
from mspc.queues.sqlite.finding import Finding
from mspc.queues.sqlite.lending import Lending
from mspc.queues.sqlite.loading import Loading
from mspc.queues.sqlite.tidying import Tidying
from mspc.queues.watch import ACK, BURY, NOBODY, PUT, RETRY, StoreWatch
from mspc.settings.config import SqliteConfig

log = logging.getLogger(__name__)

SETTLE_AGAIN_SECONDS = 1.0
# Longer than what is made due now is from being due.
AT_ONCE_SECONDS = 0.005


class SqliteQueue:
    """The queue contract on one file."""

    looks_up = True

    def __init__(
        self,
        config: SqliteConfig,
        lanes: Lanes | None = None,
        lane_of: Callable[[Call], str] = unread,
        watch: StoreWatch = NOBODY,
    ) -> None:
        """
        Args:
            config: the file.
            lanes: whose turn it is; without them calls come in order.
            lane_of: reads whom a call goes to that lies in the file without it.
            watch: told how the file does.
        """
        self._store = Store(config.path, watch)
        self._watch = watch
        self._tidying = Tidying(self._store)
        self._lanes = OneLane() if lanes is None else lanes
        self._lane_of = lane_of
        self._lending = Lending(self._lanes)
        self._bodies = itertools.count(1)
        self._waits = itertools.count(1)
        self._orphans: list[int] = []
        self._cancelled = False
        self._closing = Event()
        # A wall clock that never steps back while we run: (due, seq) only grows.
        self._started = time.time() - time.monotonic()
        self._loading = Loading(
            self._store,
            self,
            self._lanes,
            self._lending,
            lane_of,
            self._now,
            lambda due: self._alarm.set(due),
        )
        self._alarm = Alarm(self._loading.look_for_due, self._now)
        self._finding = Finding(
            self._store, self, self._loading, self._lending, self._lanes.of
        )
        self._loader = Watched(f"reading of {config.path}", self._loading.run)

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        self._store.open(on_failure, self._take_stock)
        self._tidying.start(lambda: self._orphans)
        self._loader.start()

    def _take_stock(self, db: sqlite3.Connection) -> None:
        """The first transaction; nothing is put or lent before it."""
        db.execute(sql.CLAMP_DUE, {"now": round(self._now() * 1000)})
        new, waiting, dead = db.execute(sql.COUNTS).fetchone()
        self._store.calls = new + waiting
        self._loading.start_at(db.execute(sql.LAST_NEW).fetchone()[0])
        self._waits = itertools.count(db.execute(sql.LAST_WAITING).fetchone()[0] + 1)
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

    def put(self, call: Call, delay: float = 0.0) -> None:
        try:
            self._put(call, delay)
        except QueueError:
            self._watch.failed(PUT)
            raise

    def _put(self, call: Call, delay: float) -> None:
        stored, body = call.payload, None
        also: tuple[tuple[Bulk, Row], ...] = ()
        if sql.needs_body(stored):
            self._store.wait_until_open()  # until then nobody knows the next number
            body = self.new_body()
            also = ((sql.PUT_BODY, (body, call.payload)),)
            stored = sql.reference(body)
        size = len(call.payload)
        lane = self._lanes.of(call.lane or self._lane_of(call))
        row = (*fields(call), stored, checksum(call), lane_of_row(call))

        def found(seq: int) -> None:
            self._lending.found(lane, [seq])

        if delay > 0:
            self._put_waiting(row, also, size, delay)
            return
        seq = self._store.run_for(
            sql.PUT, row, *also, grows=size, adds=1, if_left=found
        )
        place = Place("calls", seq, size, body)
        self._lending.add(SqliteDelivery(self, place, call, lane))

    def _put_waiting(
        self,
        row: Row,
        also: tuple[tuple[Bulk, Row], ...],
        size: int,
        delay: float,
    ) -> None:
        milliseconds = math.ceil(delay * 1000)

        def store(db: sqlite3.Connection) -> int:
            for statement, body in also:
                statement.run(db, [body])
            due = self.due_in(milliseconds)
            sql.PUT_WAITING.run(db, [(self.new_wait(), due, milliseconds, *row)])
            return due

        try:
            self._store.run(store, grows=size, adds=1)
        finally:  # also when whoever waits for the commit was ended meanwhile
            if not self._cancelled:
                self._alarm.set(self._now() + delay)

    def deliveries(self) -> Iterator[Delivery]:
        while not self._cancelled:
            delivery: Any = self._lanes.take()  # those that were offered here
            if delivery is not None:
                yield delivery
            else:
                self._lanes.wait()

    def cancel(self) -> None:
        self._cancelled = True
        self._alarm.cancel()
        self._loading.stop()
        self._lanes.changed.set()

    def close(self) -> None:
        self.cancel()
        self._closing.set()
        self._loader.stop()
        self._tidying.stop()
        self._store.close()

    def connected(self) -> None: ...
    def spooled(self) -> None: ...

    def cancelled(self, when: Mapping[str, float]) -> None: ...

    def withdraw(self, ids: Sequence[str]) -> list[str]:
        return self._finding.withdraw(ids)

    def hurry(self, ids: Sequence[str]) -> list[str]:
        return self._made_due(0.0, self._finding.hurry, ids)

    def postpone(self, ids: Sequence[str], delay: float) -> list[str]:
        return self._made_due(delay, self._finding.postpone, ids, delay)

    def revive(self, ids: Sequence[str], delay: float = 0.0) -> list[str]:
        return self._made_due(delay, self._finding.revive, ids, delay)

    def forget(self, ids: Sequence[str]) -> list[str]:
        return self._finding.forget(ids)

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        return self._finding.payloads(ids)

    def recent(self, since: float) -> Iterator[list[tuple[Call, Kept | None]]]:
        return self._finding.recent(since)

    def kept(self, ids: Sequence[str]) -> Mapping[str, Kept]:
        return self._finding.kept(ids)

    def problem(self) -> str | None:
        return self._store.problem() or self._loader.problem()

    def remark(self) -> str | None:
        return None

    def size(self) -> int:
        """Calls stored and not settled yet, the waiting ones included."""
        return self._store.calls

    def _made_due(
        self, delay: float, verb: Callable[..., list[str]], *arguments: object
    ) -> list[str]:
        """What `verb` makes due in so many seconds is found then."""
        try:
            return verb(*arguments)
        finally:  # also when whoever waits for the commit was ended meanwhile
            if not self._cancelled:
                self._alarm.set(self._now() + max(delay, AT_ONCE_SECONDS))

    def _now(self) -> float:
        return self._started + time.monotonic()

    def delete(self, delivery: SqliteDelivery) -> None:
        place = delivery.place
        also = () if place.body is None else ((sql.DELETE_BODY, (place.body,)),)
        self._settle(
            delivery,
            partial(
                self._store.run_for,
                sql.DELETE[place.table],
                (place.seq,),
                *also,
                adds=-1,
            ),
            ACK,
        )

    def bury(self, delivery: SqliteDelivery, move: Move) -> None:
        self._settle(delivery, partial(self._store.run, move, adds=-1), BURY)

    def wait(self, delivery: SqliteDelivery, move: Move) -> None:
        due: int = self._settle(delivery, partial(self._store.run, move), RETRY)
        if not self._cancelled:
            self._alarm.set(due / 1000)

    def new_body(self) -> int:
        return next(self._bodies)

    def new_wait(self) -> int:
        return next(self._waits)

    def _settle(
        self, delivery: SqliteDelivery, store: Callable[[], Any], operation: str
    ) -> Any:
        try:
            return self._settled(store, operation)
        finally:
            self._lending.settled(delivery)

    def _settled(self, store: Callable[[], Any], operation: str) -> Any:
        """Does what settles a delivery, again until it is stored or the queue closes.

        Giving up would mean to lend the call out again, so that a full disk had the
        same successful call made over and over.
        """
        told = ""
        while True:
            try:
                return store()
            except QueueFailed:
                self._watch.failed(operation)
                raise
            except QueueUnavailable as exc:
                self._watch.failed(operation)
                if str(exc) != told:  # a disk may be full for hours
                    told = str(exc)
                    log.warning("A call could not be settled, trying again: %s", told)
                if self._closing.wait(SETTLE_AGAIN_SECONDS):
                    raise

    def due_in(self, milliseconds: int) -> int:
        """A due time no load has passed yet. For the store's thread, as loads are."""
        return int(self._now() * 1000) + 1 + milliseconds
