"""What went in must come out: Jepsen's total-queue checker, for calls.

Pure: it compares what the client knows with what the target saw.
"""

import itertools
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["ok", "unknown", "fail"]

# A timer may ring a little early by another process's clock.
TOLERATED_SECONDS = 0.05
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """One call, as its client knows it.

    Attributes:
        outcome: `ok` was promised (200 or 202), `unknown` may exist (timeout, reset,
            5xx), `fail` cannot exist (never sent, or 4xx).
        status: of the answer, 0 when there was none.
        at: `time.monotonic()` when it was sent.
        seconds: until the answer or the failure.
    """

    id: str
    outcome: Outcome
    status: int
    at: float
    seconds: float


@dataclass(slots=True)
class Hit:
    """One attempt, as the target saw it.

    Attributes:
        at: `time.monotonic()` when the request was complete.
        correct: method, headers and body are those that the client asked for.
        status: what was answered, 0 for nothing (yet).
        ended: when the answer was sent or the connection was gone.
    """

    id: str
    at: float
    correct: bool = True
    status: int = 0
    ended: float = field(default=0.0)

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison gave.

    Attributes:
        accepted: calls promised.
        unknown: calls that nothing is known about, 503 answers among them.
        unavailable: 503 answers.
        failed: calls that cannot exist.
        lost: promised and never answered 2xx.
        forgiven: the same, but documented.
        unexpected: seen although never sent nor stored, or surely not accepted.
        corrupted: seen with another method, header or body.
        early: attempted again before the delay was over, without an excuse.
        excused: the same, but while a fault was on (a redelivery).
        duplicated: attempts after the call had been answered 2xx.
        twice: the calls that these were of.
        recovered: unknown calls that were seen.
        attempts: everything that was seen.
    """

    accepted: int
    unknown: int
    unavailable: int
    failed: int
    lost: tuple[str, ...]
    forgiven: int
    unexpected: tuple[str, ...]
    corrupted: tuple[str, ...]
    early: tuple[str, ...]
    excused: int
    duplicated: int
    twice: tuple[str, ...]
    recovered: int
    attempts: int

    def problems(self, bound_on_duplicates: int) -> list[str]:
        """What breaks an invariant, one sentence each; empty when all hold."""
        found = [
            f"{len(ids)} {kind}: {', '.join(ids[:_SHOWN])}"
            for kind, ids in (
                ("lost", self.lost),
                ("unexpected", self.unexpected),
                ("corrupted", self.corrupted),
                ("early", self.early),
            )
            if ids
        ]
        if self.duplicated > bound_on_duplicates:
            told = ", ".join(self.twice[:_SHOWN])
            found.append(
                f"{self.duplicated} duplicates, bound {bound_on_duplicates}: {told}"
            )
        return found


def check(
    sent: Iterable[Sent],
    hits: Iterable[Hit],
    delay: float = 0.0,
    interruptions: Sequence[Interval] = (),
    forgiven: Set[str] = frozenset(),
    stored: Container[str] = (),
) -> Verdict:
    """Compares the client's log with the target's ledger.

    Args:
        sent: one entry for each call.
        hits: every attempt, in order of arrival.
        delay: seconds that mspc waits after a failed attempt.
        interruptions: when faults were on, from and to. A call attempted in one may
            come again at once: its delivery was not settled.
        forgiven: calls that may be lost, as documented.
        stored: calls that were in the queue already and promised to nobody: they may
            come.
    """
    calls = list(sent)
    ids = {
        outcome: {call.id for call in calls if call.outcome == outcome}
        for outcome in ("ok", "unknown", "fail")
    }
    attempts: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        attempts[hit.id].append(hit)
    delivered = {id_ for id_, seen in attempts.items() if _any_2xx(seen)}
    corrupted = {i for i, seen in attempts.items() if not all(h.correct for h in seen)}
    strange = attempts.keys() - ids["ok"] - ids["unknown"]
    early: list[str] = []
    excused = 0
    for id_, seen in attempts.items():
        for first, second in _too_close(seen, delay):
            if any(a <= second.at and first.at <= b for a, b in interruptions):
                excused += 1
            else:
                early.append(f"{id_} after {second.at - first.ended:.3f} s")
    return Verdict(
        accepted=len(ids["ok"]),
        unknown=len(ids["unknown"]),
        unavailable=sum(call.status == 503 for call in calls),
        failed=len(ids["fail"]),
        lost=tuple(sorted(ids["ok"] - delivered - forgiven)),
        forgiven=len(ids["ok"] & forgiven - delivered),
        unexpected=tuple(sorted(id_ for id_ in strange if id_ not in stored)),
        corrupted=tuple(sorted(corrupted)),
        early=tuple(early),
        excused=excused,
        duplicated=sum(_duplicates(seen) for seen in attempts.values()),
        twice=tuple(sorted(i for i, seen in attempts.items() if _duplicates(seen))),
        recovered=len(ids["unknown"] & attempts.keys()),
        attempts=sum(len(seen) for seen in attempts.values()),
    )


def _any_2xx(seen: Sequence[Hit]) -> bool:
    return any(hit.succeeded for hit in seen)


def _duplicates(seen: Sequence[Hit]) -> int:
    """Attempts that came after one that was answered 2xx."""
    for position, hit in enumerate(seen):
        if hit.succeeded:
            return len(seen) - position - 1
    return 0


def _too_close(seen: Sequence[Hit], delay: float) -> Iterable[tuple[Hit, Hit]]:
    for first, second in itertools.pairwise(seen):
        if first.succeeded:
            return  # what follows are duplicates
        if second.at < first.ended + delay - TOLERATED_SECONDS:
            yield first, second
