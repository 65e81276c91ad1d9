"""Has done what an operator wants: to one call, to many, to a destination."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from gevent.event import Event

from mspc.calls.call import new_call_id
from mspc.errors import JournalUnavailable
from mspc.journal.base import Filter
from mspc.journal.events import Decided
from mspc.lanes.steered import Steered
from mspc.process.greenlets import Watched
from mspc.queues.base import Queue
from mspc.queues.clock import Alarm
from mspc.steering.base import Action, Job, Limits, Plan, Standing
from mspc.steering.begun import Begun
from mspc.steering.decisions import DecisionLog, Decisions
from mspc.steering.destinations import (
    LIMITS,
    PAUSES,
    Clock,
    Destinations,
)
from mspc.steering.jobs import AGAIN_SECONDS, Jobs, Wait
from mspc.steering.one_call import OneCall
from mspc.steering.planning import named, plan
from mspc.steering.reach import Reach
from mspc.steering.work import RUNNING, Work

log = logging.getLogger(__name__)

# How many cancelled calls a queue that cannot look them up is told after a start.
TOLD_CALLS = 100_000
STOP_SECONDS = 5.0


class Operator:
    """Keeps the protocol Steering of mspc/steering/base.py."""

    def __init__(
        self,
        queue: Queue,
        lanes: Steered,
        journal: DecisionLog,
        in_flight: Callable[[str], bool],
        flying: Callable[[], Sequence[str]],
        instance: str,
        clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
        new_id: Callable[[], str] = new_call_id,
        wait: Wait = Event.wait,
        make_alarm: Callable[[Callable[[], None], Clock], Alarm] = Alarm,
    ) -> None:
        """
        Args:
            queue: where the calls are.
            lanes: those that the queue delivers by.
            journal: where decisions go, and where calls are known.
            in_flight: whether this instance attempts a call now.
            flying: the ids of those that it does.
            instance: tells this one from others, also after a restart.
            clock: Unix seconds.
            monotonic: seconds that never step back.
            new_id: 32 hex digits, in the order of time.
            wait: for an event, or so many seconds.
            make_alarm: given what it rings, and `monotonic`.
        """
        self._queue = queue
        self._journal = journal
        self._is_in_flight = in_flight
        self._flying = flying
        self._instance = instance
        self._clock = clock
        self._new_id = new_id
        self._wait = wait
        self._decisions = Decisions(journal, clock, new_id)
        self._reach = Reach(queue, journal, in_flight)
        self._begun = Begun(self._decisions, journal, self._reach, instance)
        self._calls = OneCall(
            journal, self._reach, in_flight, self._decisions, self._begun, clock
        )
        self._destinations = Destinations(
            lanes, self._decisions, clock, monotonic, make_alarm
        )
        self._jobs = Jobs(self._decisions, journal, self._reach, instance, clock, wait)
        self._cut_off_at: float | None = None
        self._restored = False
        self._stopping = Event()
        self._worker = Watched("work on bulk jobs", self._work)

    def start(self) -> None:
        """What was decided before is in force when this returns, if the journal can be
        read. The queue was started, the consumers were not.
        """
        self._journal.listen(self._arrived)
        self._restore()
        self._worker.start()

    def stop(self) -> None:
        """Jobs stop at once, and go on after the next start."""
        self._stopping.set()
        self._jobs.stop()
        self._worker.stop(STOP_SECONDS)
        self._destinations.stop()

    def in_flight(self, call_id: str) -> bool:
        return self._is_in_flight(call_id)

    def flying(self) -> Sequence[str]:
        return self._flying()

    def cancel(self, call_id: str, who: str, reason: str = "") -> None:
        self._calls.cancel(call_id, who, reason)

    def retry(
        self, call_id: str, who: str, reason: str = "", delay: float = 0.0
    ) -> None:
        self._calls.retry(call_id, who, reason, delay)

    def cut_off_at(self) -> float | None:
        return self._cut_off_at

    def doubt(self, since: float | None) -> None:
        """Sets cut_off_at(), for as long as a queue is being asked for calls."""
        self._cut_off_at = since

    def standing(self, destination: str) -> Standing:
        return self._destinations.standing(destination)

    def glance(self) -> Mapping[str, str]:
        return self._destinations.glance()

    def pause(
        self, destination: str, who: str, until: float | None, reason: str = ""
    ) -> None:
        self._destinations.pause(destination, who, until, reason)

    def resume(self, destination: str, who: str, reason: str = "") -> None:
        self._destinations.resume(destination, who, reason)

    def limit(
        self, destination: str, who: str, limits: Limits | None, reason: str = ""
    ) -> None:
        self._destinations.limit(destination, who, limits, reason)

    def plan(self, action: Action, wanted: Filter, *, soon: bool = False) -> Plan:
        return plan(self._journal, self._reach.fitting(action, wanted), soon=soon)

    def named(self, action: Action, ids: Sequence[str]) -> list[str]:
        return named(self._journal, self._reach, action, ids)

    def begin(
        self,
        action: Action,
        wanted: Filter | Sequence[str],
        who: str,
        *,
        limit: int = 1000,
        per_second: float = 50.0,
        delay: float = 0.0,
        reason: str = "",
    ) -> Job:
        self._need_to_be_restored()  # which would take it for one of before
        now = self._clock()
        job = Job(self._new_id(), action, RUNNING, 0, 0, 0, reason, who, now)
        ids: tuple[str, ...] = ()
        fitting = None
        if isinstance(wanted, Filter):
            fitting = self._reach.fitting(action, wanted)
            if fitting is not None:
                before = fitting.created_before
                before = now if before is None else min(before, now)
                fitting = replace(fitting, created_before=before)
        else:
            ids = tuple(dict.fromkeys(wanted))[:limit]
        work = Work(job, self._instance, fitting, ids, limit, per_second, delay=delay)
        return self._jobs.begin(work)

    def jobs(self) -> Sequence[Job]:
        return self._jobs.list()

    def job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def stop_job(self, job_id: str, who: str) -> Job | None:
        return self._jobs.stop_job(job_id, who)

    def revealed(self, call_id: str, who: str) -> None:
        self._decisions.decide("revealed", who, call_id)

    @property
    def looks_up(self) -> bool:
        return self._queue.looks_up

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        return self._queue.payloads(ids)

    def remind(self) -> None:
        """Tells the journal what was decided last of each destination, and of jobs."""
        for decided in self._destinations.last():
            self._decisions.again(decided)
        self._jobs.remind()

    def finish(self, last_at: float) -> Iterator[None]:
        """Retries of one call that a crash cut short; see Begun.finish()."""
        return self._begun.finish(last_at)

    def unfinished(self) -> bool:
        """Whether the journal may not know how something ended that was begun here."""
        return self._begun.unfinished

    def busy(self) -> set[str]:
        """Ids of calls of which a job will tell what became of them.

        Raises:
            JournalUnavailable: nobody knows which these are, yet.
        """
        self._need_to_be_restored()
        return self._jobs.busy()

    def _need_to_be_restored(self) -> None:
        if not self._restored:
            raise JournalUnavailable("What was begun before is not known yet.")

    def _arrived(self, decided: Decided) -> None:
        """Also for what was decided here, and for what is known: all of it may be
        applied again.
        """
        if decided.kind in (*PAUSES, *LIMITS):
            self._destinations.apply(decided)
        elif decided.kind == "bulk":
            self._jobs.apply(decided)
        elif decided.kind == "cancelled":
            self._queue.cancelled(dict.fromkeys(decided.targets, decided.at))
        elif decided.kind == "crashed":
            self._cut_off_at = max(decided.at, self._cut_off_at or 0.0)

    def _restore(self) -> None:
        try:
            self._destinations.restore(
                self._decisions.newest((*PAUSES, *LIMITS), lambda _: False)
            )
            for crashed in self._journal.decisions(kinds=("crashed",), limit=1):
                self._arrived(crashed)
            self._queue.cancelled(self._cancelled())
            self._jobs.restore()
        except JournalUnavailable as exc:
            self._restored = exc.off
            if not exc.off:
                log.warning("What was decided before is not in force yet: %s", exc)
        else:
            self._restored = True

    def _cancelled(self) -> dict[str, float]:
        """When each of the last ones was, Unix seconds; the newest last."""
        if self._queue.looks_up:
            return {}
        found = self._decisions.newest(
            ("cancelled",),
            lambda some: sum(len(one.targets) for one in some) >= TOLD_CALLS,
        )
        when = ((one, decided.at) for decided in found[::-1] for one in decided.targets)
        return dict([*when][-TOLD_CALLS:])

    def _work(self) -> None:
        while not self._restored and not self._stopping.is_set():
            self._wait(self._stopping, AGAIN_SECONDS)
            self._restore()
        self._jobs.run()
