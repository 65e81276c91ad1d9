"""Which calls are being attempted, and which are taken care of.

A broker delivers again what it does not know to be settled: after a lost connection,
or when a copy was stored whose confirm got lost. Most of these repetitions can be told
here, at no risk: nothing is acknowledged before the call succeeded, or is stored in a
new copy.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mspc.calls.call import Call
from mspc.queues.base import Delivery

REMEMBERED_CALLS = 10_000
REMEMBERED_SECONDS = 600.0
# A message of another producer was accepted when it was read, to the microsecond; its
# copies say so to the millisecond.
ROUNDED_SECONDS = 0.001

Key = tuple[str, bytes]


class Attempt:
    """One call that is being attempted.

    Attributes:
        key: what tells the call from others.
        delivery: what to settle when the outcome is known.
        failed_before: how many attempts had failed before it.
        settling: whether its outcome is known.
    """

    def __init__(self, key: Key, delivery: Delivery) -> None:
        self.key = key
        self.delivery = delivery
        self.failed_before = delivery.call.attempts
        self.settling = False
        self._copies: list[Delivery] = []

    def settle(self) -> Delivery:
        """What to settle, now that the outcome is known: one that has an effect."""
        self.settling = True
        if not self.delivery.alive:
            alive = (copy for copy in self._copies if copy.alive)
            self.delivery = next(alive, self.delivery)
        return self.delivery

    def meet(self, copy: Delivery) -> None:
        """Keeps another delivery of the same call until this one is settled.

        It must not be acknowledged yet. A quorum queue whose leader lost sight of our
        node delivers a message again on the channel that has it already, so that this
        may be the only copy, though ours seems to be alive (rabbitmq-server #1950).
        """
        self._copies.append(copy)

    def copies(self, settled: bool) -> list[Delivery]:
        """Those met meanwhile that are still to be handled; the others are let go."""
        left = [copy for copy in self._copies if copy is not self.delivery]
        if settled:
            # One that has failed more often may be the copy that was just stored.
            for copy in left:
                if copy.call.attempts <= self.failed_before:
                    copy.ack()
            left = [c for c in left if c.call.attempts > self.failed_before]
        return [copy for copy in left if copy.alive]  # the others come again


@dataclass(frozen=True, slots=True)
class _Done:
    """What is known of a call that was attempted.

    Attributes:
        below: copies that have failed less often are done with.
        since: when that was, by the clock.
        accepted_at: the call's.
    """

    below: float
    since: float
    accepted_at: float

    def covers(self, call: Call) -> bool:
        """Whether `call` is such a copy.

        A dead letter that is made again begins anew, under its old id: it has waited,
        and was accepted at another time, before the first one too: clocks are set, and
        of one that was to be made again later it is a time to come. Whether it has
        waited counts too, since messages of other producers do not say when they were
        accepted: each copy was just now.
        """
        later = call.accepted_at - self.accepted_at
        begins_anew = call.waited and (later > 0 or later < -ROUNDED_SECONDS)
        return call.attempts < self.below and not begins_anew


class InFlight:
    """Tells repeated deliveries from new ones."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._attempts: dict[Key, Attempt] = {}
        self._done: OrderedDict[Key, _Done] = OrderedDict()

    def __len__(self) -> int:
        return len(self._attempts)

    def running(self, call_id: str) -> bool:
        """Whether a call of this id is being attempted. Looks at all of them."""
        return any(key[0] == call_id for key in self._attempts)

    def ids(self) -> list[str]:
        """Of the calls that are being attempted."""
        return [key[0] for key in self._attempts]

    def begin(self, delivery: Delivery) -> Attempt | None:
        """A new attempt; None when `delivery` repeats a call and is taken care of."""
        key = _key(delivery.call)
        done = self._known(key)
        if done is not None and done.covers(delivery.call):
            delivery.ack()
            return None
        running = self._attempts.get(key)
        if running is not None:
            running.meet(delivery)
            return None
        attempt = self._attempts[key] = Attempt(key, delivery)
        return attempt

    def succeeded(self, attempt: Attempt) -> None:
        """Remembers that the call was answered 2xx, before its ack is on its way."""
        self._remember(attempt, math.inf)

    def stored(self, attempt: Attempt) -> None:
        """Remembers that a copy waits that has failed once more: others are too many.

        Of a call that was moved just before a crash there are two, and the second one
        would be made without waiting for the delay that the first one has earned.
        """
        self._remember(attempt, attempt.failed_before + 1)

    def end(self, attempt: Attempt) -> None:
        """From here on another delivery of the call is a new attempt."""
        self._attempts.pop(attempt.key, None)

    def _remember(self, attempt: Attempt, below: float) -> None:
        accepted_at = attempt.delivery.call.accepted_at
        self._done[attempt.key] = _Done(below, self._clock(), accepted_at)
        self._done.move_to_end(attempt.key)
        if len(self._done) > REMEMBERED_CALLS:
            self._done.popitem(last=False)

    def _known(self, key: Key) -> _Done | None:
        found = self._done.get(key)
        if found is None or self._clock() - found.since > REMEMBERED_SECONDS:
            return None
        return found


def _key(call: Call) -> Key:
    # Another producer may use one message id for different calls: both must be made.
    return call.id, hashlib.blake2b(call.payload, digest_size=16).digest()
