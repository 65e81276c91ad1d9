"""What the operators' door can be asked: the parameters and bodies of its routes.

The description of a field continues the sentence "it must be", and is what OpenAPI
shows.
"""

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

from mspc.admin.reading import lane_named
from mspc.admin.spans import END, Delay, Period, seconds, seconds_of_delay
from mspc.calls.destination import read_destination
from mspc.calls.words import ERRORS, REASONS
from mspc.errors import InvalidProperties, NotPossible
from mspc.journal.base import NEITHER, Filter
from mspc.steering.base import Action, Limits

MOST_IDS = 10_000
LONGEST_ID = 200
LONGEST_REASON = 500
MOST_CALLS = 1_000_000
USUAL_LIMIT = 1000
State = Literal["queued", "in_flight", "waiting", "succeeded", "dead", "cancelled"]
Lasting = Literal["queued", "waiting", "succeeded", "dead", "cancelled"]
Kind = Literal[
    "cancelled",
    "retried",
    "deleted",
    "paused",
    "resumed",
    "limited",
    "unlimited",
    "revealed",
    "crashed",
    "chunk",
    "bulk",
]
Death = Literal[
    "no_requeue", "max_attempts", "max_age", "permanent", "not_sendable", "damaged"
]
Error = Literal[
    "bad_status",
    "timeout",
    "connect_timeout",
    "connection_refused",
    "connection_reset",
    "dns",
    "tls",
    "protocol",
    "denied_network",
    "cancelled",
    "unknown",
]

_Date = Annotated[
    Annotated[datetime, Meta(tz=True)] | None,
    Meta(description="a date with its offset, 2030-01-31T08:00:00+01:00"),
]
_Word = Annotated[
    str,
    Meta(max_length=64, pattern="^[^ ]*$", description="a label, which has no blank"),
]
_Id = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
_Ids = Annotated[
    Annotated[list[_Id], Meta(min_length=1, max_length=MOST_IDS)] | None,
    Meta(description=f"a list of 1 to {MOST_IDS} ids of calls"),
]
_States = Annotated[
    list[State],
    Meta(description="queued, in_flight, waiting, succeeded, dead or cancelled"),
]
_Reason = Annotated[
    Annotated[str, Meta(max_length=LONGEST_REASON)] | None,
    Meta(description=f"a text of at most {LONGEST_REASON} characters"),
]


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class _Filter(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    destination: Annotated[
        str, Meta(max_length=2000, description="a destination, scheme://host:port")
    ] = ""
    url_prefix: Annotated[
        str, Meta(max_length=8192, description="what a URL begins with")
    ] = ""
    method: Annotated[str, Meta(max_length=20, description="an HTTP method")] = ""
    label: _Word = ""
    reason: Annotated[
        Death | Literal[""],
        Meta(description=f"a reason of death: {', '.join(REASONS)}"),
    ] = ""
    error: Annotated[
        Error | Literal[""],
        Meta(description=f"an error of the last attempt: {', '.join(ERRORS)}"),
    ] = ""
    status: Annotated[
        str,
        Meta(
            pattern=rf"^([1-9][0-9][0-9]|[1-9]xx|{NEITHER})?{END}",
            description='a status of the last answer, "404" or "4xx", or "none": there'
            " was neither an answer nor an error",
        ),
    ] = ""
    created_after: _Date = None
    created_before: _Date = None
    attempts_min: Annotated[
        int, Meta(ge=0, le=1_000_000, description="a whole number from 0 to 1000000")
    ] = 0

    def _wanted(self, states: list[Any], within: str = "") -> Filter:
        """Raises InvalidProperties when `destination` is none."""
        after, before = self.created_after, self.created_before
        return Filter(
            states=frozenset(states),
            destination=lane_named(f"{within}destination", self.destination),
            url_prefix=self.url_prefix,
            method=self.method.upper(),
            label=self.label,
            reason=self.reason,
            error=self.error,
            status=self.status,
            created_after=None if after is None else after.timestamp(),
            created_before=None if before is None else before.timestamp(),
            attempts_min=self.attempts_min,
        )


class CallFilter(_Filter, frozen=True, kw_only=True):
    """Which calls."""

    state: _States = []

    def wanted(self) -> Filter:
        return self._wanted(self.state)


class CallsQuery(CallFilter, frozen=True, kw_only=True):
    """Which page of which calls."""

    limit: Annotated[
        int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")
    ] = 100
    cursor: Annotated[
        str, Meta(max_length=200, description="the next_cursor of the page before")
    ] = ""


class BulkFilter(_Filter, frozen=True, kw_only=True):
    """Which calls a job is for: what is in flight is left alone."""

    state: Annotated[
        list[Lasting],
        Meta(description="a list of queued, waiting, succeeded, dead, cancelled"),
    ] = []

    def wanted(self) -> Filter:
        return self._wanted(self.state, "filter.")


class CallQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a call."""

    include: Annotated[
        Literal["", "body"], Meta(description="body, for its headers and its body")
    ] = ""


class CurlQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of it."""

    reveal: Annotated[
        Literal["0", "1"], Meta(description="0, or 1 to show secrets (ADMIN_KEY)")
    ] = "0"


class ReasonQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done that has no body."""

    reason: _Reason = None


class ReasonBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done."""

    reason: _Reason = None


class RetryBody(Struct, frozen=True, forbid_unknown_fields=True):
    """When, and why."""

    delay: Delay = 0.0
    reason: _Reason = None

    @property
    def seconds(self) -> float:
        """How long the delay is.

        Raises:
            InvalidProperties: more than a year, which a text may say.
        """
        return seconds_of_delay(self.delay)


class PauseBody(Struct, frozen=True, forbid_unknown_fields=True):
    """For how long, and why."""

    until: _Date = None
    reason: _Reason = None


_Many = Annotated[int, Meta(ge=1, le=1_000_000)]
_Number = Annotated[
    _Many | None, Meta(description="a whole number from 1 to 1000000, or null")
]


class LimitsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How fast a destination gets its calls."""

    rate: _Number = None
    period: Period = 1.0
    parallelism: _Number = None
    reason: _Reason = None

    def limits(self) -> Limits:
        return Limits(self.rate, self.seconds, self.parallelism)

    @property
    def seconds(self) -> float:
        """How long the period is."""
        return seconds(self.period)


_Action = Annotated[Action, Meta(description="retry, cancel or delete")]


class PlanBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What would be done to which calls."""

    action: _Action
    filter: Annotated[BulkFilter, Meta(description="an object")] = BulkFilter()


class BulkBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is done to which calls."""

    action: _Action
    filter: Annotated[BulkFilter | None, Meta(description="an object")] = None
    ids: _Ids = None
    all: Annotated[bool, Meta(description="true or false")] = False
    limit: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_CALLS)] | None,
        Meta(description=f"a whole number from 1 to {MOST_CALLS}, or null"),
    ] = None
    per_second: Annotated[
        float, Meta(ge=0.01, le=10_000, description="a number from 0.01 to 10000")
    ] = 50.0
    delay: Delay = 0.0
    reason: _Reason = None

    @property
    def most(self) -> int:
        """Of so many calls: of all that are named, unless it says otherwise."""
        return self.limit or len(self.ids or ()) or USUAL_LIMIT

    @property
    def seconds(self) -> float:
        """How long the delay is.

        Raises:
            InvalidProperties: more than a year, or there is nothing to be delayed.
        """
        delay = seconds_of_delay(self.delay)
        if delay and self.action != "retry":
            raise InvalidProperties(["delay is for the action retry."])
        return delay


class DocumentQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which document."""

    door: Annotated[
        Literal["admin", "calls"], Meta(description="admin or calls: whose routes")
    ] = "admin"


class DecisionsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which decisions."""

    target: Annotated[
        str,
        Meta(max_length=2000, description="the id of a call or job, or a destination"),
    ] = ""
    kind: Annotated[
        list[Kind], Meta(description=f"one of {', '.join(get_args(Kind))}")
    ] = []
    limit: Annotated[
        int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")
    ] = 100

    def about(self) -> str:
        """The target as it was written down: a destination as the lanes spell it."""
        with suppress(NotPossible):
            return read_destination(self.target)
        return self.target


class ExportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls are exported."""

    state: Annotated[
        list[Literal["queued", "waiting", "dead"]],
        Meta(description="queued, waiting or dead"),
    ] = []
