"""Jobs of before a restart, as the journal has them."""

import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace

from mspc.journal.base import View
from mspc.journal.events import Decided
from mspc.steering.base import Job
from mspc.steering.decisions import FARTHEST_LOOK, Decisions, order
from mspc.steering.work import (
    FAILED,
    RUNNING,
    Chunk,
    Work,
    read_chunk,
    read_work,
)

log = logging.getLogger(__name__)

KEPT_JOBS = 1000


@dataclass(frozen=True, slots=True)
class Earlier:
    """A job.

    Attributes:
        work: how it stood.
        decided: what says so.
        goes_on: whether something of it is left to do here.
        begun: the chunk of which nobody knows how far it came; None for none.
    """

    work: Work
    decided: Decided
    goes_on: bool = False
    begun: Chunk | None = None


class EarlierJobs:
    """Looks for them."""

    def __init__(
        self,
        decisions: Decisions,
        view: View,
        instance: str,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            decisions: where it is written down.
            view: of the journal.
            instance: tells this one from others, also after a restart.
            clock: Unix seconds.
        """
        self._decisions = decisions
        self._view = view
        self._instance = instance
        self._clock = clock

    def find(self, known: Container[str]) -> list[Earlier]:
        """Those whose ids are not known, the newest first.

        Raises:
            JournalUnavailable: nothing can be looked up.
        """
        found = self._decisions.newest(("bulk",), _are_enough)
        newest: dict[str, Earlier] = {}
        for decided in sorted(found, key=order, reverse=True):
            work = read_work(decided.details)
            if work is not None and work.job.id not in known:
                newest.setdefault(work.job.id, Earlier(work, decided))
        return [self._with_what_is_left(one) for one in newest.values()]

    def _with_what_is_left(self, one: Earlier) -> Earlier:
        work = one.work
        runs = work.job.status == RUNNING
        if work.instance != self._instance or (work.ended and not runs):
            return one
        begun = self._begun_of(work.job)
        if not runs and begun is None:
            return one
        return Earlier(self._with_ids(work), one.decided, goes_on=True, begun=begun)

    def _begun_of(self, job: Job) -> Chunk | None:
        for decided in self._view.decisions(job.id, ("chunk",), 1):
            chunk = read_chunk(decided.details)
            if chunk is not None and chunk.matched == job.matched:
                return chunk
        return None

    def _with_ids(self, work: Work) -> Work:
        """With those that it was begun with; failed when nobody knows them any more."""
        if work.wanted is not None:
            return work
        for decided in self._view.decisions(work.job.id, ("bulk",), FARTHEST_LOOK):
            first = read_work(decided.details)
            if first is not None and "ids" in decided.details:
                return replace(work, ids=first.ids)
        log.error("job %s cannot go on: its calls are forgotten", work.job.id)
        return work.with_status(FAILED, self._clock())


def _are_enough(found: Sequence[Decided]) -> bool:
    return len({decided.targets for decided in found}) >= KEPT_JOBS
