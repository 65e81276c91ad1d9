"""Bulk jobs: one after another here; those of other instances can be seen."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from gevent.event import Event

from mspc.errors import JournalUnavailable, QueueFailed, QueueUnavailable
from mspc.journal.base import View
from mspc.journal.events import Decided
from mspc.process.once import Once
from mspc.steering.base import Job
from mspc.steering.chunks import Chunks
from mspc.steering.decisions import Decisions, details_of_retry, order
from mspc.steering.earlier import KEPT_JOBS, EarlierJobs
from mspc.steering.reach import KINDS, Reach
from mspc.steering.work import (
    DONE,
    FAILED,
    RUNNING,
    STOPPED,
    Chunk,
    Work,
    read_work,
)

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0

Wait = Callable[[Event, float], object]


class Jobs:
    """Does jobs so that each call is reached once, also when the process dies.

    Which calls a chunk has is in the journal before it is done, and after it, how far
    the job is. A chunk of which only the former is there is taken up again.
    """

    def __init__(
        self,
        decisions: Decisions,
        view: View,
        reach: Reach,
        instance: str,
        clock: Callable[[], float],
        wait: Wait,
    ) -> None:
        """
        Args:
            decisions: where it is written down.
            view: of the journal.
            reach: what is done.
            instance: tells this one from others, also after a restart.
            clock: Unix seconds.
            wait: for an event, or so many seconds.
        """
        self._decisions = decisions
        self._earlier = EarlierJobs(decisions, view, instance, clock)
        self._view = view
        self._reach = reach
        self._instance = instance
        self._clock = clock
        self._wait = wait
        self._works: dict[str, Work] = {}
        self._orders: dict[str, tuple[float, str]] = {}
        self._todo: deque[str] = deque()
        # By the id of the job: what was begun, and is not written down as done.
        self._begun: dict[str, Chunk] = {}
        # Of ours that restore() has yet to find: who was stopped meanwhile.
        self._stopped: dict[str, Decided] = {}
        self._new = Event()
        self._halt = Event()
        self._stopping = False

    def begin(self, work: Work) -> Job:
        """Raises JournalUnavailable when it may be lost."""
        job = work.job
        decided = self._decide(work)
        self._todo.append(job.id)
        self._keep(work, decided)
        self._new.set()
        log.info("job %s: to %s calls, for %s", job.id, job.action, job.who)
        return job

    def _decide(self, work: Work) -> Decided:
        """Raises JournalUnavailable, and then no restart takes it for cut short."""
        job, details, at = work.job, work.details(with_ids=True), self._clock()
        try:
            return self._decisions.decide(
                "bulk", job.who, job.id, job.reason, details, at=at
            )
        except JournalUnavailable as exc:
            if not exc.off:  # it may be written down all the same, later
                stopped = work.with_status(STOPPED, at).details(with_ids=False)
                self._decisions.record(
                    "bulk", job.who, (job.id,), job.reason, stopped, after=at
                )
            raise

    def list(self) -> list[Job]:
        """Newest first."""
        jobs = [work.job for work in self._works.values()]
        return sorted(jobs, key=lambda job: (job.started_at, job.id), reverse=True)

    def get(self, job_id: str) -> Job | None:
        work = self._works.get(job_id)
        return None if work is None else work.job

    def stop_job(self, job_id: str, who: str) -> Job | None:
        """None when there is no such job. Raises JournalUnavailable."""
        work = self._works.get(job_id)
        if work is None or work.job.status != RUNNING:
            return None if work is None else work.job
        work = work.with_status(STOPPED, self._clock())
        details, after = work.details(with_ids=False), self._orders[job_id][0]
        decided = self._decisions.decide(
            "bulk", who, job_id, details=details, after=after
        )
        # Whoever does it may have come farther meanwhile.
        work = self._works.get(job_id, work).with_status(STOPPED, decided.at)
        self._keep(work, decided)
        self._halt_if_it_is(job_id)
        return work.job

    def apply(self, decided: Decided) -> None:
        """Learns how a job of another instance is, or that one of ours was stopped."""
        work = read_work(decided.details)
        if work is None:
            return
        job = work.job
        if work.instance != self._instance:
            if self._orders.get(job.id, (0.0, "")) < order(decided):
                self._keep(work, decided)
        elif job.status == STOPPED:
            self._apply_stop(job.id, decided)

    def _apply_stop(self, job_id: str, decided: Decided) -> None:
        ours = self._works.get(job_id)
        if ours is None:
            self._stopped[job_id] = decided
        elif ours.job.status == RUNNING:
            self._keep(ours.with_status(STOPPED, decided.at), decided)
            self._halt_if_it_is(job_id)

    def restore(self) -> None:
        """Jobs of before, and those that were cut short go on.

        Raises:
            JournalUnavailable: nothing can be looked up.
        """
        found = self._earlier.find(self._works)
        # All is known: from here on nothing fails, so that each goes on once.
        todo = [one for one in found if one.goes_on]
        todo.sort(key=lambda one: one.work.job.started_at)
        # First: what is to be done is not forgotten.
        self._todo.extend(one.work.job.id for one in todo)
        for one in found:
            known = one.work.job.id in self._works  # it has come farther elsewhere
            if not known and (len(self._works) < KEPT_JOBS or one.goes_on):
                self._keep(one.work, one.decided)
        for one in todo:
            if one.begun is not None:
                self._begun[one.work.job.id] = one.begun
            log.info("job %s goes on after a restart", one.work.job.id)
        for job_id in self._stopped.keys() & self._works.keys():
            self._apply_stop(job_id, self._stopped[job_id])
        self._stopped.clear()

    def run(self) -> None:
        """Does what there is to do, until stop()."""
        while not self._stopping:
            self._new.clear()
            self.work_off()
            if not self._stopping:
                self._new.wait()

    def work_off(self) -> None:
        """Does what there is to do now."""
        while self._todo and not self._stopping:
            job_id = self._todo[0]
            try:
                self._do(job_id)
            except Exception:
                log.exception("job %s failed", job_id)
                self._end(job_id, FAILED)
            if not self._stopping:
                self._todo.popleft()

    def remind(self) -> None:
        """Tells the journal of those that are to be done, and all it takes for that."""
        for job_id in self._todo:
            self._save(self._works[job_id], with_ids=True)

    def stop(self) -> None:
        """What runs ends after its chunk, and goes on after the next start."""
        self._stopping = True
        self._halt.set()
        self._new.set()

    def _halt_if_it_is(self, job_id: str) -> None:
        """The one that is being done need not rest; another one keeps its pace."""
        if self._todo and self._todo[0] == job_id:
            self._halt.set()

    def _do(self, job_id: str) -> None:
        self._halt.clear()
        begun = self._begun.get(job_id)
        chunks = Chunks(self._works[job_id], self._view, self._reach, begun)
        failure = Once()
        # What was begun is brought to its end, also when the job was stopped meanwhile.
        while not chunks.ended and (self._goes_on(job_id) or self._ends(job_id)):
            try:
                chunk = chunks.prepare(self._clock)
                self._note(chunks.work.job, chunk)
                ids = chunks.step()
            except QueueFailed:
                return  # the service stops with it; it goes on after the next start
            except (JournalUnavailable, QueueUnavailable) as exc:
                if failure.is_new(exc):  # RabbitMQ may be away for hours
                    log.warning("job %s waits and tries again: %s", job_id, exc)
                if not self._stopping:
                    self._halt.clear()  # a job that is stopped may have to end a chunk
                self._wait(self._halt, AGAIN_SECONDS)
                continue
            failure.forget()
            # A call may have failed again before its chunk was done.
            self._record(chunks.work, ids, chunk.at)
            self._begun.pop(job_id, None)
            if chunks.work.job.action == "retry" and chunk.asked and not chunks.ended:
                self._wait(self._halt, chunk.asked / chunks.work.per_second)
        if not self._stopping or chunks.ended:
            self._end(job_id, DONE)

    def busy(self) -> set[str]:
        """Ids of calls to which something is being done, or was before a crash, and
        what became of that will be written down.
        """
        return {one for chunk in self._begun.values() for one in chunk.ids}

    def _note(self, job: Job, chunk: Chunk) -> None:
        """Returns when it is in the journal, in which it is once.

        Raises:
            JournalUnavailable: it may not be.
        """
        if chunk.ids and self._begun.get(job.id) is not chunk:
            details = chunk.details()
            self._decisions.decide("chunk", job.who, job.id, "", details, at=chunk.at)
            self._begun[job.id] = chunk

    def _ends(self, job_id: str) -> bool:
        """Whether a chunk of it was begun of which nobody has written what it did."""
        return not self._stopping and job_id in self._begun

    def _goes_on(self, job_id: str) -> bool:
        return not self._stopping and self._works[job_id].job.status == RUNNING

    def _record(self, work: Work, ids: Sequence[str], began: float) -> None:
        job = work.job
        if ids:
            about = {"job": job.id, **details_of_retry(work.delay)}
            decided = self._decisions.record(
                KINDS[job.action], job.who, ids, job.reason, about, at=began
            )
            while not (self._is_written(decided) or self._stopping):
                self._halt.clear()
                self._wait(self._halt, AGAIN_SECONDS)
                self._decisions.again(decided)
        known = self._works[job.id].job  # it may have been stopped meanwhile
        job = replace(job, status=known.status, finished_at=known.finished_at)
        self._save(replace(work, job=job))

    def _is_written(self, decided: Decided) -> bool:
        try:
            return self._decisions.is_written(decided)
        except JournalUnavailable:
            return False

    def _end(self, job_id: str, status: str) -> None:
        work = self._works[job_id]
        if work.job.status == RUNNING:
            work = work.with_status(status, self._clock())
        self._begun.pop(job_id, None)
        self._save(replace(work, ids=(), ended=True))
        job = work.job
        told = "job %s is %s: %d of %d calls reached"
        log.info(told, job_id, job.status, job.done, job.matched)

    def _save(self, work: Work, *, with_ids: bool = False) -> None:
        job = work.job
        details, after = work.details(with_ids=with_ids), self._orders[job.id][0]
        decided = self._decisions.record(
            "bulk", job.who, (job.id,), job.reason, details, after=after
        )
        self._keep(work, decided)

    def _keep(self, work: Work, decided: Decided) -> None:
        self._works[work.job.id] = work
        self._orders[work.job.id] = order(decided)
        if len(self._works) > KEPT_JOBS:
            jobs = (one.job for one in self._works.values())
            past = [job for job in jobs if job.id not in self._todo]
            if past:
                oldest = min(past, key=lambda job: job.started_at)
                del self._works[oldest.id], self._orders[oldest.id]
