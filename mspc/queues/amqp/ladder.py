"""Calls that wait, in the retry queues: each of them in the order of leaving.

Level k keeps a call for exactly 2**k seconds, so the few at its head are those that
leave next, whatever the delays: a call waits in the level of its delay, then in that of
what is left, and is held here, unacknowledged, for the last second. A move is confirmed
before the old copy is acknowledged.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from mspc.calls.call import Call
from mspc.queues.amqp.consuming import Consuming
from mspc.queues.amqp.delivery import AmqpDelivery
from mspc.queues.amqp.moving import Moving
from mspc.queues.amqp.sources import Source
from mspc.queues.amqp.topology import Topology
from mspc.queues.clock import Clock, WaitingWindow

# RabbitMQ closes a channel that keeps a delivery for 30 minutes (consumer_timeout; an
# operator may have set less), and before 4.3 an old one keeps a quorum queue's log.
HOLD_SECONDS = 60.0
# What is left of a delay and is not worth another queue. A little more than a second:
# the usual delay of 5 s is 4 s in a queue and the rest here.
LAST_SECONDS = 1.1
# A level has so many deliveries ahead as leave within this.
AHEAD_SECONDS = 1.0
MOVED_AT_ONCE = 64
MOVE_AGAIN_SECONDS = 1.0
# By how much those of instances may.
CLOCKS_DIFFER_SECONDS = 5.0

Window = WaitingWindow[Callable[[], None]]


class Publish(Protocol):
    """Returns when a call is confirmed in a queue, with what its headers are to say."""

    def __call__(self, queue: str, call: Call, *, due: float, left: float) -> None: ...


class Ladder:
    """The waiting calls of one AmqpQueue."""

    def __init__(
        self,
        topology: Topology,
        publish: Publish,
        ready: Callable[[AmqpDelivery], None],
        wall: Clock = time.time,
        clock: Clock = time.monotonic,
        window: Window | None = None,
    ) -> None:
        """
        Args:
            topology: the names of the levels.
            publish: raises QueueUnavailable when a call is not stored, or nobody knows.
            ready: takes what is due. Never waits.
            wall: Unix seconds, looked at once: a step of the clock moves no call.
            clock: seconds that never step.
            window: goes by that clock.
        """
        self._topology = topology
        self._publish = publish
        self._ready = ready
        self._clock = clock
        self._begun = clock()
        self._ahead = wall() - self._begun
        self._moving = Moving("moved to where it waits on", MOVED_AT_ONCE)
        self._window = (
            Window(lambda action: action(), clock) if window is None else window
        )

    def put(self, call: Call, delay: float) -> None:
        """Stores a call that is due in `delay` seconds.

        Raises:
            QueueUnavailable: it is not stored, or nobody knows.
        """
        self._store(call, self._now() + delay, delay)

    def arrived(
        self, consuming: Consuming, delivery: AmqpDelivery, due: float, left: float
    ) -> None:
        """Something has come of a level. Never waits.

        Args:
            consuming: of which channel.
            delivery: what has come.
            due: when it may be attempted, Unix seconds.
            left: seconds that it waits on when it leaves its level; the last of them.
        """
        now = self._now()
        stays = self._stays(due - left - now, delivery.source, left)
        left = min(max(due - now - stays, 0.0), left)
        if left > LAST_SECONDS:
            then = partial(self._move, delivery, due, left)
            wait = stays
        else:
            then = partial(self._ready, delivery)
            wait = stays + left
        if wait <= AHEAD_SECONDS:
            # Not for heads that only wait: the room is for levels that move.
            consuming.grow(delivery.source)
        if wait <= 0:
            then()
        elif wait > HOLD_SECONDS or not consuming.may_wait(delivery.size):
            self._pause(consuming, delivery.source, wait)
            delivery.give_back()
        else:
            grown = wait <= AHEAD_SECONDS
            self.hold(partial(self._held, consuming, delivery, then, grown), wait)

    def hold(self, action: Callable[[], None], seconds: float) -> None:
        """Calls `action` then, unless the channel is lost before."""
        self._window.hold(action, self._clock() + seconds)

    def forget(self) -> None:
        """What was held came on a channel that is gone, or is to come again."""
        self._window.clear()
        self._moving.forget()

    def stop(self) -> None:
        self._window.clear()
        self._moving.stop()

    def join(self, timeout: float) -> None:
        """Waits for what is being moved."""
        self._moving.join(timeout)

    def _now(self) -> float:
        return self._ahead + self._clock()

    def _stays(self, told: float, source: Source, left: float) -> float:
        """How long a call is to stay in its level.

        Args:
            told: seconds, if all clocks are right.
            source: the level.
            left: what is left then; older versions did not say so, and kept a call for
                twice as long.
        """
        longest = 2.0 ** (source.level or 0) * (1 if left else 2)
        if told > longest + CLOCKS_DIFFER_SECONDS:
            # Nobody puts a call there for so long: while we were down the clock was set
            # back, and how long it has waited cannot be known. Not longer than that.
            return max(0.0, self._begun + longest - self._clock())
        return max(0.0, told)

    def _store(self, call: Call, due: float, left: float) -> None:
        level = self._topology.level_for(left)
        stays = min(2.0**level, left)
        queue = self._topology.retries[level]
        self._publish(queue, call, due=due, left=left - stays)

    def _held(
        self,
        consuming: Consuming,
        delivery: AmqpDelivery,
        then: Callable[[], None],
        grown: bool,
    ) -> None:
        consuming.waited(delivery.size)
        if not grown:  # others are due behind it, and it may hang
            consuming.grow(delivery.source)
        then()

    def _move(self, delivery: AmqpDelivery, due: float, left: float) -> None:
        self._moving.do(partial(self._moved, delivery, due, left))

    def _moved(self, delivery: AmqpDelivery, due: float, left: float) -> None:
        if not delivery.alive:
            return
        left = min(due - self._now(), left)
        if left <= 0:  # it has waited for the others that are moved
            self._ready(delivery)
            return
        try:
            self._store(delivery.call, due, left)
        except Exception:
            self.hold(delivery.give_back, MOVE_AGAIN_SECONDS)
            raise
        delivery.ack()

    def _pause(self, consuming: Consuming, source: Source, wait: float) -> None:
        """Stops the delivery of a level whose head leaves too late to be held."""
        consuming.pause(source)
        # No call that is stored meanwhile leaves before the level's time is over.
        pause = min(wait, 2.0 ** (source.level or 0), HOLD_SECONDS)
        self.hold(partial(consuming.resume, source), pause)
