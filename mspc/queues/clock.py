"""Calls that wait for their next attempt: the only user of gevent.spawn_later.

The clock is here, the calls are in the queue's store. Timers run on the monotonic
clock (libev), so a step of the wall clock moves a due time at most once, when it is
turned into a delay.
"""

import heapq
import itertools
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import gevent

from mspc.process import crash

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0

T = TypeVar("T")

SpawnLater = Callable[[float, Callable[[], None]], "gevent.Greenlet[..., Any]"]
Clock = Callable[[], float]


class Alarm:
    """One timer: rings at the earliest of the times it was set to."""

    def __init__(
        self,
        ring: Callable[[], None],
        clock: Clock,
        spawn_later: SpawnLater = gevent.spawn_later,
    ) -> None:
        self._ring = ring
        self._clock = clock
        self._spawn_later = spawn_later
        self._due: float | None = None
        self._timer: gevent.Greenlet[..., Any] | None = None

    def set(self, due: float) -> None:
        """Rings at `due`, in seconds of the clock, unless it rings earlier anyway."""
        if self._due is not None and self._due <= due:
            return
        self.cancel()
        self._due = due
        self._timer = self._spawn_later(max(0.0, due - self._clock()), self._wake)
        crash.at("timer_set")

    def cancel(self) -> None:
        self._due = None
        if self._timer is not None:
            self._timer.kill(block=False)
            self._timer = None

    def _wake(self) -> None:
        # Forgotten before ringing: whoever is woken may set the next time at once.
        self._due = self._timer = None
        try:
            crash.at("timer_fired")
            self._ring()
        except Exception:
            # Without another timer what waits would wait for the next call to fail.
            log.exception("What is due was not handed over; again in a second")
            self.set(self._clock() + AGAIN_SECONDS)


class WaitingWindow(Generic[T]):
    """Holds the few items that are due next and hands each over when it is.

    Who fills it bounds it: RabbitMQ sends no more than the prefetch count.
    """

    def __init__(
        self,
        hand_over: Callable[[T], None],
        clock: Clock,
        spawn_later: SpawnLater = gevent.spawn_later,
    ) -> None:
        self._hand_over = hand_over
        self._clock = clock
        self._alarm = Alarm(self._release, clock, spawn_later)
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, T]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def hold(self, item: T, due: float) -> None:
        """Hands `item` over at `due`, in seconds of the clock; never earlier."""
        heapq.heappush(self._waiting, (due, next(self._order), item))
        self._alarm.set(due)

    def clear(self) -> None:
        """Forgets what waits, without handing it over."""
        self._waiting.clear()
        self._alarm.cancel()

    def _release(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._clock():
            self._hand_over(heapq.heappop(self._waiting)[2])
        if self._waiting:
            self._alarm.set(self._waiting[0][0])
