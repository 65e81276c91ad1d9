"""What to do after an attempt. Pure: nothing here acts."""

from dataclasses import dataclass

from mspc.calls.call import Outcome, Request


@dataclass(frozen=True, slots=True)
class Ack:
    """The call succeeded: forget it."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Make the call again in `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Do not make the call again; keep it for somebody to look at."""

    reason: str


Decision = Ack | Requeue | DeadLetter


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The same delay after every failed attempt, for as long as it takes.

    Attributes:
        delay: seconds between a failed attempt and the next one.
    """

    delay: float

    def decide(self, request: Request, outcome: Outcome) -> Decision:
        if outcome.succeeded:
            return Ack()
        if outcome.permanent:
            return DeadLetter(f"cannot be sent: {outcome}")
        if not request.requeue:
            return DeadLetter(f"failed, and requeue is false: {outcome}")
        return Requeue(self.delay)
