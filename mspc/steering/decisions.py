"""What was decided goes into the journal, and is found there again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mspc.errors import JournalUnavailable
from mspc.journal.base import Recorder, View
from mspc.journal.events import Decided, Kind

# Apart, so that of two decisions of one instance the later one wins everywhere.
APART_SECONDS = 0.001
FIRST_LOOK = 1000
# How many decisions are looked at after a start: all that the journal keeps, since the
# one that is in force may be the oldest.
FARTHEST_LOOK = 256_000


def order(decided: Decided) -> tuple[float, str]:
    """Of two decisions about one thing the greater one counts."""
    return decided.at, decided.id


def details_of_retry(delay: float) -> dict[str, object]:
    """What `retried` says beside itself, of one that is due in `delay` seconds."""
    return {"delay": delay} if delay else {}


class DecisionLog(Recorder, View, Protocol):
    """Keeps what is decided, and tells it, too."""

    def listen(self, callback: Callable[[Decided], None]) -> None:
        """Calls back with each decision, also of other instances: once, or again."""

    def problem(self) -> str | None:
        """Why nothing is written at the moment; None when it is."""


class Decisions:
    """Writes decisions down."""

    def __init__(
        self,
        journal: DecisionLog,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """
        Args:
            journal: where they go.
            clock: Unix seconds.
            new_id: 32 hex digits, in the order of time.
        """
        self._journal = journal
        self._clock = clock
        self._new_id = new_id

    def record(
        self,
        kind: Kind,
        who: str,
        targets: Sequence[str],
        reason: str = "",
        details: Mapping[str, object] | None = None,
        *,
        at: float | None = None,
        after: float = 0.0,
    ) -> Decided:
        """Records it, and goes on at once.

        Args:
            kind: as in Decided.
            who: the same.
            targets: the same.
            reason: the same.
            details: the same.
            at: when it was decided, Unix seconds; None for now. What became of a call
                after that counts more.
            after: the time of what it replaces, which another clock may have given.

        Raises:
            JournalUnavailable: the journal is off.
        """
        if not self._journal.on:
            raise JournalUnavailable(
                "JOURNAL is 0: without the journal nothing can be decided, since "
                "nobody would know of it after a restart.",
                off=True,
            )
        at = max(self._clock() if at is None else at, after + APART_SECONDS)
        decided = Decided(
            kind, at, who, tuple(targets), reason, details or {}, self._new_id()
        )
        self._journal.record(decided)
        return decided

    def again(self, decided: Decided) -> None:
        """Records one that may be in the journal, where it is once."""
        self._journal.record(decided)

    def decide(
        self,
        kind: Kind,
        who: str,
        target: str,
        reason: str = "",
        details: Mapping[str, object] | None = None,
        *,
        at: float | None = None,
        after: float = 0.0,
    ) -> Decided:
        """As record(), and returns when it is in the journal: it survives a crash.

        Raises:
            JournalUnavailable: also when it may be lost.
        """
        decided = self.record(kind, who, (target,), reason, details, at=at, after=after)
        if not self.is_written(decided):
            why = self._journal.problem() or "It has too much to do."
            told = "The journal did not take the decision, which is not carried out."
            raise JournalUnavailable(f"{told} {why} Try again.")
        return decided

    def is_written(self, decided: Decided) -> bool:
        """Whether the journal took what was recorded.

        Raises:
            JournalUnavailable: nobody knows.
        """
        # An answer includes what was recorded before the question.
        found = self._journal.decisions(decided.targets[0], (decided.kind,), limit=10)
        return any(one.id == decided.id for one in found)

    def newest(
        self, kinds: Sequence[Kind], enough: Callable[[Sequence[Decided]], bool]
    ) -> Sequence[Decided]:
        """Newest first; those before `enough` is content, or all that are looked at.

        Raises:
            JournalUnavailable: nothing can be looked up.
        """
        limit = FIRST_LOOK
        while True:
            found = self._journal.decisions("", kinds, limit)
            if len(found) < limit or limit >= FARTHEST_LOOK or enough(found):
                return found
            limit *= 4
