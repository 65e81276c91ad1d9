"""What the journal is told of attempts."""

import time
from collections.abc import Callable

from mspc.calls.call import Call, Outcome, Request
from mspc.calls.requests import UNREADABLE
from mspc.delivery.retry import Ack, DeadLetter, Decision, Requeue
from mspc.journal.base import Recorder
from mspc.journal.events import Accepted, Attempted, accepted, attempted

_NO_ATTEMPT = Outcome(word="")


class Recording:
    """Tells the journal what was settled; costs nothing when nobody listens."""

    def __init__(self, journal: Recorder, now: Callable[[], float] = time.time) -> None:
        """
        Args:
            journal: where it goes.
            now: Unix seconds.
        """
        self._journal = journal
        self._now = now

    def settled(
        self, call: Call, request: Request, outcome: Outcome, decision: Decision
    ) -> None:
        """An attempt was made, and what was decided is stored.

        Args:
            call: as it was before the attempt.
            request: what it asks for.
            outcome: what the attempt gave.
            decision: what becomes of the call.
        """
        if self._journal.on:
            at = self._now() - outcome.seconds
            self._record(call, request, call.attempts + 1, at, outcome, decision)

    def not_attempted(self, call: Call, request: Request, decision: Decision) -> None:
        """Something else was done in place of an attempt."""
        if self._journal.on:
            now = self._now()
            self._record(call, request, call.attempts, now, _NO_ATTEMPT, decision)

    def unreadable(self, call: Call, why: str, reason: str) -> None:
        """It is no call, or not the one that was stored, and a dead letter.

        Args:
            call: as it was delivered.
            why: a sentence.
            reason: why it is dead, a word of mspc/calls/words.py.
        """
        if self._journal.on:
            told = Accepted(call.id, call.accepted_at, "", "", UNREADABLE)
            self._journal.record(
                Attempted(
                    told,
                    call.attempts,
                    self._now(),
                    text=why,
                    decision="dead",
                    reason=reason,
                )
            )

    def _record(
        self,
        call: Call,
        request: Request,
        number: int,
        at: float,
        outcome: Outcome,
        decision: Decision,
    ) -> None:
        told = accepted(call, request, self._journal.body_bytes)
        match decision:
            case Ack():
                event = attempted(told, number, at, outcome, "done")
            case Requeue(delay):
                due = self._now() + delay
                event = attempted(told, number, at, outcome, "retry", due)
            case DeadLetter(_, word):
                event = attempted(told, number, at, outcome, "dead", reason=word)
        self._journal.record(event)
