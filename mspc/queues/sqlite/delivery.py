"""A row of the embedded queue, lent out: what settling it tells SQLite."""

import math
import sqlite3
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mspc.calls.call import Call
from mspc.lanes.lane import Lane
from mspc.queues.sqlite import statements as sql

Move = Callable[[sqlite3.Connection], int | None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call lies.

    Attributes:
        table: `calls` or `waiting`.
        seq: its row there.
        size: bytes of its payload.
        body: the number of its payload in `bodies`; None when the row has it.
    """

    table: str
    seq: int
    size: int
    body: int | None = None

    @property
    def key(self) -> int:
        """One number for both tables: less than 0 in `waiting`."""
        return self.seq if self.table == "calls" else -self.seq


def table_of(key: int) -> str:
    """Where the row of a Place.key lies."""
    return "calls" if key > 0 else "waiting"


class Owner(Protocol):
    """The queue, as far as its deliveries need it."""

    def delete(self, delivery: "SqliteDelivery") -> None:
        """Takes a call out of the queue."""

    def bury(self, delivery: "SqliteDelivery", move: Move) -> None:
        """Runs what takes a call to the dead letters."""

    def wait(self, delivery: "SqliteDelivery", move: Move) -> None:
        """Runs what lets a call wait and gives its due time, and wakes then."""

    def due_in(self, milliseconds: int) -> int:
        """A due time no load has passed yet. For the store's thread, as loads are."""

    def new_body(self) -> int:
        """A number that no body has had."""

    def new_wait(self) -> int:
        """A number that no row of `waiting` has had while we run."""


DAMAGE = "damaged in the file: its checksum does not fit"


class SqliteDelivery:
    """A row, lent out."""

    __slots__ = ("_crc", "_owner", "_settled", "call", "lane", "place")

    def __init__(
        self,
        owner: Owner,
        place: Place,
        call: Call,
        lane: Lane,
        crc: int | None = None,
    ) -> None:
        self.lane = lane
        self.place = place
        self.call = call
        self._crc = crc
        self._owner = owner
        self._settled = False

    @property
    def alive(self) -> bool:
        return True  # nobody but this process lends it

    @property
    def damage(self) -> str:
        intact = self._crc is None or self._crc == checksum(self.call)
        return "" if intact else DAMAGE

    def ack(self) -> None:
        if self._settle_once():
            self._owner.delete(self)

    def retry(self, call: Call, delay: float) -> None:
        milliseconds = max(1, math.ceil(delay * 1000))
        new = (call.attempts, call.last_error, checksum(call), lane_of_row(call))

        def move(db: sqlite3.Connection) -> int:
            self._move_body(db)
            due = self._owner.due_in(milliseconds)
            row = (due, milliseconds, *new, self.place.seq)
            if self.place.table == "waiting":
                db.execute(sql.WAIT_AGAIN, row)
            else:
                db.execute(sql.WAIT, (self._owner.new_wait(), *row))
                self._delete_row(db)
            return due

        if self._settle_once():
            self._owner.wait(self, move)

    def bury(self, call: Call, reason: str) -> None:
        died = (time.time(), reason, call.attempts, call.last_error)
        lane = lane_of_row(call)
        # A damaged row keeps the checksum that shows it.
        crc = self._crc if self.damage else checksum(call)

        def move(db: sqlite3.Connection) -> None:
            self._move_body(db)
            db.execute(
                sql.DIE[self.place.table],
                (*died, crc, lane, self.place.seq),
            )
            self._delete_row(db)

        if self._settle_once():
            self._owner.bury(self, move)

    def _settle_once(self) -> bool:
        first, self._settled = not self._settled, True
        return first

    def _delete_row(self, db: sqlite3.Connection) -> None:
        sql.DELETE[self.place.table].run(db, [(self.place.seq,)])

    def _move_body(self, db: sqlite3.Connection) -> None:
        """Takes a long payload of an older layout out of its row, for good."""
        place = self.place
        if place.body is not None or place.size <= sql.LARGEST_INLINE:
            return
        body = self._owner.new_body()
        insert, refer = sql.MOVE_BODY[place.table]
        db.execute(insert, (body, place.seq))
        db.execute(refer, (sql.reference(body), place.seq))


def checksum(call: Call) -> int:
    return zlib.crc32(call.payload, zlib.crc32(repr(fields(call)).encode()))


def fields(call: Call) -> tuple[str, float, int, str]:
    return call.id, call.accepted_at, call.attempts, call.last_error


def lane_of_row(call: Call) -> str | None:
    return call.lane or None
