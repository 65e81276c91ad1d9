"""One job, a chunk of its calls after the other."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mspc.errors import MspcError
from mspc.journal.base import Seen, View
from mspc.steering.reach import STATES, Reach, Reached
from mspc.steering.work import Chunk, Work

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

    def __init__(
        self, work: Work, view: View, reach: Reach, begun: Chunk | None = None
    ) -> None:
        """
        Args:
            work: where to go on.
            view: of the journal, which says what there is.
            reach: does it.
            begun: the next chunk, when it was begun before a crash.
        """
        self.work = work
        self.ended = False
        self._view = view
        self._reach = reach
        self._begun = begun
        self._unsure = False
        self._chunk: Chunk | None = None
        self._calls: Sequence[Seen] = ()

    def prepare(self, clock: Callable[[], float]) -> Chunk:
        """The next chunk, which is to be in the journal before step().

        Args:
            clock: Unix seconds. Asked when the calls were looked at: what is decided
                of them is later than what has made them what they are.

        Raises:
            JournalUnavailable: ask again.
        """
        if self._begun is not None:
            return self._begun
        # Kept over a failure: some of its calls may be something else by then.
        if self._chunk is None:
            self._chunk = self._next(clock)
        return self._chunk

    def step(self) -> Sequence[str]:
        """Does the chunk that prepare() gave.

        Returns:
            The ids of calls whose decision is to be written down.

        Raises:
            JournalUnavailable, QueueUnavailable: asked again, it does the same chunk.
        """
        action = self.work.job.action
        chunk = self._begun or self._chunk
        assert chunk is not None  # noqa: S101 - it was prepared
        try:
            if self._begun is not None:
                reached = self._reach.act_again(
                    action, chunk.ids, chunk.at, self.work.delay
                )
            else:
                reached = self._reach.act(
                    action, self._calls, self.work.delay, unsure=self._unsure
                )
        except MspcError:
            self._unsure = True
            raise
        self._unsure = False
        self._begun = self._chunk = None
        self._advance(chunk, reached)
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

    def _next(self, clock: Callable[[], float]) -> Chunk:
        work, size = self.work, self.size
        if work.wanted is not None:
            page = self._view.calls(work.wanted, work.cursor, size)
            return self._of(page.calls, len(page.calls), page.next, clock())
        begin = work.cursor or 0
        ids = work.ids[begin : begin + size]
        found = [seen for one in ids if (seen := self._view.call(one)) is not None]
        end = begin + len(ids)
        left = end if end < len(work.ids) else None
        return self._of(found, len(ids), left, clock())

    def _of(
        self, calls: Sequence[Seen], asked: int, cursor: int | None, now: float
    ) -> Chunk:
        self._calls = calls
        # Only what it is for: it is told to the others, and counted after a crash.
        states = STATES[self.work.job.action]
        ids = tuple(call.id for call in calls if call.state in states)
        return Chunk(ids, asked, cursor, self.work.job.matched, now)

    def _advance(self, chunk: Chunk, reached: Reached) -> None:
        job = self.work.job
        job = replace(
            job,
            matched=job.matched + chunk.asked,
            done=job.done + reached.done,
            failed=job.failed + chunk.asked - reached.done,
        )
        self.work = replace(self.work, job=job, cursor=chunk.cursor)
        self.ended = chunk.cursor is None or job.matched >= self.work.limit
