"""The queue on RabbitMQ: what the contract's words mean in messages.

Two links, because RabbitMQ stops reading a connection that publishes while an alarm
is on, and acks must still pass. Waiting calls lie in the retry queues; the few that are
due next are held here, unacknowledged, until their time has come.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from amqpstorm.exception import AMQPChannelError

from mspc.calls.call import Call
from mspc.errors import MspcError, QueueUnavailable
from mspc.lanes.lane import Lane
from mspc.lanes.lanes import Lanes
from mspc.lanes.one import OneLane
from mspc.queues.amqp import message as amqp_message
from mspc.queues.amqp.aside import Aside
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.confirms import Unroutable
from mspc.queues.amqp.consuming import Consuming
from mspc.queues.amqp.dead import DeadLetters
from mspc.queues.amqp.delivery import AmqpDelivery, ours
from mspc.queues.amqp.diagnosis import PRECONDITION_FAILED
from mspc.queues.amqp.ladder import HOLD_SECONDS, Ladder
from mspc.queues.amqp.link import PATIENCE_SECONDS, Link
from mspc.queues.amqp.message import Message
from mspc.queues.amqp.sources import Consumer, Limits, Source
from mspc.queues.amqp.topology import Declaring, Topology
from mspc.queues.amqp.unseen import Unseen
from mspc.queues.amqp.withdrawn import Withdrawn
from mspc.queues.base import Delivery, unread
from mspc.queues.watch import BURY, CONFIRM, NOBODY, PUT, RETRY, StoreWatch
from mspc.settings.config import AmqpConfig

log = logging.getLogger(__name__)

# How long a start waits until calls can be stored, unless no host can be reached. A new
# quorum queue takes a second; with a spool calls can be stored already.
START_SECONDS = 10.0
START_WITH_SPOOL_SECONDS = 1.0
# When a call that could not be set aside is looked at again.
PARK_AGAIN_SECONDS = 1.0
# How long an end waits for calls that are being moved.
MOVED_SECONDS = 5.0
# How long consuming waits for the other link; less than a session's set-up may take.
PUBLISH_LINK_SECONDS = 20.0


class AmqpQueue(Unseen):
    """The queue contract on one or several RabbitMQ nodes."""

    def __init__(
        self,
        config: AmqpConfig,
        lanes: Lanes | None = None,
        lane_of: Callable[[Call], str] = unread,
        watch: StoreWatch = NOBODY,
    ) -> None:
        """
        Args:
            config: where it is.
            lanes: whose turn it is; without them calls come in order.
            lane_of: reads whom a call goes to, when nobody has. It does not raise.
            watch: told how RabbitMQ does.
        """
        self._topology = Topology(config.name, config.queue_type)
        self._limits = Limits(config.prefetch, config.held_calls, config.held_bytes)
        self._start_seconds = (
            START_WITH_SPOOL_SECONDS if config.spool else START_SECONDS
        )
        self._declaring = Declaring(self._topology)
        self._watch = watch
        self._publishing = Link("publish", config, self._set_up_publishing)
        self._consuming = Link("consume", config, self._set_up_consuming, self._arrived)
        self._lanes = OneLane() if lanes is None else lanes
        self._lane_of = lane_of
        self._withdrawn = Withdrawn()
        self._aside = Aside(
            lambda queue, call, lane: self.publish(queue, call, lane=lane),
            self._lanes,
            self._topology.asides,
            self._withdrawn.let_go,
        )
        self._dead = DeadLetters(self._topology.dead, self._consuming, self._publishing)
        self._lanes.keeper = self._aside
        self._ladder = Ladder(self._topology, self.publish, self._make_ready)
        self._session: Consuming | None = None
        self._main: Source | None = None
        self._coming = 0  # calls that are being put into the main queue
        self._cancelled = False

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        self._publishing.start(on_failure)
        self._consuming.start(on_failure)
        self._aside.start()
        # Clients are let in next: no call is to be refused because we have just begun.
        self._publishing.tried.wait(self._start_seconds)

    def put(self, call: Call, delay: float = 0.0) -> None:
        lane = self._lanes.of(call.lane or self._lane_of(call))
        try:
            self._put(lane, call, delay)
        except QueueUnavailable:
            # A link that is being made is no reason to refuse a call. One that was sent
            # on the link before may be stored twice; its copies have one id. Whoever
            # has waited for a confirm in vain has waited enough.
            waited = time.time() - call.accepted_at > PATIENCE_SECONDS
            if waited or self._publishing.up.is_set() or not self._publishing.wait():
                raise
            self._put(lane, call, delay)

    def deliveries(self) -> Iterator[Delivery]:
        while not self._cancelled:
            item: Any = self._lanes.take()
            if item is None:
                self._lanes.wait()
            elif item.alive and not (self._cancelled or self._withdrawn.let_go(item)):
                yield item
            else:
                self._lanes.not_made(item)
                self._lanes.ended(item)

    def cancel(self) -> None:
        self._cancelled = True
        self._ladder.stop()
        if self._session is not None:
            self._session.stop()
        self._aside.stop()
        self._lanes.changed.set()

    def close(self) -> None:
        self.cancel()
        self._aside.join()
        self._ladder.join(MOVED_SECONDS)
        self._dead.stop()
        # Consuming last: what was published before its ack must not be lost with it.
        self._publishing.stop()
        self._consuming.stop()

    def withdraw(self, ids: Sequence[str]) -> list[str]:
        self.cancelled(dict.fromkeys(ids, time.time()))
        return list(ids)

    def cancelled(self, when: Mapping[str, float]) -> None:
        self._withdrawn.add(when)
        self._aside.let_withdrawn_go()
        self._lanes.forget(lambda item: not self._withdrawn.let_go(ours(item)))

    def revive(self, ids: Sequence[str], delay: float = 0.0) -> list[str]:
        return self._dead.settle(ids, lambda call: self._revive(call, delay))

    def forget(self, ids: Sequence[str]) -> list[str]:
        return self._dead.settle(ids, lambda call: None)

    def connected(self) -> bool:
        return self._publishing.up.is_set() and self._consuming.up.is_set()

    def spooled(self) -> None: ...

    def problem(self) -> str | None:
        return self._publishing.problem() or self.delivery_problem()

    def delivery_problem(self) -> str | None:
        ended = self._cancelled  # on purpose
        return self._consuming.problem() or (None if ended else self._aside.problem())

    def remark(self) -> str | None:
        return None

    def publish(
        self,
        queue: str,
        call: Call,
        due: float | None = None,
        reason: str | None = None,
        lane: str = "",
        left: float = 0.0,
    ) -> None:
        """Returns when RabbitMQ has confirmed `call` in `queue`.

        Raises:
            QueueUnavailable: it has not, or nobody knows.
        """
        properties = amqp_message.encode(call, due, reason, lane, left)
        channel = self._publishing.channel
        problem = self._publishing.problem()
        try:
            if channel is None or problem:
                raise QueueUnavailable(problem or self._publishing.reason)
            try:
                channel.publish(queue, properties, call.payload)
            except Unroutable:
                self._declaring.again(channel.connection, queue)
                channel.publish(queue, properties, call.payload)
        except QueueUnavailable:
            self._watch.failed(BURY if reason else PUT if due is None else RETRY)
            raise

    def retry(self, call: Call, delay: float) -> None:
        self._ladder.put(call, delay)

    def bury(self, call: Call, reason: str) -> None:
        self.publish(self._topology.dead, call, reason=reason)

    def give_back_later(self, delivery: "AmqpDelivery", delay: float) -> None:
        """Holds a delivery whose new copy could not be stored; then it comes again."""
        give_back = partial(self._give_back, delivery)
        self._ladder.hold(give_back, min(delay, HOLD_SECONDS))

    def _give_back(self, delivery: "AmqpDelivery") -> None:
        self._aside.given_back(delivery)
        delivery.give_back()

    def _revive(self, call: Call, delay: float) -> None:
        now = time.time()
        # As one that has waited: a delay that it asks for is over.
        again = Call(call.payload, call.id, now + delay, revived_at=now)
        self._ladder.put(again, delay)

    def _put(self, lane: Lane, call: Call, delay: float) -> None:
        if delay > 0:
            self.retry(call, delay)
            return
        if not self._fits(lane, len(call.payload)):
            self._aside.put(lane, call)
            return
        self._coming += 1
        try:
            self.publish(self._topology.main, call)
        finally:
            self._coming -= 1

    def _fits(self, lane: Lane, size: int) -> bool:
        """Whether a new call of so many bytes goes into the main queue."""
        if self._main is None or not self._lanes.limited:
            return True
        if lane.shut or lane.aside:  # it would pass those that wait
            return False
        # A main queue whose window is full holds a backlog that nobody has sorted; one
        # that is not consumed waits until there is room for a large call.
        main = self._main
        return bool(main.consumers) and self._aside.fits(
            lane, main, self._coming, size, here=False
        )

    def _set_up_publishing(self, channel: PipelinedChannel) -> None:
        self._declaring.declare(channel.connection)
        channel.select_confirms()
        channel.confirms.took = partial(self._watch.took, CONFIRM)

    def _set_up_consuming(self, channel: PipelinedChannel) -> None:
        try:
            self._declaring.declare(channel.connection)
        except AMQPChannelError as exc:
            if exc.error_code == PRECONDITION_FAILED and self._publishing.channel:
                # A queue that is not ours took a name of ours: what is published there
                # is not consumed, and gone when somebody mends the mistake.
                self._publishing.channel.lose(str(exc))
            raise
        # Without it no failed call could be stored: each would be made once too often.
        if not self._publishing.up.wait(PUBLISH_LINK_SECONDS):
            raise QueueUnavailable(self._publishing.reason)
        self._ladder.forget()  # what was held came on a channel that is gone
        levels = {name: level for level, name in enumerate(self._topology.retries)}
        session = self._session = Consuming(
            channel,
            {self._topology.main: None, **levels},
            self._limits,
            lambda consumer, message: self._lend(session, consumer, message),
            self._topology.asides,
        )
        self._main = session.source(self._topology.main)
        self._aside.use(session)
        if not self._cancelled:
            session.start()

    def _arrived(self, channel: PipelinedChannel, message: Message) -> None:
        """Runs in the connection's reader: hands over, never waits."""
        consuming = self._session
        if consuming is not None and consuming.channel is channel:
            consuming.arrived(message)

    def _lend(self, consuming: Consuming, consumer: Consumer, message: Message) -> None:
        call, due = amqp_message.decode(message.properties, message.body)
        source = consumer.source
        told = amqp_message.lane_of(message.properties) if source.aside else ""
        lane = self._lanes.of(told or self._lane_of(call))
        delivery = AmqpDelivery(self, consuming, consumer, message.tag, call, lane)
        if source.aside:
            self._aside.arrived(delivery)
        elif source.level is None:
            self._make_ready(delivery)
        else:
            left = amqp_message.left_of(message.properties)
            self._ladder.arrived(consuming, delivery, due, left)

    def _make_ready(self, delivery: AmqpDelivery) -> None:
        """It is due: it can be taken, or is set aside. Never waits."""
        if self._withdrawn.let_go(delivery):
            return
        if self._aside.fits_here(delivery):
            self._lanes.offer(delivery)
        else:
            self._aside.park(delivery, partial(self._look_again_later, delivery))

    def _look_again_later(self, delivery: AmqpDelivery) -> None:
        self._ladder.hold(partial(self._make_ready, delivery), PARK_AGAIN_SECONDS)
