"""Gives back what the embedded queue's file needs no more, in steps nobody notices.

SQLite reuses the pages of what was deleted and keeps them else: after a backlog the
file would stay as large as it ever was, and so would the WAL.
"""

import logging
import sqlite3
import time
from collections.abc import Callable

import gevent
from gevent.event import Event

from mspc.errors import MspcError
from mspc.process.greenlets import Watched
from mspc.queues.sqlite import statements as sql
from mspc.queues.sqlite.commits import Store
from mspc.queues.sqlite.file import empty_wal
from mspc.queues.sqlite.space import PAGE_BYTES, free_in, space_of, wal_pages

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# Whoever stores a call waits for a step at most, and most of the time for none.
STEP_SECONDS = 0.01
REST = 2  # times as long as the step before
FEWEST_PAGES, FIRST_PAGES, MOST_PAGES = 32, 64, 4096
ORPHANS_AT_ONCE = 8
# Free pages that are kept for the next calls; from twice as many on they go.
KEPT_BYTES = 4 * 1024 * 1024
# The file itself is cut when the WAL is emptied: now and then, and at the end.
STEPS_BEFORE_CUT = 32


class Tidying:
    """Looks every second whether there was work, and then what can be given back."""

    def __init__(
        self, store: Store, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._store = store
        self._clock = clock
        self._stopping = Event()
        self._watched = Watched(f"tidying of {store.path}", self._run)
        self._orphans: list[int] = []
        self._seen = -1  # transactions, at the last look
        self._rested = False
        self._pages = FIRST_PAGES
        self._steps = 0  # that gave pages back since the file was cut

    def start(self, orphans: Callable[[], list[int]]) -> None:
        """
        Args:
            orphans: the bodies that no call refers to, asked for when the file is open.
        """
        self._find_orphans = orphans
        self._watched.start()

    def stop(self) -> None:
        """May be called without start()."""
        self._stopping.set()
        self._watched.stop()

    def _run(self) -> None:
        gevent.wait((self._store.opened, self._stopping), count=1)
        self._orphans = self._find_orphans()
        pause = LOOK_SECONDS
        while not self._stopping.wait(pause):
            try:
                pause = self._look()
            except MspcError as exc:  # no room for a long step, perhaps
                log.debug("Nothing was tidied: %s", exc)
                pause = LOOK_SECONDS
                self._pages, self._seen = FEWEST_PAGES, -1

    def _look(self) -> float:
        """One step, if there is anything to do; seconds until the next look."""
        if self._store.transactions == self._seen:
            if not self._rested:
                self._empty_wal(grown=True)
            self._rested = True
            return LOOK_SECONDS
        self._seen = self._store.transactions
        self._rested = False
        began = self._clock()
        gave_back = self._store.run_alone(self._step)
        took = self._clock() - began
        if gave_back:
            self._seen = -1  # there may be more
            self._adapt(took)
            return min(REST * took, LOOK_SECONDS)
        if self._steps:
            self._steps = 0
            self._empty_wal()
        return LOOK_SECONDS

    def _step(self, db: sqlite3.Connection) -> bool:
        """Whether something was given back. Runs in the store's thread."""
        if self._orphans:
            some = self._orphans[-ORPHANS_AT_ONCE:]
            del self._orphans[-ORPHANS_AT_ONCE:]
            sql.DELETE_BODY.run(db, [(body,) for body in some])
            return True
        free = self._store.inside = free_in(db)
        kept = min(KEPT_BYTES, space_of(self._store.path).reserve)
        if free <= (kept if self._steps else 2 * kept):
            return False
        # In the WAL each of them may be one page, or more.
        most = min(self._pages, wal_pages(self._store.path))
        pages = min(most, (free - kept) // PAGE_BYTES + 1)
        # execute() takes one step, and with it one page, since there are no rows.
        db.executescript(f"PRAGMA incremental_vacuum({pages})")
        self._store.inside = free_in(db)
        return self._store.inside < free  # a file without auto_vacuum keeps all

    def _adapt(self, took: float) -> None:
        if took > STEP_SECONDS:
            self._pages = max(self._pages // 2, FEWEST_PAGES)
        elif took < STEP_SECONDS / 2:
            self._pages = min(self._pages * 2, MOST_PAGES)
        self._steps += 1
        if self._steps % STEPS_BEFORE_CUT == 0:
            self._empty_wal()

    def _empty_wal(self, grown: bool = False) -> None:
        """Empties the WAL; with `grown`, only one that is larger than it has to be.

        The volume is asked in the store's thread: it may hang.
        """
        path = self._store.path
        self._store.run_alone(
            lambda db: empty_wal(
                db, path, above=wal_pages(path) * PAGE_BYTES if grown else 0
            )
        )
