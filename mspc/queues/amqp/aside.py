"""Calls that must not be in the way of others: set aside, and fetched when wanted.

They lie in a few queues of the broker, the buckets; `buckets` knows which. A bucket is
consumed while what comes can be made ready. When all that it may have ahead belongs to
lanes that cannot take it, that is given back, and the bucket is left alone, so that it
costs nothing, until one of its lanes wants more.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from mspc.calls.call import Call
from mspc.lanes.lane import Lane
from mspc.lanes.lanes import Lanes
from mspc.process.greenlets import Watched
from mspc.queues.amqp.buckets import lingers
from mspc.queues.amqp.consuming import Consuming
from mspc.queues.amqp.delivery import AmqpDelivery, ours
from mspc.queues.amqp.moving import Moving
from mspc.queues.amqp.sources import Source
from mspc.queues.amqp.stock import MOST_OF_A_SUSPECT, Gone, Stock, Write
from mspc.queues.amqp.unmixing import Unmixing

STOP_SECONDS = 2.0
PARK_AGAIN_SECONDS = 1.0


class Aside:
    """The keeper of the calls of one AmqpQueue that are not ready."""

    def __init__(
        self, write: Write, lanes: Lanes, names: Sequence[str], gone: Gone
    ) -> None:
        """
        Args:
            write: stores a call in the queue of that name, with its lane; returns when
                it is confirmed, and raises QueueUnavailable when it is not.
            lanes: whose turn it is.
            names: of the buckets.
            gone: whether a delivery was withdrawn, and is acknowledged.
        """
        self._lanes = lanes
        self._stock = Stock(write, lanes, names, gone)
        self._unmixing = Unmixing(self._stock, lanes)
        self._parking = Moving("set aside")
        self._shut: set[Lane] = set()
        self._later: set[Lane] = set()  # those that are to be looked at then
        self._later_at = 0.0
        self._stopped = False
        self._worker = Watched("keeper of the calls set aside", self._keep)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """Begins nothing more."""
        self._stopped = True
        self._parking.stop()
        self._unmixing.stop()
        self._stock.news.set()

    def join(self) -> None:
        """Returns when nothing of it runs."""
        self._parking.join(STOP_SECONDS)
        self._unmixing.join(STOP_SECONDS)
        self._worker.stop(STOP_SECONDS)

    def problem(self) -> str | None:
        return self._worker.problem()

    def use(self, consuming: Consuming) -> None:
        """Everything that came on another channel is lost: it comes again."""
        self._parking.forget()
        self._unmixing.forget()
        self._stock.use(consuming)

    def fits(
        self, lane: Lane, source: Source, others: int, size: int, *, here: bool
    ) -> bool:
        """Whether one more call of `lane` may come of a queue, to be ready soon.

        As in the pool: a lane may have so many as are free, so that others have room,
        and those that have not answered leave a quarter to those that have.

        Args:
            lane: whose call it is.
            source: the queue.
            others: calls that are on their way through it.
            size: of the call, bytes.
            here: whether it is held already.
        """
        if not self._lanes.limited:
            return True
        if not self._stock.in_share(lane, size, here=here):
            return False
        if lane.shut:
            return self._stock.may_be_the_probe(lane)
        free = source.free - others
        if not lane.proven:
            free -= source.most // 4
        mine = len(lane.ready) + len(lane.out)
        return free > 0 and (mine < free or not mine) and self._lanes.prompt(lane)

    def fits_here(self, delivery: AmqpDelivery) -> bool:
        """The same of one that has come: one place is its own already."""
        lane, source = delivery.lane, delivery.source
        return self.fits(lane, source, -1, delivery.size, here=True)

    def put(self, lane: Lane, call: Call) -> None:
        """Stores a call aside.

        Raises:
            QueueUnavailable: it is not stored, or nobody knows.
        """
        self._stock.write(self._stock.buckets.home(lane), lane, call)
        self._stock.serve(lane)

    def park(self, delivery: AmqpDelivery, failed: Callable[[], None]) -> None:
        """Puts what came of another queue into a bucket. Never waits.

        Args:
            delivery: of the main queue, or due from the ladder.
            failed: called when it could not be stored: it is lent still.
        """
        self._parking.do(partial(self._park, delivery, failed))

    def let_withdrawn_go(self) -> None:
        """What is held of calls that were withdrawn."""
        self._stock.let_withdrawn_go()

    def arrived(self, delivery: AmqpDelivery) -> None:
        """Something has come of a bucket. Never waits."""
        self._stock.arrived(delivery)

    def given_back(self, delivery: AmqpDelivery) -> None:
        """What was taken comes again. Never waits."""
        self._stock.given_back(delivery)

    def hungry(self, lane: Lane) -> None:
        self._stock.serve(lane)

    def shut(self, lane: Lane) -> None:
        # Later: whoever tells it is about to take something.
        self._shut.add(lane)
        self._stock.news.set()

    def _keep(self) -> None:
        news = self._stock.news
        while not self._stopped:
            patience = self._unmixing.patience
            news.wait(min(patience, PARK_AGAIN_SECONDS) if self._later else patience)
            news.clear()
            if self._later and time.monotonic() >= self._later_at:
                self._shut |= self._later
                self._later = set()
            while self._shut and not self._stopped:
                self._withdraw(self._shut.pop())
            if not self._stopped:
                self._stock.serve_starved()
                self._unmixing.look()

    def _withdraw(self, lane: Lane) -> None:
        """Takes back what is ready in a lane that shut, hangs, or was limited."""
        if not lingers(lane):
            return
        while self._too_much(lane):
            delivery = ours(lane.ready.pop())
            bucket = self._stock.origin(delivery)
            if not delivery.alive:
                continue
            if bucket is None:
                self.park(delivery, partial(self._not_parked, delivery))
            else:
                self._stock.hold(bucket, delivery, first=True)
                self._stock.look_soon(bucket)

    def _not_parked(self, delivery: AmqpDelivery) -> None:
        """RabbitMQ took it not: it is ready still, and to be parked a moment later."""
        self._lanes.offer(delivery)
        if not self._later:
            self._later_at = time.monotonic() + PARK_AGAIN_SECONDS
        self._later.add(delivery.lane)
        self._stock.news.set()

    def _too_much(self, lane: Lane) -> bool:
        if lane.shut:
            return len(lane.ready) > int(self._stock.keeps_a_probe(lane))
        if lane.limit is None:
            return len(lane.ready) > MOST_OF_A_SUSPECT
        return bool(lane.ready) and not self._lanes.prompt(lane)

    def _park(self, delivery: AmqpDelivery, failed: Callable[[], None]) -> None:
        if not delivery.alive:
            return
        if self.fits_here(delivery):
            self._lanes.offer(delivery)  # its lane has come back
            return
        try:
            self.put(delivery.lane, delivery.call)
        except Exception:
            failed()
            raise
        delivery.ack()
