"""What the operators' door answers, besides calls: see api/shown.py for these."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from mspc.api.shown import ShownAttempt, ShownCall, rfc3339, rfc3339_or_none
from mspc.calls.masks import masked_url
from mspc.journal.base import Group, Tally
from mspc.journal.events import Decided
from mspc.steering.base import Job, Limits, Plan, Standing


class ShownDecision(Struct, frozen=True):
    """What somebody decided, and who."""

    id: str
    kind: str
    at: str
    who: str
    targets: Sequence[str]
    reason: str
    details: dict[str, Any]


class OneCall(ShownCall, frozen=True, kw_only=True):
    """A call, and what somebody decided about it; with its request when asked for."""

    decisions: tuple[ShownDecision, ...] = ()
    headers: list[tuple[str, str]] | UnsetType = UNSET
    body: str | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET
    body_complete: bool | UnsetType = UNSET


class CallList(Struct, frozen=True):
    calls: list[ShownCall]
    next_cursor: str | None


class ShownGroup(Struct, frozen=True):
    """Dead letters with one cause."""

    reason: str
    status: int | None
    error: str | None
    destination: str
    count: int
    first_at: str
    last_at: str
    latest_id: str
    answer: str | None


class GroupList(Struct, frozen=True):
    groups: list[ShownGroup]


class ShownLimits(Struct, frozen=True):
    rate: int | None
    period: str
    parallelism: int | None


class Tried(Struct, frozen=True):
    """So many attempts, and how many of them were answered 2xx."""

    attempts: int
    succeeded: int


class ShownPace(Struct, frozen=True, rename={"minutes": "5m", "hour": "60m"}):
    """The attempts of the last minutes, the one that runs among them."""

    minutes: Tried
    hour: Tried


class ShownDestination(Struct, frozen=True):
    """Whom calls go to, and how that goes."""

    destination: str
    state: str
    breaker: str
    queued: int
    waiting: int
    in_flight: int
    dead: int
    oldest_due_at: str | None
    limits: ShownLimits | None
    paused_until: str | None
    next_probe_at: str | None
    last_attempt: ShownAttempt | None
    rates: ShownPace


class DestinationList(Struct, frozen=True):
    destinations: list[ShownDestination]


class ShownPlan(Struct, frozen=True):
    matched: int
    more: bool
    sample: Sequence[str]


class ShownJob(Struct, frozen=True):
    id: str
    action: str
    status: str
    matched: int
    done: int
    failed: int
    reason: str
    who: str
    started_at: str
    finished_at: str | None


class JobList(Struct, frozen=True):
    jobs: list[ShownJob]


class DecisionList(Struct, frozen=True):
    decisions: list[ShownDecision]


class Counted(Struct, frozen=True):
    """So many in a minute, or in an hour."""

    accepted: int
    attempts: int
    succeeded: int
    died: int


class Lately(Struct, frozen=True, rename={"minute": "1m", "hour": "60m"}):
    minute: Counted
    hour: Counted


class Numbers(Struct, frozen=True):
    """The last 60 minutes, or 24 hours, one by one, the oldest first."""

    accepted: Sequence[int]
    attempts: Sequence[int]
    succeeded: Sequence[int]
    died: Sequence[int]


class Stats(Struct, frozen=True):
    """How it goes, on the whole.

    `in_flight` of the states is of this instance, and among `queued` and `waiting` too.
    """

    ready: bool
    problem: str | None
    remark: str | None
    engine: str
    spool: int | None
    scope: str
    states: dict[str, int]
    oldest_due_at: str | None
    oldest_due_age_seconds: float | None
    rates: Lately
    minutes: Numbers
    hours: Numbers
    events_dropped: int


class Done(Struct, frozen=True):
    """What was asked for was done."""

    message: str
    error: bool = False
    id: str | UnsetType = UNSET
    destination: str | UnsetType = UNSET


class Wrong(Struct, frozen=True):
    """One property or parameter that is wrong."""

    property: str | None
    message: str


class Item(Struct, frozen=True):
    """A call of a batch: its id, or why it was not stored."""

    id: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    errors: list[Wrong] | UnsetType = UNSET


class Batch(Struct, frozen=True):
    """What became of the calls of a batch, in their order."""

    error: bool
    message: str
    calls: list[Item]


class Refusal(Struct, frozen=True):
    """What was asked for was not done."""

    error: bool
    message: str
    code: str
    errors: list[Wrong] | UnsetType = UNSET


def shown_group(group: Group) -> ShownGroup:
    return ShownGroup(
        reason=group.reason,
        status=group.status,
        error=group.error or None,
        destination=group.destination,
        count=group.count,
        first_at=rfc3339(group.first_at),
        last_at=rfc3339(group.last_at),
        latest_id=group.latest_id,
        answer=group.answer or None,
    )


def shown_limits(limits: Limits) -> ShownLimits | None:
    """None when there are none."""
    if limits.rate is None and limits.parallelism is None:
        return None
    milliseconds = round(limits.period * 1000)
    whole, rest = divmod(milliseconds, 1000)
    period = f"{milliseconds}ms" if rest else f"{whole}s"
    return ShownLimits(limits.rate, period, limits.parallelism)


def shown_destination(
    standing: Standing, tally: Tally, last: ShownAttempt | None
) -> ShownDestination:
    states, pace = tally.states, tally.pace
    return ShownDestination(
        destination=standing.destination,
        state=standing.state,
        breaker=standing.breaker,
        queued=states.get("queued", 0),
        waiting=states.get("waiting", 0),
        in_flight=standing.in_flight,
        dead=states.get("dead", 0),
        oldest_due_at=rfc3339_or_none(tally.oldest_due),
        limits=shown_limits(standing.limits),
        paused_until=rfc3339_or_none(standing.paused_until),
        next_probe_at=rfc3339_or_none(standing.next_probe),
        last_attempt=last,
        rates=ShownPace(
            Tried(pace.attempts, pace.succeeded),
            Tried(pace.attempts_hour, pace.succeeded_hour),
        ),
    )


def shown_plan(plan: Plan) -> ShownPlan:
    return ShownPlan(plan.matched, plan.more, tuple(plan.sample))


def shown_job(job: Job) -> ShownJob:
    return ShownJob(
        id=job.id,
        action=job.action,
        status=job.status,
        matched=job.matched,
        done=job.done,
        failed=job.failed,
        reason=job.reason,
        who=job.who,
        started_at=rfc3339(job.started_at),
        finished_at=rfc3339_or_none(job.finished_at),
    )


def shown_decision(decided: Decided) -> ShownDecision:
    """The secrets in the URL that a job looks for are masked."""
    details = dict(decided.details)
    wanted = details.get("filter")
    if isinstance(wanted, dict) and wanted.get("url_prefix"):
        details["filter"] = wanted | {"url_prefix": masked_url(wanted["url_prefix"])}
    return ShownDecision(
        id=decided.id,
        kind=decided.kind,
        at=rfc3339(decided.at),
        who=decided.who,
        targets=decided.targets,
        reason=decided.reason,
        details=details,
    )
