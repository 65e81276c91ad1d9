"""The journal's view and steering in memory: what the two doors are tested with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from mspc.errors import MspcError, NoSuchCall, NotPossible
from mspc.journal.base import (
    EVERYTHING,
    Count,
    Filter,
    Group,
    Page,
    Rates,
    Seen,
    Summary,
    Tally,
)
from mspc.journal.events import Accepted, Attempted, Decided
from mspc.steering.base import Action, Job, Limits, Plan, Standing

DESTINATION = "https://service.test:443"
CALL_ID = "0196f0a0000070008000000000000001"
JOB_ID = "0196f0a0000070008000000000000002"
AT = 1_800_000_000.25
SHOWN_AT = "2027-01-15T08:00:00.250Z"
ANSWER = "what the service says about the inside of its network"
HEADERS = (
    ("X-Auth", "s3cr3t-a"),
    ("Cookie", "s3cr3t-b"),
    ("Content-Type", "application/json"),
)
ACCEPTED = Accepted(CALL_ID, AT, "POST", "https://service.test/", DESTINATION)
ATTEMPTED = Attempted(
    ACCEPTED,
    number=1,
    at=AT + 1,
    seconds=0.0123,
    status=500,
    error="bad_status",
    text="told by the service",
    answer=ANSWER,
    decision="retry",
    next_at=AT + 6,
)
SEEN = Seen(
    id=CALL_ID,
    state="waiting",
    method="POST",
    url="https://service.test/orders?token=s3cr3t-c&x=1",
    destination=DESTINATION,
    labels=("order-1",),
    created_at=AT,
    next_at=AT + 6,
    attempts=1,
    max_attempts=0,
    body_bytes=9,
    finished_at=None,
    reason="",
    last=ATTEMPTED,
    headers=HEADERS,
    body=b'{"a": 1}\n',
)


def seen(number: int, **changes: Any) -> Seen:
    """A call like SEEN, with an id of its own."""
    return replace(SEEN, id=f"{number:032x}", **changes)


class FakeView:
    """Knows the calls that it is given, the newest last.

    Attributes:
        failure: what every question is answered with; None for none.
        asked: the filters that calls() was asked with.
    """

    def __init__(self, *calls: Seen) -> None:
        self.scope = "all"
        self.dropped = 0
        self.known = list(calls)
        self.failure: MspcError | None = None
        self.asked: list[Filter] = []
        self.found: list[Group] = []
        self.tallies: dict[str, Tally] = {}
        self.decided: list[Decided] = []

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure

    def call(self, call_id: str) -> Seen | None:
        self._answer()
        return next((one for one in self.known if one.id == call_id), None)

    def attempts(self, call_id: str) -> Sequence[Attempted]:
        self._answer()
        return [one.last for one in self.known if one.id == call_id and one.last]

    def calls(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> Page:
        self._answer()
        self.asked.append(wanted)
        states = wanted.states
        found = [
            one
            for one in self.known
            if not states or one.state in states or one.id in wanted.flying
        ]
        found.reverse()
        start = after or 0
        end = start + limit
        return Page(found[start:end], end if end < len(found) else None)

    def looks(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> Iterator[Page]:
        yield self.calls(wanted, after, limit)

    def count(self, wanted: Filter, after: int | None = None) -> Count:
        found = self.calls(wanted, after, len(self.known) or 1)
        return Count(len(found.calls), found.next)

    def groups(self) -> Sequence[Group]:
        self._answer()
        return self.found

    def destinations(
        self, most: int | None = None, names: Sequence[str] = ()
    ) -> dict[str, Tally]:
        self._answer()
        known = list(self.tallies)[:most]
        chosen = dict.fromkeys([*known, *(one for one in names if one in self.tallies)])
        return {name: self.tallies[name] for name in chosen}

    def tally(self) -> Tally:
        self._answer()
        return Tally({"waiting": len(self.known)}, AT)

    def summary(self) -> Summary:
        minutes = Rates((1,) * 60, (2,) * 60, (3,) * 60, (4,) * 60)
        hours = Rates((4,) * 24, (6,) * 24, (5,) * 24, (7,) * 24)
        return Summary(self.tally(), minutes, hours)

    def decisions(
        self, target: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> Sequence[Decided]:
        self._answer()
        found = [one for one in self.decided if not target or target in one.targets]
        return [one for one in found if not kinds or one.kind in kinds][:limit]


class FakeSteering:
    """Does nothing, and notes what it was asked to do.

    Attributes:
        done: a tuple for everything that was asked for: what, and with what.
        refusal: what everything is answered with that changes something.
        attempted: calls that are attempted now.
        states: how destinations stand that do not stand as usual.
        sent: payloads of calls that can be looked up.
        cut_off: what cut_off_at() says.
    """

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.refusal: MspcError | None = None
        self.attempted: set[str] = set()
        self.states: dict[str, Standing] = {}
        self.sent: dict[str, bytes] = {}
        self.begun: dict[str, Job] = {}
        self.cut_off: float | None = None
        self.planned = Plan(1, False, [CALL_ID])
        self.unfit: set[str] = set()

    def _note(self, *what: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.done.append(what)

    def is_call(self, call_id: str) -> bool:
        return call_id == CALL_ID

    def _known(self, call_id: str) -> None:
        if not self.is_call(call_id):
            raise NoSuchCall(f"There is no call {call_id!r}.")
        if call_id in self.attempted:
            raise NotPossible("in_flight", "It is attempted at this moment.")

    def in_flight(self, call_id: str) -> bool:
        return call_id in self.attempted

    def flying(self) -> Sequence[str]:
        return sorted(self.attempted)

    def cancel(self, call_id: str, who: str, reason: str = "") -> None:
        self._known(call_id)
        self._note("cancel", call_id, who, reason)

    def retry(
        self, call_id: str, who: str, reason: str = "", delay: float = 0.0
    ) -> None:
        self._known(call_id)
        later = (delay,) if delay else ()
        self._note("retry", call_id, who, reason, *later)

    def cut_off_at(self) -> float | None:
        return self.cut_off

    def standing(self, destination: str) -> Standing:
        return self.states.get(destination) or Standing(destination)

    def glance(self) -> Mapping[str, str]:
        return {name: one.state for name, one in self.states.items()}

    def pause(
        self, destination: str, who: str, until: float | None, reason: str = ""
    ) -> None:
        self._note("pause", destination, who, until, reason)

    def resume(self, destination: str, who: str, reason: str = "") -> None:
        self._note("resume", destination, who, reason)

    def limit(
        self, destination: str, who: str, limits: Limits | None, reason: str = ""
    ) -> None:
        self._note("limit", destination, who, limits, reason)

    def named(self, action: Action, ids: Sequence[str]) -> list[str]:
        return [one for one in ids if one not in self.unfit]

    def plan(self, action: Action, wanted: Filter, *, soon: bool = False) -> Plan:
        self._note("plan", action, wanted)
        return self.planned

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
        how = (limit, per_second, delay) if delay else (limit, per_second)
        self._note("begin", action, wanted, who, *how, reason)
        job = Job(JOB_ID, action, "running", 1, 0, 0, reason, who, AT)
        self.begun[job.id] = job
        return job

    def jobs(self) -> Sequence[Job]:
        return list(self.begun.values())

    def job(self, job_id: str) -> Job | None:
        return self.begun.get(job_id)

    def stop_job(self, job_id: str, who: str) -> Job | None:
        self._note("stop_job", job_id, who)
        return self.begun.get(job_id)

    def revealed(self, call_id: str, who: str) -> None:
        self._note("revealed", call_id, who)

    @property
    def looks_up(self) -> bool:
        return bool(self.sent)

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        return iter([(one, self.sent[one]) for one in ids if one in self.sent])
