"""Keeps the journal's file: one greenlet does everything in turn, in its own thread.

The events that have gathered, those of other instances, questions, and what is to be
forgotten. Whoever asks waits for an answer, and only so long; nobody else waits.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from gevent.event import Event as Flag
from gevent.threadpool import ThreadPool

from mspc.errors import JournalUnavailable
from mspc.journal.asking import PATIENCE_SECONDS, Ask, Question, Questions
from mspc.journal.changes import Changes
from mspc.journal.events import Event
from mspc.journal.file import closes, is_damage
from mspc.journal.gathering import TURN_SECONDS, Gathered, Shared
from mspc.journal.known import Known
from mspc.journal.losses import Losses
from mspc.journal.room import NoRoom
from mspc.journal.store import Opened, Store
from mspc.process.greenlets import Watched, caught
from mspc.settings.config import JournalConfig

log = logging.getLogger(__name__)

T = TypeVar("T")

# A file of some hundred MB is checked in less.
SHORT_CHECK_SECONDS = 0.5
RETRY_SECONDS = 5.0
IDLE_SECONDS = 1.0
# Steps of tidying before the next batch has its turn, and the rest after them; where
# there was nothing to do, it is a second.
TIDY_STEPS = 8
TIDY_REST_SECONDS = 0.05

_DAMAGED = "%s was damaged: %s. It is %s now, and a new one is begun"


class Keeper:
    """What is recorded goes in, what is asked comes out.

    Attributes:
        known: of the file.
        losses: what the file lacks.
    """

    def __init__(
        self,
        config: JournalConfig,
        shared: Shared | None,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        """
        Args:
            config: where the file is, and what is kept.
            shared: other instances; None when it is this one's own.
            clock: Unix seconds.
            timer: seconds, that go on evenly.
        """
        self.known = Known()
        self.losses = Losses(lambda: shared is not None and shared.feed.keeps)
        self._path = config.path
        self._shared = shared
        self._timer = timer
        self._store = Store(config, clock, timer)
        self._thread = ThreadPool(1)
        self._gathered = Gathered(timer)
        self._questions = Questions(config.path, self._somebody_asks)
        self._work = Flag()
        self._hurry = Flag()  # somebody asks, or a batch is whole
        self._tried = Flag()  # to open the file
        self._room = Flag()  # for what the feed brings
        self._is_new = False  # what is asked
        self._stopping = self._closed = False
        self._is_open = self._is_replaced = self._is_full = False
        self._problem: str | None = None
        self._retry_at = self._tidy_at = 0.0
        self._reading = False  # what the feed brings
        self._writing = False  # what was taken of what has gathered
        # Some of it was not written: no offset is from now on, so that the next start
        # reads it again.
        self._missed = False
        # Up to where the stream was read, until it is noted with what is written next.
        self._offset: int | None = None
        self._watched = Watched("journal", self._run)

    def start(self) -> None:
        """Opens the file; returns soon when it takes long to look at it, too."""
        self._watched.start()
        self._tried.wait(SHORT_CHECK_SECONDS)

    def stop(self) -> None:
        """Writes what has gathered and lets the file go; no dead disk is waited for."""
        self._stopping = True
        self._somebody_asks()
        self._room.set()
        if not self._tried.is_set():
            self._store.interrupt()
        self._watched.stop(PATIENCE_SECONDS)
        if self._shared is not None:
            self._shared.feed.stop()
        if self._closed:
            self._thread.kill()

    def problem(self) -> str | None:
        if self._problem is not None:
            return f"The journal cannot be written: {self._problem}"
        return self._watched.problem()

    def add(self, event: Event) -> None:
        if self._stopping or not self._gathered.add(event):
            self.losses.add()
        elif not self._work.is_set():
            self._work.set()
        elif self._gathered.is_batch:
            self._hurry.set()

    def ask(self, question: Ask[T], *, goes_on: bool = False) -> T:
        """The answer, after all that has gathered was written.

        Args:
            question: what is asked.
            goes_on: with what was asked just before, for which that was written.

        Raises:
            JournalUnavailable: there is none.
        """
        if self._stopping:
            raise JournalUnavailable("The journal is closed.")
        self._is_new |= not goes_on
        return self._questions.ask(question)

    def version(self) -> int | None:
        """Another number when the file has changed; None when not all is in it."""
        lacks = self._gathered or self._shared or self._writing or self._stopping
        if lacks or self._problem is not None or not self._is_open:
            return None
        return self.known.changes

    def is_busy(self) -> bool:
        """Whether calls come and go: something was recorded that is not written yet."""
        return bool(self._gathered)

    def _somebody_asks(self) -> None:
        self._work.set()
        self._hurry.set()

    def _run(self) -> None:
        while not self._stopping:
            self._turn()
            if not self._gathered:
                self._work.wait(max(0.0, self._tidy_at - self._timer()))
            if self._gathered or self._shared:
                self._hurry.wait(TURN_SECONDS)
        self._turn()
        self._in_thread(self._store.close, not (self.losses or self.losses.cut_off))
        self._closed = True

    def _turn(self) -> None:
        self._work.clear()
        self._hurry.clear()
        # Whoever asks from now on may have recorded something that is not taken here.
        questions, is_new = self._questions.take(), self._is_new or self._stopping
        self._is_new = False
        if not self._is_open and self._timer() >= self._retry_at:
            self._open()
        elif self._problem is not None:
            self._write(())
        if is_new or not questions or self._gathered.is_crowded:
            self._write_all(all_of_them=is_new)
        if not self._gathered.is_crowded:
            self.losses.tell()
        self._answer(questions)
        if self._offset is not None and not (self._gathered or self._problem):
            self._write(())
        if self._timer() >= self._tidy_at:  # not after each question
            rest = TIDY_REST_SECONDS if self._tidy() else IDLE_SECONDS
            self._tidy_at = self._timer() + rest

    def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T | Exception:
        return self._thread.apply(caught, (function, *arguments))

    def _open(self) -> None:
        result = self._in_thread(self._store.open)
        if isinstance(result, Exception):
            self._away(result)
        else:
            self._begin(result)
        self._tried.set()

    def _begin(self, opened: Opened) -> None:
        if opened.remark:
            log.warning(_DAMAGED, *opened.remark)
        self._is_open = True
        self.known.begin(opened.counters)
        replaced = self._is_replaced or bool(opened.remark)
        self._is_replaced = False
        self.losses.opened(opened.last_at, cut_off=opened.cut_off, replaced=replaced)
        if self._shared is not None and not self._reading:
            self._reading = True
            arrived = partial(self._arrived, self._shared)
            self._shared.feed.start(arrived, opened.offset)
        elif opened.offset is None:
            self._missed = True
        self._write(())

    def _arrived(self, shared: Shared, batch: bytes, offset: int) -> None:
        """Waits for room, and RabbitMQ keeps what follows: a new instance reads all."""
        while not self._stopping and not shared.add(batch, offset):
            self._room.clear()
            if not self._room.wait(PATIENCE_SECONDS):
                self.losses.add(published=True)
                self._missed = True
                return
        self._work.set()

    def _write_all(self, *, all_of_them: bool) -> None:
        self._writing = True
        for events in self._gathered.take(all_of_them=all_of_them):
            if self._shared is not None:
                self._shared.publish(events)
            self._write(events)
        if self._shared:
            self._write_arrived(self._shared)
        self._writing = False

    def _write_arrived(self, shared: Shared) -> None:
        for batches, self._offset in shared.take():
            self._room.set()
            if not any(batches):
                continue
            events = self._in_thread(shared.decoded, batches)
            if isinstance(events, Exception):
                self.losses.add(len(batches), published=True)
                log.warning("%d batches were not read: %s", len(batches), events)
            else:
                self._write(events)

    def _write(self, events: Sequence[Event]) -> None:
        offset = None if self._missed else self._offset
        self._offset = None
        if not self._is_open or self._timer() < self._retry_at:
            changes: Changes | Exception = JournalUnavailable(f"{self._problem}")
        else:
            cut = self.losses.cut()
            changes = self._in_thread(self._store.write, events, offset, cut)
            if isinstance(changes, Exception):
                self._away(changes)
            else:
                self.losses.wrote(changes.last_at, cut)
                self._back()
        if isinstance(changes, Exception):
            self.losses.add(len(events), published=True)
            self._missed = True  # of our own, too: it is not read when it comes back
            # A pause holds on all instances, also on one whose disk is full.
            self.known.tell(events)
            return
        self.losses.dropped += changes.unfit
        if events:
            self.known.apply(changes)

    def _away(self, exc: Exception) -> None:
        """Something is wrong with the file: later again, or with a new one at once."""
        pause, first = RETRY_SECONDS, self._problem is None
        self._problem, self._is_full = str(exc), isinstance(exc, NoRoom)
        if is_damage(exc):
            aside = self._in_thread(self._store.set_aside)
            self._is_replaced |= not isinstance(aside, Exception)
            if first and not isinstance(aside, Exception):
                log.warning(_DAMAGED, self._path, exc, aside)
                pause, first = 0.0, False
                self._work.set()
        elif closes(exc):
            self._in_thread(self._store.drop)
        if closes(exc):
            self._is_open = False
        self._retry_at = self._timer() + pause
        if first and not self._stopping:
            log.warning("The journal cannot be written, events are dropped: %s", exc)

    def _back(self) -> None:
        if self._problem is not None:
            dropped = self.losses.dropped
            log.info("The journal is written again; %d events dropped", dropped)
            self._problem = None

    def _answer(self, questions: list[Question]) -> None:
        for question, answer in questions:
            if answer.ready():
                continue
            result: Any = JournalUnavailable(f"{self._problem}")
            if self._is_open:
                result = self._in_thread(self._store.ask, question)
                if isinstance(result, Exception) and is_damage(result):
                    self._away(result)
            answer.set(result)

    def _tidy(self) -> bool:
        """Whether there is more to do."""
        for number in range(TIDY_STEPS):
            if number and self._questions:
                return True
            if not self._is_open or self._stopping:
                return False
            if self._problem and not self._is_full:  # what is forgotten makes room
                return False
            changes = self._in_thread(self._store.tidy)
            if isinstance(changes, Exception):
                self._away(changes)
                return False
            if changes is None:
                return False
            self.known.apply(changes)
        return True
