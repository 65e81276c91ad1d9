"""What a transaction has changed."""

from collections import Counter
from dataclasses import dataclass, field

from mspc.journal.events import Attempted, Decided
from mspc.journal.folding import Cause


@dataclass(frozen=True, slots=True)
class Dead:
    """A call that became a dead letter, or was one; its answer is empty then."""

    cause: Cause
    destination: str
    id: str
    at: float
    answer: str


@dataclass(slots=True)
class Changes:
    """In the counters of calls, and in what was decided.

    Attributes:
        moved: how many calls of a destination went from one state to another, either of
            them None for a call that was not known or is forgotten.
        died: calls, in order.
        undone: dead letters that are none any more.
        accepted: how many, by the minute since 1970.
        attempts, succeeded: the same, by destination and minute.
        last: the last attempt, by destination.
        decided: what was not known before.
        last_at: when the last of the events happened, Unix seconds.
        unfit: how many events could not be written down.
    """

    moved: Counter[tuple[str, str | None, str | None]] = field(default_factory=Counter)
    died: list[Dead] = field(default_factory=list)
    undone: list[Dead] = field(default_factory=list)
    accepted: Counter[int] = field(default_factory=Counter)
    attempts: Counter[tuple[str, int]] = field(default_factory=Counter)
    succeeded: Counter[tuple[str, int]] = field(default_factory=Counter)
    last: dict[str, Attempted] = field(default_factory=dict)
    decided: list[Decided] = field(default_factory=list)
    last_at: float = 0.0
    unfit: int = 0
