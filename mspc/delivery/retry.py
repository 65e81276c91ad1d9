"""What to do before and after an attempt. Pure: nothing here acts."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from mspc.calls.call import Call, Outcome, Request
from mspc.calls.policy import USUAL, Delays, Policy, names
from mspc.calls.words import (
    MAX_AGE,
    MAX_ATTEMPTS,
    NO_REQUEUE,
    NOT_SENDABLE,
    PERMANENT,
)


@dataclass(frozen=True, slots=True)
class Ack:
    """The call succeeded: forget it."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Make the call again in `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Do not make the call again; keep it for somebody to look at.

    Attributes:
        reason: a sentence.
        word: one of calls/words.py.
    """

    reason: str
    word: str


Decision = Ack | Requeue | DeadLetter


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What is done with a call that says nothing else; what one says comes first.

    Attributes:
        delays: between a failed attempt and the next one.
        max_attempts: then a call is dead; 0: never.
        max_age: seconds after which it is; 0: never.
        permanent: answers after which it is; see Policy.permanent.
        now: Unix seconds.
        chance: uniform in [0, 1).
    """

    delays: Delays
    max_attempts: int = 0
    max_age: float = 0.0
    permanent: frozenset[str] = frozenset()
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random

    def before(
        self, call: Call, own: Policy, paused: float = 0.0
    ) -> Requeue | DeadLetter | None:
        """What is to be done instead of an attempt; None for making it.

        Args:
            call: as it is delivered.
            own: what it says itself.
            paused: for how many seconds, since it was due first, its destination was;
                they do not make it older.
        """
        if own is USUAL and not self.max_age:
            return None
        now = self.now()
        due = own.first_due(call.accepted_at)
        if due > now and not (call.waited or call.attempts):
            return Requeue(due - now)
        return self._too_old(call, own, now - paused, call.last_error)

    def decide(
        self, call: Call, request: Request, outcome: Outcome, paused: float = 0.0
    ) -> Decision:
        """What is to be done after an attempt.

        Args:
            call: as it was before the attempt.
            request: what it asks for.
            outcome: what the attempt gave.
            paused: as in before().
        """
        if outcome.succeeded:
            return Ack()
        if outcome.permanent:
            return DeadLetter(f"cannot be sent: {outcome}", NOT_SENDABLE)
        own = request.policy
        permanent = self.permanent if own.permanent is None else own.permanent
        if permanent and outcome.status and names(outcome.status, permanent):
            return DeadLetter(f"permanent: {outcome}", PERMANENT)
        failures = call.attempts + 1
        most = own.max_attempts or self.max_attempts
        if most and failures >= most:
            told = f"max_attempts: {failures} failed, the last with {outcome}"
            return DeadLetter(told, MAX_ATTEMPTS)
        if not request.requeue:
            told = f"failed, and requeue is false: {outcome}"
            return DeadLetter(told, NO_REQUEUE)
        delay = self._delay(failures, own, outcome)
        if own is USUAL and not self.max_age:
            return Requeue(delay)
        at = self.now() - paused + delay
        return self._too_old(call, own, at, str(outcome)) or Requeue(delay)

    def delay_of(self, call: Call) -> float:
        """Seconds until the next attempt of a call that nobody can read."""
        return self.delays.after(call.attempts + 1, self.chance())

    def asked(self, outcome: Outcome) -> float:
        """Seconds for which a service is left alone because it has asked for it."""
        return min(outcome.retry_after, self.delays.longest)

    def _delay(self, failures: int, own: Policy, outcome: Outcome) -> float:
        delays = self.delays
        if own.backoff is not None:
            delays = delays.with_own(own.backoff)
        delay = delays.after(failures, self.chance())
        asked = self.asked(outcome)
        if asked <= delay:
            return delay
        # Those that were asked to wait together are not to come again together.
        late = 1 + delays.jitter * self.chance()
        return min(asked * late, max(asked, self.delays.longest))

    def _too_old(
        self, call: Call, own: Policy, at: float, last: str
    ) -> DeadLetter | None:
        """For a call whose next attempt would be made at that time, Unix seconds, if
        time had stood still in pauses.
        """
        longest = own.max_age or self.max_age
        if not longest or at <= own.ages_from(call.accepted_at) + longest:
            return None
        told = f"the last attempt gave {last}" if last else "it was never attempted"
        return DeadLetter(f"max_age: {longest:g} s would be over, {told}", MAX_AGE)
