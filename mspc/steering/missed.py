"""What the journal does not know: it was killed before it wrote it down.

The queue does. The calls that it has of the journal's last moments, dead letters too,
are told again at the start, some at a time; what the journal knows already changes
nothing there. Then the queue is asked for those that the journal takes for open.
RabbitMQ cannot be asked: there it is only told that, and when, the journal was cut off.
What somebody had begun with a call is finished, on every queue.

The same is done whenever the journal could not be written for a while, or was damaged
and is a new one. On RabbitMQ the stream has it, and the next start reads it again.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from gevent.event import Event

from mspc.calls.call import Call, Request
from mspc.errors import (
    BadRequest,
    JournalUnavailable,
    QueueFailed,
    QueueUnavailable,
)
from mspc.journal.events import Decided, accepted
from mspc.journal.lossy import LossyRecorder
from mspc.process.greenlets import Watched
from mspc.process.once import Once
from mspc.queues.base import Kept, Queue
from mspc.steering.ended import Ended

log = logging.getLogger(__name__)

# A call is stored some time after it was accepted, on a disk that hangs a long one, and
# written down after others that came later. What is known already changes nothing.
BEFORE_SECONDS = 60.0
AGAIN_SECONDS = 1.0
MAKE_UP_AGAIN_SECONDS = 10.0
# After some calls others have their turn. The first ones are those of the last moments:
# within a second nothing false is said of them, on a busy machine, too. What takes
# longer takes a fifth of the time at most.
REST_SECONDS = 0.01
FIRST_STEPS = 5
RESTS = 4
KILLED = (
    "mspc was killed, or could not write its journal: what became of calls then is not"
    " known."
)


class Restoring(Protocol):
    """Whose decisions the journal may lack: an Operator."""

    def remind(self) -> None:
        """Tells the journal what is in force of what was decided."""

    def finish(self, last_at: float) -> Iterator[None]:
        """Goes on, with each step, with what was begun before the start.

        Args:
            last_at: of LossyRecorder.
        """

    def doubt(self, since: float | None) -> None:
        """
        Args:
            since: when an open call may have ended, Unix seconds; None for none may.
        """


class Missed:
    """Tells the journal of them, once."""

    def __init__(
        self,
        queue: Queue,
        journal: LossyRecorder,
        read: Callable[[Call], Request],
        ended: Ended,
        steering: Restoring,
        instance: str,
        wait: Callable[[Event, float], object] = Event.wait,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            queue: where the calls are.
            journal: what is told.
            read: what a call asks for; raises BadRequest.
            ended: tells of calls that are not open any more.
            steering: what was decided and begun.
            instance: tells this one from others, also after a restart.
            wait: for an event, or so many seconds.
            clock: Unix seconds.
            timer: seconds, that go on evenly.
        """
        self._queue = queue
        self._journal = journal
        self._read = read
        self._ended = ended
        self._steering = steering
        self._instance = instance
        self._wait = wait
        self._clock = clock
        self._timer = timer
        self._started = clock()
        self._told = self._again = False
        self._stopping = Event()
        self._watched = Watched("recovery of the journal", self._keep_up)

    def start(self) -> None:
        """Before calls are made or accepted."""
        self._started = self._clock()
        if self._journal.on:
            self._watched.start()

    def stop(self) -> None:
        """What was not told by then is told after the next start."""
        self._stopping.set()
        self._watched.stop(timeout=0)  # it may wait for the check of a large file

    def _keep_up(self) -> None:
        self.run()
        while not self._stopping.is_set():
            self._journal.to_make_up.wait()
            self.make_up()
            # Others have their turn, also when there is too much all the time.
            self._wait(self._stopping, MAKE_UP_AGAIN_SECONDS)

    def make_up(self) -> None:
        """Tells of what is missing since the start; returns as run() does."""
        self._again, self._started = True, self._clock()
        self.run()

    def run(self) -> None:
        """Returns when all was told, or after stop()."""
        failure = Once()
        while not self._stopping.is_set():
            try:
                began = self._timer()
                for number, _ in enumerate(self._steps()):
                    rests = RESTS if number >= FIRST_STEPS else 0
                    rest = max(REST_SECONDS, rests * (self._timer() - began))
                    self._wait(self._stopping, rest)
                    if self._stopping.is_set():
                        return
                    began = self._timer()
                return
            except QueueFailed:
                return  # the service stops with it; all is told after the next start
            except (JournalUnavailable, QueueUnavailable) as exc:
                if failure.is_new(exc):
                    log.info("The journal is completed later: %s", exc)
                self._wait(self._stopping, AGAIN_SECONDS)

    def _steps(self) -> Iterator[None]:
        last_at, cut_off = self._journal.last_at(), self._journal.cut_off()
        missing = self._journal.to_make_up.is_set()
        self._journal.to_make_up.clear()
        if not last_at and self._queue.looks_up:
            self._journal.knows_nothing()
        if self._again or missing:  # the file may be a new one since it was asked
            self._steering.remind()
        if self._queue.looks_up:
            yield from self._look_up(last_at, cut_off=cut_off)
        elif self._again:
            return
        elif cut_off:
            self._tell_of_crash()
        if cut_off and not self._again:
            yield from self._steering.finish(last_at)
        self._journal.completed()

    def _tell_of_crash(self) -> None:
        """Once, however often the rest is begun anew."""
        if not self._told:
            here = (self._instance,)
            self._journal.record(
                Decided("crashed", self._started, "mspc", here, KILLED)
            )
            self._told = True

    def _look_up(self, last_at: float, *, cut_off: bool) -> Iterator[None]:
        if cut_off:
            self._steering.doubt(self._started)
        for calls in self._queue.recent(last_at - BEFORE_SECONDS):
            for call, dead in calls:
                self._record(call, dead)
            self._journal.last_at()  # they are written, which is part of the step
            yield
        if cut_off or not last_at:  # a new journal knows of no attempt
            yield from self._ended.tell(self._started, last_at)
            self._steering.doubt(None)

    def _record(self, call: Call, dead: Kept | None) -> None:
        try:
            request = self._read(call)
        except BadRequest:
            return  # its only attempt says so
        event = accepted(call, request, self._journal.body_bytes, self._started)
        self._journal.record(event)
        # Who dies from now on is told of by whoever buries it.
        if dead is not None and (dead.died_at or 0) < self._started:
            died = self._ended.died(event, dead)
            if died is not None:
                self._journal.record(died)
