"""Tells the queue which cancelled calls to let go, where it cannot look them up."""

import logging
from collections.abc import Callable, Sequence

from gevent.event import Event

from mspc.errors import QueueUnavailable
from mspc.journal.base import View
from mspc.journal.events import Decided
from mspc.queues.base import Queue
from mspc.queues.clock import Alarm, Clock
from mspc.steering.decisions import FARTHEST_LOOK, Decisions, order
from mspc.steering.jobs import Jobs, Wait
from mspc.steering.work import read_chunk

log = logging.getLogger(__name__)

# What was decided longer ago than that is heard of late, and more of it may follow,
# until nothing like that has come for a while.
LATE_SECONDS = 10.0
QUIET_SECONDS = 5.0
# For the stream to be read, at a start. It is never, where RabbitMQ refuses it.
CATCH_UP_SECONDS, CATCH_UP_LOOKS = 2.0, 20
# How many cancelled calls a queue is told after a start.
TOLD_CALLS = 100_000
# How many of those that were made again are looked at for that.
REMADE_CALLS = 4 * TOLD_CALLS


class Withdrawn:
    """Cancelled calls, but for those that died in flight and are made again."""

    def __init__(
        self,
        queue: Queue,
        decisions: Decisions,
        view: View,
        jobs: Jobs,
        clock: Clock,
        wait: Wait,
        alarm: Callable[[Callable[[], None], Clock], Alarm],
    ) -> None:
        """
        Args:
            queue: where the calls are.
            decisions: what was decided.
            view: of the journal.
            jobs: what is done to many calls.
            clock: Unix seconds.
            wait: for an event, or so many seconds.
            alarm: given what it rings, and the clock.
        """
        self._queue = queue
        self._decisions = decisions
        self._view = view
        self._jobs = jobs
        self._clock = clock
        self._wait = wait
        # Cancelled long ago: it may come next that they are made again.
        self._late: dict[str, None] = {}
        self._late_until = 0.0
        self._quiet = alarm(self._tell_late, clock)

    def apply(self, decided: Decided) -> None:
        """Of any instance, of kind `cancelled`, `retried` or `chunk`.

        An instance that begins, or was away, hears of all that was decided meanwhile,
        in order, while calls are delivered to it.
        """
        late = decided.at < self._clock() - LATE_SECONDS
        if late:
            self._late_until = self._clock() + QUIET_SECONDS
        if decided.kind != "cancelled":
            again = self._made_again(decided)
            for one in again:
                self._late.pop(one, None)
            self._queue.readmit(again)
        elif late:
            self._late.update(dict.fromkeys(decided.targets))
            self._quiet.set(self._late_until)
        else:
            self._tell(decided.targets)

    def stop(self) -> None:
        self._quiet.cancel()

    def _tell_late(self) -> None:
        if self._clock() < self._late_until:
            self._quiet.set(self._late_until)
        else:
            late, self._late = self._late, {}
            self._tell([*late])

    def restore(self) -> None:
        """Tells of what was cancelled before the start; the jobs are known.

        Waits a moment for what was decided elsewhere since this instance was stopped:
        some of them may have been made again.

        Raises:
            JournalUnavailable: nothing can be looked up.
        """
        if self._queue.looks_up or not self._cancelled():
            return
        for _ in range(CATCH_UP_LOOKS):
            if self._view.scope == "all":
                break
            self._wait(Event(), CATCH_UP_SECONDS / CATCH_UP_LOOKS)
        self._tell(self._cancelled())

    def _cancelled(self) -> list[str]:
        """The last ones that were not made again since; the newest last."""
        cancelled = self._decisions.newest(
            ("cancelled",), lambda some: _count(some) >= TOLD_CALLS
        )
        if not cancelled:
            return []
        since = order(cancelled[-1])
        again = self._decisions.newest(
            ("retried", "chunk"),
            lambda some: order(some[-1]) < since or _count(some) >= REMADE_CALLS,
        )
        # Before what was looked at a call may have been made again: better made once
        # too often than lost.
        if len(again) >= FARTHEST_LOOK or _count(again) >= REMADE_CALLS:
            since = max(since, order(again[-1]))
        ids: dict[str, None] = {}
        for decided in sorted((*cancelled, *again), key=order):
            if decided.kind != "cancelled":
                for one in self._made_again(decided):
                    ids.pop(one, None)
            elif order(decided) >= since:
                ids.update(dict.fromkeys(decided.targets))
        return [*ids][-TOLD_CALLS:]

    def _made_again(self, decided: Decided) -> Sequence[str]:
        """Calls that are made again, or are about to be: they may come before it is
        told that they were.
        """
        chunk = read_chunk(decided.details)
        if chunk is not None:
            job = self._jobs.get(decided.targets[0])
            return chunk.ids if job is not None and job.action == "retry" else ()
        noted = decided.kind == "chunk" and decided.details.get("action") != "retry"
        return () if noted else decided.targets

    def _tell(self, ids: Sequence[str]) -> None:
        if not self._queue.looks_up:
            try:
                self._queue.withdraw(ids)
            except QueueUnavailable as exc:
                log.warning("Of cancelled calls the queue does not know: %s", exc)


def _count(found: Sequence[Decided]) -> int:
    """Calls that are named, in a chunk or by what became of one."""
    return sum(max(len(one.targets), len(one.details.get("ids", ()))) for one in found)
