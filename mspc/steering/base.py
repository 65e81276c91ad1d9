"""What an operator can have done, in the words of the two doors.

The doors (api, admin) know this protocol, not who does it. Ids are of calls or jobs; a
destination is `scheme://host:port`; times are Unix seconds. `who` is the name of the
key that came with the request: `admin`, `read` or `calls`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mspc.journal.base import Filter

Action = Literal["retry", "cancel", "delete"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How fast a destination gets its calls; None: as fast as it answers.

    Attributes:
        rate: so many attempts in `period` seconds.
        parallelism: so many in flight at once.
    """

    rate: int | None = None
    period: float = 1.0
    parallelism: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a destination stands, on this instance.

    Attributes:
        state: `ok`, `held` (its breaker is open) or `paused`.
        breaker: `closed`, `open` or `half_open` (calls come slowly at first).
        in_flight: attempts that run now.
        paused_until: None for an end that nobody has said.
        next_probe: when a call asks whether it is back, Unix seconds; while held.
    """

    destination: str
    state: str = "ok"
    breaker: str = "closed"
    in_flight: int = 0
    limits: Limits = Limits()
    paused_until: float | None = None
    next_probe: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job would reach.

    Attributes:
        matched: how many calls; counting stops at 10,000, or after a while.
        more: whether there are more, or may be, since not all were looked at.
        sample: the ids of some of them.
    """

    matched: int
    more: bool
    sample: Sequence[str]


@dataclass(frozen=True, slots=True)
class Job:
    """A bulk action.

    Attributes:
        id: 32 hex digits.
        action: what is done to each call.
        status: `running`, `done`, `stopped` or `failed`.
        matched: how many calls it has found so far.
        done: how many it reached.
        failed: how many it did not: they had changed meanwhile.
        reason: why, in the words of whoever began it.
        who: their key.
        started_at, finished_at: the latter None while it runs.
    """

    id: str
    action: Action
    status: str
    matched: int
    done: int
    failed: int
    reason: str
    who: str
    started_at: float
    finished_at: float | None = None


class Steering(Protocol):
    """Raises NotPossible (409), NoSuchCall (404), JournalUnavailable (501 or 503) and
    QueueUnavailable (503).
    """

    def in_flight(self, call_id: str) -> bool:
        """Whether this instance attempts the call now."""

    def flying(self) -> Sequence[str]:
        """The ids of all calls that this instance attempts now."""

    def cancel(self, call_id: str, who: str, reason: str = "") -> None:
        """It is not attempted any more. Also when it was cancelled before.

        Raises:
            NotPossible: `already_succeeded`, `already_dead` or `in_flight`.
        """

    def retry(
        self, call_id: str, who: str, reason: str = "", delay: float = 0.0
    ) -> None:
        """In `delay` seconds a waiting call is due, whenever it was; a dead one begins
        again under its id.

        Raises:
            NotPossible: `already_succeeded`, `cancelled`, `in_flight`, `queued`, or
                `waits_in_rabbitmq`, with when it is due.
        """

    def cut_off_at(self) -> float | None:
        """When an instance was last started after a crash whose queue cannot be asked
        for calls, or is being asked now, Unix seconds; None for never. An open call
        that was due then, of which nothing was heard since, may have ended.
        """

    def standing(self, destination: str) -> Standing: ...

    def glance(self) -> Mapping[str, str]:
        """The state of each destination that is paused, limited, held or has calls in
        flight, by name; of the others there is nothing to tell.
        """

    def pause(
        self, destination: str, who: str, until: float | None, reason: str = ""
    ) -> None:
        """Its calls are neither attempted nor aged, on every instance; idempotent."""

    def resume(self, destination: str, who: str, reason: str = "") -> None:
        """Idempotent."""

    def limit(
        self, destination: str, who: str, limits: Limits | None, reason: str = ""
    ) -> None:
        """Kept until taken back, which None does; on every instance."""

    def plan(self, action: Action, wanted: Filter, *, soon: bool = False) -> Plan:
        """What begin() would reach now. Changes nothing.

        `soon`: does not count for longer than whoever opens a page would wait.

        Raises:
            NotPossible: `waits_in_rabbitmq`: only calls that nobody can look up there.
        """

    def named(self, action: Action, ids: Sequence[str]) -> list[str]:
        """Those of the calls that begin() would reach now; raises as plan() does."""

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
        """Begins a job, which survives a crash of this instance.

        Args:
            action: `retry` is for dead letters and waiting calls, `cancel` for open
                calls, `delete` for dead letters.
            wanted: which calls, of those that exist now; or their ids.
            who: the name of the key.
            limit: how many at most.
            per_second: how many in a second, for `retry`.
            delay: for `retry`, in how many seconds each is due from when it is reached.
            reason: in the words of whoever does it.
        """

    def jobs(self) -> Sequence[Job]:
        """Newest first."""

    def job(self, job_id: str) -> Job | None: ...

    def stop_job(self, job_id: str, who: str) -> Job | None:
        """Ends it after what it is doing; what is done stays done."""

    def revealed(self, call_id: str, who: str) -> None:
        """Writes down that the secrets of a call were shown."""

    @property
    def looks_up(self) -> bool:
        """Whether payloads() finds each call that is there."""

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Ids, and the calls as clients sent them, of those of these calls that the
        queue can look up, in that order; read as they are asked for.

        Raises:
            QueueUnavailable: they cannot be read.
        """
