"""What the journal is told: what became of a call, and what somebody decided.

Values only. Whoever records one goes on at once; whoever reads the journal learns of it
a moment later. The tags, and the letters that stand for the fields, are theirs in what
instances tell each other: wire.py says what may be changed of them.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from mspc.calls.call import Call, Outcome, Request

Decision = Literal["done", "retry", "dead"]
Kind = Literal[
    "cancelled",  # a call, before it succeeded
    "retried",  # a call, a dead one from its first attempt; details: {"delay": seconds}
    "deleted",  # a dead letter
    "paused",  # a destination; details: {"until": Unix seconds or None}
    "resumed",  # the same
    "limited",  # the same; details: {"rate", "period", "parallelism"}
    "unlimited",  # the same
    "revealed",  # the secrets of a call were shown
    "crashed",  # an instance: what became of calls just before that may be missing
    # A job begins with some of its calls, or a call is about to be cancelled, or is not
    # after all; details say which. Of each job or call the last one is kept.
    "chunk",
    "bulk",  # a job was begun, stopped or ended; details: as steering has them
]


class _Event(Struct, frozen=True, tag_field="k", omit_defaults=True):
    """Made at the speed of C: a call makes three of them."""


class Accepted(_Event, tag="a1", frozen=True, gc=False):
    """A call was stored. Every attempt carries it too: it may be all that is known.

    Attributes:
        id: the call's.
        at: when it was accepted, Unix seconds.
        method: upper case.
        url: without user info.
        destination: its lane, `scheme://host:port`.
        labels: the caller's words.
        due: when its first attempt may be made, Unix seconds.
        max_attempts: how many there are at most; 0 when it does not say.
        headers: as they are sent, secrets included.
        body_bytes: how long the body is.
        body: its beginning, as much as is kept.
    """

    id: str = field(name="i")
    at: float = field(name="t")
    method: str = field(name="m")
    url: str = field(name="u")
    destination: str = field(name="d")
    labels: tuple[str, ...] = field(name="l", default=())
    due: float = field(name="w", default=0.0)
    max_attempts: int = field(name="x", default=0)
    headers: tuple[tuple[str, str], ...] = field(name="h", default=())
    body_bytes: int = field(name="n", default=0)
    body: bytes = field(name="b", default=b"")  # between instances in base64


class Attempted(_Event, tag="t1", frozen=True, gc=False):
    """An attempt is over, and it was decided what becomes of the call.

    Attributes:
        call: which one.
        number: which attempt it was, from 1; 0 for a call that died without one.
        at: when it began, Unix seconds.
        seconds: how long it took.
        status: the answer's; None without one.
        error: one of calls/words.py; empty for a success.
        text: what there is to say about it, for people.
        answer: the beginning of the answer's body when it is text.
        decision: what became of the call.
        next_at: when the next attempt is due, Unix seconds; None for none.
        reason: of death, one of calls/words.py; empty for the living.
    """

    call: Accepted = field(name="c")
    number: int = field(name="n")
    at: float = field(name="t")
    seconds: float = field(name="s", default=0.0)
    status: int | None = field(name="r", default=None)
    error: str = field(name="e", default="")
    text: str = field(name="x", default="")
    answer: str = field(name="a", default="")
    decision: Decision = field(name="d", default="done")
    next_at: float | None = field(name="w", default=None)
    reason: str = field(name="y", default="")


class Decided(_Event, tag="d1", frozen=True):
    """Somebody has decided something.

    Attributes:
        kind: what.
        at: when, Unix seconds.
        who: the name of the key: `admin`, `calls`, or `mspc` for its own jobs.
        targets: ids of calls, or one destination, or the id of one job or instance.
        reason: why, in the words of whoever did it.
        details: more of it; JSON.
        id: of the decision, 32 hex digits, in the order of time.
    """

    kind: Kind = field(name="o")
    at: float = field(name="t")
    who: str = field(name="w")
    targets: tuple[str, ...] = field(name="c")
    reason: str = field(name="y", default="")
    details: Mapping[str, Any] = field(name="v", default_factory=dict)
    id: str = field(name="i", default="")


Event = Accepted | Attempted | Decided


def accepted(
    call: Call, request: Request, body_bytes: int, latest: float = math.inf
) -> Accepted:
    """The event for a call.

    Args:
        call: as it is stored.
        request: what it asks for.
        body_bytes: so much of its body is kept.
        latest: Unix seconds. A dead letter that begins anew later has a time to come;
            it has happened all the same, and what happens to it next is not older.
    """
    policy = request.policy
    return Accepted(
        call.id,
        min(call.accepted_at, latest),
        request.method,
        request.url,
        request.lane,
        policy.labels,
        policy.first_due(call.accepted_at),
        (policy.max_attempts or 0) if request.requeue else 1,
        request.headers,
        len(request.body),
        request.body[:body_bytes],
    )


def attempted(
    call: Accepted,
    number: int,
    at: float,
    outcome: Outcome,
    decision: Decision,
    next_at: float | None = None,
    reason: str = "",
) -> Attempted:
    """The event for an attempt; the arguments are those of Attempted."""
    return Attempted(
        call,
        number,
        at,
        outcome.seconds,
        outcome.status,
        "" if outcome.succeeded else outcome.word,
        outcome.error,
        outcome.answer,
        decision,
        next_at,
        reason,
    )
