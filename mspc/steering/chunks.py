"""One job, a chunk of its calls after the other."""

from collections.abc import Sequence
from dataclasses import replace

from mspc.errors import MspcError
from mspc.journal.base import Seen, View
from mspc.steering.reach import Reach, Reached
from mspc.steering.work import Work

# Calls at once, and so many seconds of a slow job.
CHUNK, CHUNK_SECONDS = 100, 1.0
# Where they are not looked up, each chunk is a pass through all dead letters: 0.8 s for
# 5,000 of them, however many are wanted; beyond these the pass writes them anew.
PASS_CHUNK, PASS_SECONDS = 500, 5.0


class Chunks:
    """Does a job.

    Attributes:
        work: what it has come to.
        ended: whether nothing is left.
    """

    def __init__(self, work: Work, view: View, reach: Reach, *, unsure: bool) -> None:
        """
        Args:
            work: where to go on.
            view: of the journal, which says what there is.
            reach: does it.
            unsure: whether the next chunk may have been begun, before a crash.
        """
        self.work = work
        self.ended = False
        self._view = view
        self._reach = reach
        self._unsure = unsure
        self._chunk: tuple[Sequence[Seen], int, int | None] | None = None

    def step(self) -> Sequence[str]:
        """Does the next chunk.

        Returns:
            The ids of calls whose decision is to be written down.

        Raises:
            JournalUnavailable, QueueUnavailable: asked again, it does the same chunk.
        """
        # Kept over a failure: some of its calls may be something else by then.
        self._chunk = self._chunk or self._next()
        calls, asked, cursor = self._chunk
        action = self.work.job.action
        try:
            reached = self._reach.act(action, calls, unsure=self._unsure)
        except MspcError:
            self._unsure = True
            raise
        self._unsure = False
        self._chunk = None
        self._advance(asked, reached, cursor)
        return reached.ids

    @property
    def size(self) -> int:
        """Calls of the next chunk at most."""
        work = self.work
        most, seconds = CHUNK, CHUNK_SECONDS
        if not self._reach.looks_up:
            most, seconds = PASS_CHUNK, PASS_SECONDS
        most = min(most, work.limit - work.job.matched)
        if work.job.action != "retry":
            return most
        return min(most, max(1, int(work.per_second * seconds)))

    def _next(self) -> tuple[Sequence[Seen], int, int | None]:
        """The calls, how many were looked for, and where the chunk after it begins."""
        work, size = self.work, self.size
        if work.wanted is not None:
            page = self._view.calls(work.wanted, work.cursor, size)
            return page.calls, len(page.calls), page.next
        begin = work.cursor or 0
        ids = work.ids[begin : begin + size]
        found = [seen for one in ids if (seen := self._view.call(one)) is not None]
        end = begin + len(ids)
        return found, len(ids), end if end < len(work.ids) else None

    def _advance(self, asked: int, reached: Reached, cursor: int | None) -> None:
        job = self.work.job
        job = replace(
            job,
            matched=job.matched + asked,
            done=job.done + reached.done,
            failed=job.failed + asked - reached.done,
        )
        self.work = replace(self.work, job=job, cursor=cursor)
        self.ended = cursor is None or job.matched >= self.work.limit
