"""The journal's file and what is done with it, all of it in the journal's thread."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mspc.errors import JournalUnavailable
from mspc.journal import reading
from mspc.journal.changes import Changes
from mspc.journal.counters import Counters
from mspc.journal.events import Event
from mspc.journal.file import Damaged, close_file, open_file, set_aside
from mspc.journal.retention import Retention
from mspc.journal.room import look_for_room
from mspc.journal.writing import Writer
from mspc.settings.config import JournalConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a file had when it was opened.

    Attributes:
        counters: of its calls.
        last_at: when the last of its events happened, Unix seconds; 0 for none. Of one
            that was cut off, the last before that.
        offset: of the last batch of the stream that is in it; None for none.
        cut_off: whether whoever had it before did not close it, or left something out.
        remark: of one that was damaged: its path, what is wrong with it, and its new
            path; empty when none was.
    """

    counters: Counters
    last_at: float
    offset: int | None
    cut_off: bool
    remark: tuple[object, ...] = ()


class Store:
    """For one thread, but for interrupt()."""

    def __init__(
        self,
        config: JournalConfig,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        """
        Args:
            config: where it is, and what is kept.
            clock: Unix seconds.
            timer: seconds, that go on evenly.
        """
        self._config = config
        self._clock = clock
        self._timer = timer
        self._db: sqlite3.Connection | None = None

    def open(self) -> Opened:
        """Opens the file, or a new one in place of one that is damaged.

        Raises:
            JournalUnavailable: it cannot be opened.
            sqlite3.Error, OSError: the same.
        """
        remark: tuple[object, ...] = ()
        try:
            self._db = open_file(self._config.path, self._timer)
        except Damaged as exc:
            aside = set_aside(self._config.path)
            remark = self._config.path, exc, aside
            self._db = open_file(self._config.path, self._timer)
        self._writer = Writer(self._db)
        self._retention = Retention(
            self._db,
            self._writer,
            self._config.days,
            self._config.max_calls,
            self._clock,
        )
        counters = Counters(
            self._writer.states,
            reading.count_destinations(self._db),
            reading.count_groups(self._db),
        )
        return Opened(
            counters=counters,
            last_at=self._writer.cut_at,
            offset=self._writer.offset,
            cut_off=self._writer.begin(),
            remark=remark,
        )

    def set_aside(self) -> Path:
        """Lets a damaged file go; its new name. open() begins a new one.

        Raises:
            OSError: it stays where it is.
        """
        self.drop()
        return set_aside(self._config.path)

    def write(
        self,
        events: Sequence[Event],
        offset: int | None = None,
        cut: float | None = None,
    ) -> Changes:
        """As Writer.write(); before that it notes that something is missing.

        Args:
            events: the same.
            offset: the same.
            cut: since when, Unix seconds; None for nothing.

        Raises:
            NoRoom: nothing was written, what is left of the disk is the queue's.
        """
        self._opened()
        look_for_room(self._config.path)
        if cut is not None:
            self._writer.cut(cut)
        return self._writer.write(events, offset)

    def tidy(self) -> Changes | None:
        """As Retention.step()."""
        self._opened()
        return self._retention.step()

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """The answer; raises what the question does."""
        return question(self._opened())

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            raise JournalUnavailable(f"{self._config.path} is not open.")
        return self._db

    def interrupt(self) -> None:
        """From another thread: ends what runs, however long it would take."""
        if self._db is not None:
            self._db.interrupt()

    def drop(self) -> None:
        """Lets the file go as it is; the next open() mends what has to be mended."""
        if self._db is not None:
            db, self._db = self._db, None
            db.close()

    def close(self, complete: bool) -> None:
        """Empties the WAL and lets the file go.

        Args:
            complete: whether the file has all that was to be written.

        Raises:
            sqlite3.Error: the WAL stays, for the next open().
        """
        if self._db is not None:
            db, self._db = self._db, None
            try:
                if complete:
                    self._writer.end()
            finally:
                close_file(db)
