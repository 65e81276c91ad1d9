"""Store and forward: what the broker cannot take now waits in a file beside us.

The spool is the embedded queue, used as it is: its deliveries go to the broker instead
of to a target. Broker first, then the spool's copy is let go.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Protocol

from gevent.event import Event
from msgspec.structs import replace

from mspc.calls.call import Call
from mspc.errors import MspcError, QueueFailed, QueueUnavailable
from mspc.process.greenlets import Watched
from mspc.process.workers import Workers
from mspc.queues.amqp.confirms import Rejected
from mspc.queues.amqp.largest import BELIEVED_SECONDS, TooLarge
from mspc.queues.base import Delivery, Kept, Queue
from mspc.queues.dispatch import dispatch

log = logging.getLogger(__name__)

MOVED_AT_ONCE = 100
MOVE_AGAIN_SECONDS = 0.5
# One that a full queue has refused so often makes place for those behind it.
REJECTED_TIMES = 4
REJECTED_SECONDS = 30.0
STOP_SECONDS = 5.0


class Broker(Queue, Protocol):
    """A queue that may take no calls and still deliver those it has."""

    def delivery_problem(self) -> str | None:
        """Why calls cannot be delivered at the moment; None when they can."""


class Spool(Queue, Protocol):
    """A queue that knows how much is in it."""

    def size(self) -> int:
        """Calls stored and not settled yet."""


class SpooledQueue:
    """A broker that is never away, as far as put() is concerned."""

    looks_up = False

    def __init__(self, broker: Broker, spool: Spool) -> None:
        self._broker = broker
        self._spool = spool
        self._movers = Workers(MOVED_AT_ONCE, self._move)
        self._stopping = Event()
        self._mover = Watched(
            "delivery of the spool to RabbitMQ",
            partial(dispatch, spool, self._movers, self._stopping),
        )
        self._spooling = False

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        self._spool.start(on_failure)
        if self._spool.size():
            self._tell_of_a_rest()
        self._broker.start(on_failure)
        self._mover.start()

    def put(self, call: Call, delay: float = 0.0) -> None:
        try:
            self._broker.put(call, delay)
        except QueueUnavailable as exc:
            self._spool.put(call)
            if not self._spooling:
                self._spooling = True
                log.warning("Calls are spooled from now on: %s", exc)

    def deliveries(self) -> Iterator[Delivery]:
        return self._broker.deliveries()

    def cancel(self) -> None:
        self._broker.cancel()

    def close(self) -> None:
        self._stopping.set()
        self._spool.cancel()
        self._mover.stop(0)  # it may wait for those that wait for the broker
        self._movers.join(timeout=STOP_SECONDS)
        self._movers.kill()
        self._broker.close()
        self._spool.close()

    def withdraw(self, ids: Sequence[str]) -> list[str]:
        reached = self._broker.withdraw(ids)
        # What stays in the spool is let go when it comes to the broker: a spool that is
        # being checked is no reason to fail.
        if self._spool.size():
            with suppress(QueueUnavailable):
                self._spool.withdraw(ids)
        return reached

    def cancelled(self, when: Mapping[str, float]) -> None:
        self._broker.cancelled(when)

    def hurry(self, ids: Sequence[str]) -> list[str]:
        return self._broker.hurry(ids)

    def postpone(self, ids: Sequence[str], delay: float) -> list[str]:
        return self._broker.postpone(ids, delay)

    def revive(self, ids: Sequence[str], delay: float = 0.0) -> list[str]:
        return self._broker.revive(ids, delay)

    def forget(self, ids: Sequence[str]) -> list[str]:
        return self._broker.forget(ids)

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        return self._spool.payloads(ids)

    def recent(self, since: float) -> Iterator[list[tuple[Call, Kept | None]]]:
        return self._broker.recent(since)

    def kept(self, ids: Sequence[str]) -> Mapping[str, Kept]:
        return self._broker.kept(ids)

    def connected(self) -> bool | None:
        return self._broker.connected()

    def spooled(self) -> int:
        return self._spool.size()

    def problem(self) -> str | None:
        problems = [self._broker.delivery_problem(), self._mover.problem()]
        if self._broker.problem():
            problems.append(self._spool.problem())
        if not any(problems):
            return None
        told = filter(None, [*problems, self.remark()])
        return " ".join(f"{one.removesuffix('.')}." for one in told)

    def remark(self) -> str | None:
        if self._spooling or self._spool.size():
            return f"Spooling is on, {self._spool.size()} calls are in the spool."
        return None

    def _move(self, delivery: Delivery) -> None:
        if not self._spooling:  # a large spool was still being checked at the start
            self._tell_of_a_rest()
        for number in count(1):
            if self._moved(delivery, number):
                break
            if self._stopping.wait(MOVE_AGAIN_SECONDS):
                return
        if self._spooling and not self._spool.size():
            self._spooling = False
            log.info("The spool is empty again: RabbitMQ has every call")

    def _tell_of_a_rest(self) -> None:
        self._spooling = True
        log.warning("%d calls are in the spool already", self._spool.size())

    def _moved(self, delivery: Delivery, number: int) -> bool:
        """Whether this is done with; if not, it is to be tried again.

        Args:
            delivery: of the spool.
            number: which try it is, from 1.
        """
        try:
            if delivery.damage:  # nobody knows what it was: it is kept as it is
                delivery.bury(delivery.call, delivery.damage)
                log.error("%r is damaged, it stays in the spool", delivery.call.id)
                return True
            self._hand_on(delivery, patient=number < REJECTED_TIMES)
        except QueueUnavailable:
            return False
        except QueueFailed:
            return True  # the spool has said so; the service stops
        except Exception:
            log.exception("%s stays in the spool for now", delivery.call.id)
            return False
        return True

    def _hand_on(self, delivery: Delivery, *, patient: bool) -> None:
        """Broker first, then the spool's copy is let go.

        Args:
            delivery: of the spool.
            patient: whether it is tried again soon if its queue refuses it.

        Raises:
            QueueUnavailable: the broker cannot take it now.
        """
        try:
            # It has waited for the broker, which is no delay that its client asked for.
            self._broker.put(replace(delivery.call, waited=False))
        except TooLarge:
            # It may stay for days: whoever moves it has others to move meanwhile.
            delivery.retry(delivery.call, BELIEVED_SECONDS)
            return
        except Rejected:
            if patient:
                raise
            delivery.retry(delivery.call, REJECTED_SECONDS)
            return
        delivery.ack()
