"""The journal: events go in and are written a moment later, questions are answered."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from gevent.event import Event as Flag
from msgspec.structs import replace

from mspc.calls.call import new_call_id
from mspc.errors import JournalUnavailable
from mspc.journal import reading
from mspc.journal import statements as sql
from mspc.journal.base import (
    EVERYTHING,
    Count,
    Filter,
    Group,
    Page,
    Seen,
    Summary,
    Tally,
)
from mspc.journal.events import Attempted, Decided, Event
from mspc.journal.gathering import Shared
from mspc.journal.keeper import Keeper
from mspc.journal.lasting import Lasting
from mspc.journal.leisure import Leisure
from mspc.journal.losses import EVER
from mspc.journal.writing import CUT_AT
from mspc.settings.config import JournalConfig

# For one page: some twenty milliseconds in all, where nothing else is done.
PAGE_LOOKS = 20
# Asked for at once; and of how many causes of death a question looks for the ends.
GROUPS = 5
DESTINATIONS = 200
STALE_GROUPS = 20


class Journal:
    """A LossyRecorder and a View; base.py and lossy.py say what its methods do."""

    on = True

    def __init__(
        self,
        config: JournalConfig,
        shared: Shared | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            config: where the file is, and what is kept.
            shared: other instances; None when it is this one's own.
            clock: Unix seconds.
            timer: seconds, that go on evenly.
        """
        self.body_bytes = config.body_bytes
        self._shared = shared
        self._clock = clock
        self._keeper = Keeper(config, shared, clock, timer)
        self._known = self._keeper.known
        self._lasting = Lasting(self._keeper)
        self._leisure = Leisure(self._keeper.is_busy)

    def start(self) -> None:
        """Returns soon, when it takes long to look at the file, too."""
        self._keeper.start()

    def stop(self) -> None:
        """Writes what has gathered and lets the file go; no dead disk is waited for.

        May be called twice, or without start().
        """
        self._keeper.stop()

    def problem(self) -> str | None:
        """Why nothing is written at the moment; None when it is."""
        return self._keeper.problem()

    @property
    def dropped(self) -> int:
        return self._keeper.losses.dropped

    @property
    def to_make_up(self) -> Flag:
        return self._keeper.losses.to_make_up

    @property
    def scope(self) -> str:
        shared = self._shared is not None and self._shared.feed.shared
        return "all" if shared else "instance"

    def record(self, event: Event) -> None:
        if isinstance(event, Decided) and not event.id:
            event = replace(event, id=new_call_id())
        self._keeper.add(event)

    def listen(self, callback: Callable[[Decided], None]) -> None:
        """
        Args:
            callback: is told each decision after it was written down, whichever
                instance it comes from: once, or more often while nothing can be
                written. It must not wait.
        """
        self._known.listen(callback)

    def last_at(self) -> float:
        self._written()
        return self._keeper.losses.last_at

    def cut_off(self) -> bool:
        self._written()
        return self._keeper.losses.cut_off

    def completed(self) -> None:
        with suppress(JournalUnavailable):  # then it is looked for once more
            self._keeper.ask(self._complete)

    def _complete(self, db: sqlite3.Connection) -> None:
        """In the journal's thread, while nothing else is done."""
        if not self._keeper.losses:  # or more is missing by now
            sql.NOTE.change(db, [(CUT_AT, 0)])
            self._keeper.losses.cut_off = False

    def knows_nothing(self) -> None:
        self._keeper.ask(lambda db: sql.NOTE.change(db, [(CUT_AT, EVER)]))
        self._keeper.losses.cut_off = True

    def incomplete(self) -> None:
        """It was not told of everything: cut_off() is so after a restart."""
        self._keeper.losses.cut_off = True

    def call(self, call_id: str) -> Seen | None:
        return self._keeper.ask(lambda db: reading.one_call(db, call_id))

    def attempts(self, call_id: str) -> Sequence[Attempted]:
        return self._keeper.ask(lambda db: reading.attempts_of(db, call_id))

    def calls(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> Page:
        calls: list[Seen] = []
        for page in self.looks(wanted, after, limit):
            calls += page.calls
            after = page.next
        return Page(calls, after)

    def looks(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> Iterator[Page]:
        for number in range(PAGE_LOOKS):
            with self._leisure.piece():
                look = reading.Looking(wanted, after, limit)
                page = self._keeper.ask(look, goes_on=number > 0)
                yield page
            after, limit = page.next, limit - len(page.calls)
            if after is None or limit <= 0:
                return

    def count(self, wanted: Filter, after: int | None = None) -> Count:
        with self._leisure.piece():
            return self._keeper.ask(reading.Counting(wanted, after))

    def groups(self) -> Sequence[Group]:
        self._written()
        counters = self._known.counters
        stale = counters.stale(STALE_GROUPS)
        for place in range(0, len(stale), GROUPS):
            some = stale[place : place + GROUPS]
            with self._leisure.piece():
                ends = self._keeper.ask(partial(reading.ends_of_dead, of=some))
            for first_at, latest in ends:
                counters.renew(first_at, latest)
        return counters.groups()

    def destinations(
        self, most: int | None = None, names: Sequence[str] = ()
    ) -> dict[str, Tally]:
        self._written()
        names = self._known.counters.names(self._clock(), most, names)
        due: dict[str, float] = {}
        for place in range(0, len(names), DESTINATIONS):
            some = reading.OldestDue(tuple(names[place : place + DESTINATIONS]))
            with self._leisure.piece():
                due |= self._lasting.ask(some)
        return self._known.counters.destinations(due, names, self._clock())

    def tally(self) -> Tally:
        due = self._lasting.ask(reading.oldest_due)
        return self._known.counters.tally(due)

    def summary(self) -> Summary:
        tally, now, counters = self.tally(), self._clock(), self._known.counters
        return Summary(tally, counters.rates(now), counters.hours(now))

    def decisions(
        self, target: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> Sequence[Decided]:
        return self._keeper.ask(lambda db: reading.decisions(db, target, kinds, limit))

    def _written(self) -> None:
        """Returns when all that was recorded is written."""
        if self._keeper.version() is None:
            self._keeper.ask(_nothing)


def _nothing(db: sqlite3.Connection) -> None:
    """Asks nothing."""
