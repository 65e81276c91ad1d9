"""What is known of one lane: the calls to one origin, and how it answers."""

from collections import deque
from enum import Enum
from typing import Protocol

from mspc.lanes.breaker import Breaker
from mspc.lanes.bucket import Limit
from mspc.lanes.pauses import Pauses

# A lane whose oldest attempt has been out for so long, or for so many times its usual
# answer time, and that has answered nothing since, is a suspect: a service that hangs
# would else show it only after FORWARD_TIMEOUT_SECONDS.
SUSPECT_SECONDS = 2.0
SUSPECT_TIMES = 10.0
# What the latest answer counts in the usual answer time.
LATEST = 0.1


class Item(Protocol):
    """What is ready to be attempted: a delivery of a queue. Hashable by identity."""

    @property
    def lane(self) -> "Lane": ...


class Rank(Enum):
    """Who goes first: those that have answered lately, new ones, and the bad."""

    PROVEN = 0
    NEW = 1
    BAD = 2

    __hash__ = object.__hash__  # Enum's own is in Python, and asked some times a call


class Turn(Enum):
    """Where a lane stands: in the ring, out of it until there is more room, or until
    something happens to the lane or its time has come, or not at all.
    """

    NONE = 0
    RING = 1
    HELD = 2
    BLOCKED = 3


class Lane:
    """The calls to one origin.

    Attributes:
        key: what its calls have in common, `scheme://host:port`; for people, too.
        ready: what can be taken, in order.
        out: what was taken and has not ended, the oldest first, and since when.
        aside: how many calls the queue knows of that are not ready.
        breaker: whether the service answers.
        paused: whether somebody wants its calls to wait.
        pauses: when somebody wanted that; None for never.
        limit: how fast its calls may go; None for as fast as it answers.
        proven: whether it has answered, and is no suspect since.
        probe: the last one that was taken while it was open, until that has ended.
    """

    __slots__ = (
        "_answered_at",
        "_usual",
        "alarm",
        "aside",
        "breaker",
        "key",
        "limit",
        "out",
        "paused",
        "pauses",
        "probe",
        "proven",
        "rank",
        "ready",
        "turn",
    )

    def __init__(self, key: str, breaker: Breaker) -> None:
        self.key = key
        self.ready: deque[Item] = deque()
        self.out: dict[Item, float] = {}
        self.aside = 0
        self.breaker = breaker
        self.paused = False
        self.pauses: Pauses | None = None
        self.limit: Limit | None = None
        self.proven = False
        self.probe: Item | None = None
        # For Lanes alone: what it is counted as, where it stands, when to look again.
        self.rank = Rank.NEW
        self.turn = Turn.NONE
        self.alarm = float("inf")
        self._answered_at = float("-inf")
        self._usual = 0.0

    @property
    def waiting(self) -> int:
        """Calls that are known and not in flight."""
        return len(self.ready) + self.aside

    def idle(self, now: float) -> bool:
        """Whether nothing is lost with it."""
        busy = self.ready or self.out or self.aside
        steered = self.limit is not None or self.pauses is not None
        return not (busy or steered) and self.breaker.untouched(now)

    @property
    def shut(self) -> bool:
        """Whether none of its calls is made, but for a probe."""
        return self.paused or self.breaker.open

    def down(self, now: float) -> bool:
        """Whether it does not answer, and somebody may care: calls wait for it, or one
        has failed lately. Without a call nobody asks whether it is back.
        """
        breaker = self.breaker
        # Most have failed lately, which of ten thousand is seen in half of the time.
        return breaker.open and (breaker.failed_lately(now) or not self.idle(now))

    def paused_seconds(self, since: float, now: float) -> float:
        """For how many of the seconds between two times, in Unix seconds, it was
        paused: its calls do not age meanwhile.
        """
        return 0.0 if self.pauses is None else self.pauses.seconds(since, now)

    def answered(self, now: float, seconds: float) -> None:
        """The service has given a sign of life, after so many seconds."""
        self._answered_at = now
        if self.proven:
            self._usual += LATEST * (seconds - self._usual)
        else:
            self.proven = True
            self._usual = max(seconds, self._usual)

    def suspect(self, now: float) -> bool:
        """Whether it seems to hang; it is not proven any more then."""
        if not self.out:
            return False
        oldest = next(iter(self.out.values()))
        patience = max(SUSPECT_SECONDS, SUSPECT_TIMES * self._usual)
        if now - oldest <= patience or self._answered_at >= oldest:
            return False
        self.proven = False
        return True
