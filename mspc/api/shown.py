"""A call as both doors show it.

What a service answered is for the operators' door only: a caller could read there what
its own network forbids it.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import UNSET, Struct, UnsetType

from mspc.calls.masks import masked_url
from mspc.calls.words import FINISHED, IN_FLIGHT
from mspc.journal.base import Seen
from mspc.journal.events import Attempted
from mspc.steering.base import Standing, Steering

_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))
_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class ShownAttempt(Struct, frozen=True):
    """An attempt. `text` and `answer` are on the operators' door only."""

    number: int
    started_at: str
    duration_ms: int
    status: int | None
    error: str | None
    decision: str
    next_attempt_at: str | None
    reason: str | None
    text: str | UnsetType = UNSET
    answer: str | UnsetType | None = UNSET


class ShownCall(Struct, frozen=True):
    """A call; secrets of its URL are masked. `attempts_log` is there when one call
    alone was asked for.
    """

    id: str
    state: str
    held: str | None
    method: str
    url: str
    destination: str
    labels: tuple[str, ...]
    created_at: str
    next_attempt_at: str | None
    attempts: int
    max_attempts: int | None
    body_bytes: int
    finished_at: str | None
    reason: str | None
    cut_off_at: str | None
    last_attempt: ShownAttempt | None
    attempts_log: list[ShownAttempt] | UnsetType = UNSET


def rfc3339(seconds: float) -> str:
    """A time, in UTC and with milliseconds.

    Args:
        seconds: Unix seconds; what no calendar has is taken for the nearest that one
            has, since other producers choose them too.
    """
    if not 0.0 <= seconds <= _LATEST:
        seconds = _LATEST if seconds > _LATEST else 0.0
    second, rest = divmod(round(seconds * 1_000_000), 1_000_000)
    return _second(second) + _MILLISECONDS[rest // 1000]


@lru_cache(1000)  # a list has many of one second
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


class Showing:
    """Shows calls, for one request: each destination is looked at once."""

    def __init__(
        self,
        steering: Steering,
        *,
        answers: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`answers`: whether what services answered is shown."""
        self._steering = steering
        self._answers = answers
        self._now = clock()
        self._cut_off_at = steering.cut_off_at()
        self._standings: dict[str, Standing] = {}

    def call(
        self, seen: Seen, attempts: Sequence[Attempted] | None = None
    ) -> ShownCall:
        """One call; with its attempts when they are given."""
        state = self.state(seen)
        return ShownCall(
            id=seen.id,
            state=state,
            held=self.held(seen, state),
            method=seen.method,
            url=masked_url(seen.url),
            destination=seen.destination,
            labels=seen.labels,
            created_at=rfc3339(seen.created_at),
            next_attempt_at=rfc3339_or_none(seen.next_at),
            attempts=seen.attempts,
            max_attempts=seen.max_attempts or None,
            body_bytes=seen.body_bytes,
            finished_at=rfc3339_or_none(seen.finished_at),
            reason=seen.reason or None,
            cut_off_at=rfc3339_or_none(self.cut_off_at(seen, state)),
            last_attempt=None if seen.last is None else self.attempt(seen.last),
            attempts_log=UNSET
            if attempts is None
            else list(map(self.attempt, attempts)),
        )

    def attempt(self, made: Attempted) -> ShownAttempt:
        return ShownAttempt(
            number=made.number,
            started_at=rfc3339(made.at),
            duration_ms=round(made.seconds * 1000),
            status=made.status,
            error=made.error or None,
            decision=made.decision,
            next_attempt_at=rfc3339_or_none(made.next_at),
            reason=made.reason or None,
            text=made.text if self._answers else UNSET,
            answer=made.answer or None if self._answers else UNSET,
        )

    def state(self, seen: Seen) -> str:
        """What it is at this moment, `in_flight` included."""
        if seen.state not in FINISHED and self._steering.in_flight(seen.id):
            return IN_FLIGHT
        return seen.state

    def cut_off_at(self, seen: Seen, state: str) -> float | None:
        """Since when nothing was heard of an open call that may have ended before, when
        mspc was killed or could not write its journal, Unix seconds; None for others.
        """
        if state in FINISHED or state == IN_FLIGHT or seen.next_at is None:
            return None
        at = self._cut_off_at
        return None if at is None or seen.next_at > at else at

    def held(self, seen: Seen, state: str) -> str | None:
        """What an open call waits for besides its time."""
        if state in FINISHED or state == IN_FLIGHT:
            return None
        standing = self._standings.get(seen.destination)
        if standing is None:
            standing = self._steering.standing(seen.destination)
            self._standings[seen.destination] = standing
        if standing.state == "paused":
            return "paused"
        if standing.state == "held":
            return "breaker"
        limits = standing.limits
        limited = limits.rate is not None or limits.parallelism is not None
        due = seen.next_at is None or seen.next_at <= self._now
        return "rate" if limited and due else None
