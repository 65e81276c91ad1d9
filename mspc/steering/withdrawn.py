"""Tells the queue which cancelled calls to let go, where it cannot look them up."""

import logging
from collections.abc import Sequence

from mspc.errors import QueueUnavailable
from mspc.journal.events import Decided
from mspc.queues.base import Queue
from mspc.steering.decisions import FARTHEST_LOOK, Decisions, order
from mspc.steering.jobs import Jobs
from mspc.steering.work import read_chunk

log = logging.getLogger(__name__)

# How many cancelled calls a queue is told after a start.
TOLD_CALLS = 100_000
# How many of those that were made again are looked at for that.
REMADE_CALLS = 4 * TOLD_CALLS


class Withdrawn:
    """Cancelled calls, but for those that died in flight and are made again."""

    def __init__(self, queue: Queue, decisions: Decisions, jobs: Jobs) -> None:
        """
        Args:
            queue: where the calls are.
            decisions: what was decided.
            jobs: what is done to many calls.
        """
        self._queue = queue
        self._decisions = decisions
        self._jobs = jobs

    def apply(self, decided: Decided) -> None:
        """Of any instance, of kind `cancelled`, `retried` or `chunk`."""
        if decided.kind == "cancelled":
            self._tell(decided.targets)
        else:
            self._queue.readmit(self._made_again(decided))

    def restore(self) -> None:
        """Tells of what was cancelled before the start; the jobs are known.

        Raises:
            JournalUnavailable: nothing can be looked up.
        """
        if not self._queue.looks_up:
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
