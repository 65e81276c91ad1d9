"""The queue on RabbitMQ: what the contract's words mean in messages.

Two links, because RabbitMQ stops reading a connection that publishes while an alarm
is on, and acks must still pass. Waiting calls lie in the retry queues; the few that are
due next are held here, unacknowledged, until their time has come.
"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

from amqpstorm.connection import Connection
from amqpstorm.exception import AMQPChannelError, AMQPError
from gevent.lock import RLock
from gevent.queue import Queue as Mailbox

from mspc.calls.call import Call
from mspc.errors import MspcError, QueueUnavailable
from mspc.process import crash
from mspc.queues.amqp import message as amqp_message
from mspc.queues.amqp.channel import Message, PipelinedChannel
from mspc.queues.amqp.confirms import Unroutable
from mspc.queues.amqp.diagnosis import PRECONDITION_FAILED
from mspc.queues.amqp.link import PATIENCE_SECONDS, Link
from mspc.queues.amqp.topology import Topology
from mspc.queues.base import Delivery
from mspc.queues.requeue import WaitingWindow
from mspc.settings.config import AmqpConfig

log = logging.getLogger(__name__)

# RabbitMQ closes a channel that keeps a delivery for 30 minutes (consumer_timeout; an
# operator may have set less), and before 4.3 an old one keeps a quorum queue's log.
HOLD_SECONDS = 60.0
BURY_AGAIN_SECONDS = 5.0
# How long a start waits until calls can be stored, unless no host can be reached. A new
# quorum queue takes a second; with a spool calls can be stored already.
START_SECONDS = 10.0
START_WITH_SPOOL_SECONDS = 1.0
# How long consuming waits for the other link; less than a session's set-up may take.
PUBLISH_LINK_SECONDS = 20.0


class AmqpQueue:
    """The queue contract on one or several RabbitMQ nodes."""

    def __init__(self, config: AmqpConfig) -> None:
        self._topology = Topology(config.name, config.queue_type)
        self._levels = {name: k for k, name in enumerate(self._topology.retries)}
        self._prefetch = config.prefetch
        self._start_seconds = (
            START_WITH_SPOOL_SECONDS if config.spool else START_SECONDS
        )
        self._declaring = RLock()
        self._declared = 0  # how many times
        self._publishing = Link("publish", config, self._set_up_publishing)
        self._consuming = Link("consume", config, self._set_up_consuming, self._arrived)
        self._ready: Mailbox[AmqpDelivery | None] = Mailbox()
        self._waiting: WaitingWindow[Callable[[], None]] = WaitingWindow(
            lambda action: action(), time.monotonic
        )
        self._paused: set[str] = set()
        self._cancelled = False

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        self._publishing.start(on_failure)
        self._consuming.start(on_failure)
        # Clients are let in next: no call is to be refused because we have just begun.
        self._publishing.tried.wait(self._start_seconds)

    def put(self, call: Call) -> None:
        try:
            self.publish(self._topology.main, call)
        except QueueUnavailable:
            # A link that is being made is no reason to refuse a call. One that was sent
            # on the link before may be stored twice; its copies have one id. Whoever
            # has waited for a confirm in vain has waited enough.
            waited = time.time() - call.accepted_at > PATIENCE_SECONDS
            if waited or self._publishing.up.is_set() or not self._publishing.wait():
                raise
            self.publish(self._topology.main, call)

    def deliveries(self) -> Iterator[Delivery]:
        while not self._cancelled:
            delivery = self._ready.get()
            if delivery is not None and not self._cancelled and delivery.alive:
                yield delivery

    def cancel(self) -> None:
        self._cancelled = True
        self._waiting.clear()
        if self._consuming.channel is not None:
            for queue in (self._topology.main, *self._topology.retries):
                self._consuming.channel.cancel(queue)
        self._ready.put(None)

    def close(self) -> None:
        self.cancel()
        # Consuming last: what was published before its ack must not be lost with it.
        self._publishing.stop()
        self._consuming.stop()

    def problem(self) -> str | None:
        return self._publishing.problem() or self.delivery_problem()

    def delivery_problem(self) -> str | None:
        return self._consuming.problem()

    def remark(self) -> str | None:
        return None

    def publish(
        self,
        queue: str,
        call: Call,
        due: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Returns when RabbitMQ has confirmed `call` in `queue`.

        Raises:
            QueueUnavailable: it has not, or nobody knows.
        """
        properties = amqp_message.encode(call, due, reason)
        channel = self._publishing.channel
        problem = self._publishing.problem()
        if channel is None or problem:
            raise QueueUnavailable(problem or self._publishing.reason)
        try:
            channel.publish(queue, properties, call.payload)
        except Unroutable:
            self._declare_again(channel.connection, queue)
            channel.publish(queue, properties, call.payload)

    def retry(self, call: Call, delay: float) -> None:
        queue = self._topology.retry_for(delay)
        self.publish(queue, call, due=time.time() + delay)

    def bury(self, call: Call, reason: str) -> None:
        self.publish(self._topology.dead, call, reason=reason)

    def give_back_later(self, delivery: "AmqpDelivery", delay: float) -> None:
        """Holds a delivery whose new copy could not be stored; then it comes again."""
        held = min(delay, HOLD_SECONDS)
        self._waiting.hold(delivery.give_back, time.monotonic() + held)

    def _declare(self, connection: Connection) -> None:
        with self._declaring:
            self._topology.declare(connection)
            self._declared += 1

    def _set_up_publishing(self, channel: PipelinedChannel) -> None:
        self._declare(channel.connection)
        channel.select_confirms()

    def _set_up_consuming(self, channel: PipelinedChannel) -> None:
        try:
            self._declare(channel.connection)
        except AMQPChannelError as exc:
            if exc.error_code == PRECONDITION_FAILED and self._publishing.channel:
                # A queue that is not ours took a name of ours: what is published there
                # is not consumed, and gone when somebody mends the mistake.
                self._publishing.channel.lose(str(exc))
            raise
        # Without it no failed call could be stored: each would be made once too often.
        if not self._publishing.up.wait(PUBLISH_LINK_SECONDS):
            raise QueueUnavailable(self._publishing.reason)
        self._waiting.clear()  # what was held came on a channel that is gone
        self._paused.clear()
        channel.limit_unsettled(self._prefetch)
        if not self._cancelled:
            for queue in (self._topology.main, *self._topology.retries):
                channel.consume(queue)

    def _declare_again(self, connection: Connection, queue: str) -> None:
        declared = self._declared
        try:
            with self._declaring:
                if self._declared != declared:
                    return  # by whoever was the first to find out
                log.warning("The queue %s was deleted; declaring it again", queue)
                self._declare(connection)
        except AMQPError as exc:
            raise QueueUnavailable(f"The queue cannot be declared: {exc}") from exc

    def _arrived(self, channel: PipelinedChannel, message: Message) -> None:
        """Runs in the connection's reader: hands over, never waits."""
        call, due = amqp_message.decode(message.properties, message.body)
        delivery = AmqpDelivery(self, channel, message.tag, call)
        level = self._levels.get(message.consumer)
        if level is None:
            self._ready.put(delivery)
            return
        # Never longer than the level's longest delay, whatever the clocks say: ours,
        # or that of the instance that wrote the due time.
        wait = min(max(due - time.time(), 0.0), 2.0 ** (level + 1))
        if wait > HOLD_SECONDS:
            delivery.give_back()
            self._pause(channel, message.consumer, wait)
        elif wait > 0:
            hand_over = partial(self._ready.put, delivery)
            self._waiting.hold(hand_over, time.monotonic() + wait)
        else:
            self._ready.put(delivery)

    def _pause(self, channel: PipelinedChannel, queue: str, wait: float) -> None:
        """Stops the delivery of a retry queue whose head is due too late to be held."""
        if queue in self._paused:
            return
        self._paused.add(queue)
        channel.cancel(queue)
        # No call that is stored meanwhile is due before its level's shortest delay.
        shortest = 2.0 ** self._levels[queue]
        pause = min(wait, shortest, HOLD_SECONDS)
        resume = partial(self._resume, channel, queue)
        self._waiting.hold(resume, time.monotonic() + pause)

    def _resume(self, channel: PipelinedChannel, queue: str) -> None:
        self._paused.discard(queue)
        channel.consume(queue)


class AmqpDelivery:
    """A message, delivered and not yet acknowledged."""

    __slots__ = ("_channel", "_queue", "_settled", "_tag", "call")

    def __init__(
        self, queue: AmqpQueue, channel: PipelinedChannel, tag: int, call: Call
    ) -> None:
        self.call = call
        self._queue = queue
        self._channel = channel
        self._tag = tag
        self._settled = False

    @property
    def alive(self) -> bool:
        """Whether it can still be settled; else RabbitMQ delivers it again."""
        return not self._channel.lost.is_set()

    def ack(self) -> None:
        if self._settle_once():
            self._channel.ack(self._tag)

    def retry(self, call: Call, delay: float) -> None:
        self._move(partial(self._queue.retry, call, delay), delay)

    def bury(self, reason: str) -> None:
        self._move(partial(self._queue.bury, self.call, reason), BURY_AGAIN_SECONDS)

    def give_back(self) -> None:
        self._channel.give_back(self._tag)

    def _move(self, store: Callable[[], None], delay: float) -> None:
        if not self._settle_once():
            return
        if not self.alive:  # a copy would be one call too many
            raise QueueUnavailable("RabbitMQ delivers it again.")
        try:
            store()
        except Exception:  # whatever it was, nothing new is stored
            self._queue.give_back_later(self, delay)
            raise
        crash.at("retry_confirmed")
        self._channel.ack(self._tag)

    def _settle_once(self) -> bool:
        first, self._settled = not self._settled, True
        return first
