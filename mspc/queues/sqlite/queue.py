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
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from gevent.event import Event

from mspc.calls.call import Call
from mspc.errors import MspcError, QueueUnavailable
from mspc.queues.base import Delivery
from mspc.queues.requeue import Alarm
from mspc.queues.sqlite import statements as sql
from mspc.queues.sqlite.store import Statements, Store
from mspc.settings.config import SqliteConfig

log = logging.getLogger(__name__)

SETTLE_AGAIN_SECONDS = 1.0
_LAST_SEQ = (1 << 63) - 1
_Row = tuple[int, str, float, int, str, bytes, int | None]


class SqliteQueue:
    """The queue contract on one file."""

    def __init__(self, config: SqliteConfig) -> None:
        self._store = Store(config.path)
        self._loaded: deque[SqliteDelivery] = deque()
        self._look = True  # the file may have calls that were not lent
        self._loading = False
        self._news = Event()
        self._size = 0
        self._cancelled = False
        self._closing = Event()
        self._alarm = Alarm(self._look_again, self._now)
        # Rows are taken in key order, so a key is all that tells what was lent out.
        self._last_new = 0
        self._last_due = (0, 0)
        # A wall clock that never steps back while we run: (due, seq) only grows.
        self._started = time.time() - time.monotonic()

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        self._store.open(on_failure)
        now = {"now": round(self._now() * 1000)}
        self._store.run(lambda db: db.execute(sql.CLAMP_DUE, now))
        new, waiting, dead = self._store.run(_counts)
        self._size = new + waiting
        log.info(
            "%s is open: %d calls to make, %d waiting for their next attempt,"
            " %d dead letters",
            self._store.path,
            new,
            waiting,
            dead,
        )

    def put(self, call: Call) -> None:
        row = (*_fields(call), call.payload, _checksum(call))
        try:
            seq = self._store.run_for(sql.PUT, row, grows=True)
        except BaseException:  # who waits may have been ended: it may be stored
            self._look_again()
            raise
        self._size += 1
        if self._is_next(seq):
            self._last_new = seq
            self._loaded.append(SqliteDelivery(self, "calls", seq, call))
            self._news.set()
        else:
            self._look_again()

    def _is_next(self, seq: int) -> bool:
        """Whether a new call is lent without being read: nothing else has its turn."""
        busy = self._look or self._loading or len(self._loaded) >= sql.LOAD_ROWS
        return seq == self._last_new + 1 and not busy and not self._cancelled

    def _look_again(self) -> None:
        self._look = True
        self._news.set()

    def deliveries(self) -> Iterator[Delivery]:
        while not self._cancelled:
            if self._loaded:
                delivery = self._loaded.popleft()
                if delivery.intact:
                    yield delivery
                else:
                    self._set_aside(delivery)
                continue
            self._news.clear()  # before the look: what comes after it rings again
            if not self._look:
                self._news.wait()
                continue
            self._look, self._loading = False, True
            try:
                self._load()
            except QueueUnavailable as exc:
                self._look = True
                log.warning("No calls can be read: %s", exc)
                self._closing.wait(SETTLE_AGAIN_SECONDS)
            finally:
                self._loading = False

    def cancel(self) -> None:
        self._cancelled = True
        self._alarm.cancel()
        self._loaded.clear()
        self._news.set()

    def close(self) -> None:
        self.cancel()
        self._closing.set()
        self._store.close()

    def problem(self) -> str | None:
        return self._store.problem()

    def remark(self) -> str | None:
        return None

    def size(self) -> int:
        """Calls stored and not settled yet, the waiting ones included."""
        return self._size

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
        # In turns: neither a flood of new calls nor one of retries starves the other.
        lent = [
            _lent(self, table, row)
            for pair in itertools.zip_longest(new, (row[1:] for row in due))
            for table, row in zip(("calls", "waiting"), pair, strict=True)
            if row
        ]
        # All or nothing: a position that is passed without its rows would hide them.
        self._loaded.extend(lent)
        if new:
            self._last_new = new[-1][0]
        # What is not due yet comes after (now, ...), and due_in() adds nothing before.
        self._last_due = due[-1][:2] if len(due) == sql.LOAD_ROWS else (now, _LAST_SEQ)
        if sql.LOAD_ROWS in (len(new), len(due)):  # there may be more
            self._look = True
        if next_due is not None and not self._cancelled:
            self._alarm.set(next_due / 1000)

    def _set_aside(self, delivery: "SqliteDelivery") -> None:
        log.error(
            "%s is damaged in %s, now a dead letter", delivery.call.id, self._store.path
        )
        delivery.bury(delivery.call, "damaged in the file: its checksum does not fit")

    def delete(self, table: str, seq: int) -> None:
        """Takes a call out of the queue."""
        self._settled(partial(self._store.run_for, sql.DELETE[table], (seq,)))
        self._size -= 1

    def bury(self, move: Statements) -> None:
        """Runs what takes a call to the dead letters."""
        self._settled(partial(self._store.run, move))
        self._size -= 1

    def wait(self, move: Callable[[sqlite3.Connection], int]) -> None:
        """Runs what lets a call wait, and wakes when it is due."""
        due: int = self._settled(partial(self._store.run, move))
        if not self._cancelled:
            self._alarm.set(due / 1000)

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


class SqliteDelivery:
    """A row, lent out."""

    __slots__ = ("_crc", "_queue", "_settled", "_table", "call", "seq")

    def __init__(
        self,
        queue: SqliteQueue,
        table: str,
        seq: int,
        call: Call,
        crc: int | None = None,
    ) -> None:
        self.seq = seq
        self.call = call
        self._crc = crc
        self._queue = queue
        self._table = table
        self._settled = False

    @property
    def alive(self) -> bool:
        return True  # nobody but this process lends it

    @property
    def intact(self) -> bool:
        """Whether the row is what was written, as far as anybody can tell."""
        return self._crc is None or self._crc == _checksum(self.call)

    def ack(self) -> None:
        if self._settle_once():
            self._queue.delete(self._table, self.seq)

    def retry(self, call: Call, delay: float) -> None:
        milliseconds = max(1, round(delay * 1000))
        new = (call.attempts, call.last_error, _checksum(call))

        def move(db: sqlite3.Connection) -> int:
            due = self._queue.due_in(milliseconds)
            row = (due, milliseconds, *new, self.seq)
            if self._table == "waiting":
                db.execute(sql.WAIT_AGAIN, row)
            else:
                db.execute(sql.WAIT, row)
                self._delete(db)
            return due

        if self._settle_once():
            self._queue.wait(move)

    def bury(self, call: Call, reason: str) -> None:
        died = (time.time(), reason, call.attempts, call.last_error)
        # A damaged row keeps the checksum that shows it.
        crc = _checksum(call) if self.intact else self._crc

        def move(db: sqlite3.Connection) -> None:
            db.execute(sql.DIE[self._table], (*died, crc, self.seq))
            self._delete(db)

        if self._settle_once():
            self._queue.bury(move)

    def _settle_once(self) -> bool:
        first, self._settled = not self._settled, True
        return first

    def _delete(self, db: sqlite3.Connection) -> None:
        db.execute(f"DELETE FROM {self._table} WHERE seq = ?", (self.seq,))


def _lent(queue: SqliteQueue, table: str, row: _Row) -> SqliteDelivery:
    seq, call_id, accepted_at, attempts, last_error, payload, crc = row
    call = Call(payload, call_id, accepted_at, attempts, last_error)
    return SqliteDelivery(queue, table, seq, call, crc)


def _fields(call: Call) -> tuple[str, float, int, str]:
    return call.id, call.accepted_at, call.attempts, call.last_error


def _checksum(call: Call) -> int:
    return zlib.crc32(call.payload, zlib.crc32(repr(_fields(call)).encode()))


def _counts(db: sqlite3.Connection) -> tuple[int, int, int]:
    counts: tuple[int, int, int] = db.execute(
        "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM waiting),"
        " (SELECT count(*) FROM dead)"
    ).fetchone()
    return counts
