"""A channel that does not wait: publishes are pipelined, deliveries are pushed.

amqpstorm's own publish waits at least 10 ms for each confirm, matches it by frame name
instead of delivery tag (a late confirm is credited to the next message), and its
consume loop polls. This subclass keeps amqpstorm's connection, framing and RPCs, and
replaces what it does with confirms, returns and deliveries.
"""

import logging
from collections.abc import Callable
from typing import Any

from amqpstorm.channel import Channel
from amqpstorm.connection import Connection
from amqpstorm.exception import AMQPConnectionError
from gevent.event import Event
from gevent.greenlet import Greenlet
from pamqp import body as content
from pamqp import commands, frame, header

from mspc.errors import QueueUnavailable
from mspc.process import crash
from mspc.queues.amqp.confirms import Confirms, Publish
from mspc.queues.amqp.largest import Largest
from mspc.queues.amqp.message import Message

log = logging.getLogger(__name__)

RPC_TIMEOUT_SECONDS = 10
SLOW_CONFIRM_SECONDS = 5.0

# The frame around a body chunk: type, channel and size before it, an end mark after.
FRAME_OVERHEAD_BYTES = 8


class PipelinedChannel(Channel):
    """One channel, used until it is lost, then thrown away with its connection.

    Attributes:
        lost: set when nothing more will come of this channel.
        reason: why it was lost.
        on_lost: called then, before whoever waits is told.
        confirms: what was published and is not confirmed yet.
        largest: how large a message may be; a link's channels share it.
    """

    def __init__(
        self,
        channel_id: int,
        connection: Connection,
        on_message: Callable[["PipelinedChannel", Message], None],
    ) -> None:
        super().__init__(channel_id, connection, RPC_TIMEOUT_SECONDS)
        self.lost = Event()
        self.reason = ""
        self.on_lost: Callable[[], None] = lambda: None
        self.confirms = Confirms()
        self.largest = Largest()
        self._on_message = on_message
        self._chunk = connection.max_frame_size - FRAME_OVERHEAD_BYTES
        self._returned_from: str | None = None
        self._delivered = False
        self._deliver: commands.Basic.Deliver | None = None
        self._header: header.ContentHeader | None = None
        self._body: list[bytes] = []
        self._outbox: list[bytes | Event] = []
        self._outgoing = Event()
        self._writer = Greenlet.spawn(self._write_until_lost)

    @classmethod
    def open_on(
        cls,
        connection: Connection,
        on_message: Callable[["PipelinedChannel", Message], None],
    ) -> "PipelinedChannel":
        # What Connection.channel() does, for a class of ours.
        with connection.lock:
            channel_id = connection._get_next_available_channel_id()
            channel = cls(channel_id, connection, on_message)
            connection.channels[channel_id] = channel
        try:
            channel.open()
        except BaseException as exc:
            channel.lose(f"It could not be opened: {exc}")  # ends its writer
            raise
        return channel

    @property
    def used(self) -> bool:
        """Whether a message was confirmed or delivered on it."""
        return self._delivered or self.confirms.any

    @property
    def connection(self) -> Connection:
        return self._connection

    def select_confirms(self) -> None:
        # Not confirm_deliveries(): that would switch basic.publish to its own way.
        self.rpc_request(commands.Confirm.Select())

    def publish(
        self, queue: str, properties: commands.Basic.Properties, body: bytes
    ) -> None:
        """Returns when the broker has confirmed the message.

        Raises:
            Unroutable: there is no such queue.
            Rejected: it is not stored.
            QueueUnavailable: the channel was lost: nobody knows.
        """
        if self.confirms.oldest() > SLOW_CONFIRM_SECONDS:
            # More would only make each wait longer, until all are given up.
            raise QueueUnavailable("RabbitMQ confirms too slowly at the moment.")
        self.post(queue, properties, body).wait()

    def post(
        self, queue: str, properties: commands.Basic.Properties, body: bytes
    ) -> Publish:
        """Sends a message and does not wait; its confirm may come later.

        Raises:
            TooLarge: RabbitMQ would close the channel.
            QueueUnavailable: the channel is lost.
        """
        if self.lost.is_set():
            raise QueueUnavailable(self.reason)
        self.largest.check(len(body))
        self._send(
            commands.Basic.Publish(routing_key=queue, mandatory=True),
            header.ContentHeader(body_size=len(body), properties=properties),
            *(
                content.ContentBody(body[start : start + self._chunk])
                for start in range(0, len(body), self._chunk)
            ),
        )
        return self.confirms.sent(queue, properties.message_id or "")

    def limit_unsettled(self, count: int) -> None:
        """Each consumer from here on gets at most `count` deliveries ahead."""
        self._send(commands.Basic.Qos(prefetch_count=count))

    def consume(self, queue: str, consumer: str) -> None:
        """Deliveries of `queue` come to on_message, for `consumer`.

        An error closes the channel.
        """
        self._send(
            commands.Basic.Consume(queue=queue, consumer_tag=consumer, nowait=True)
        )

    def read(self, stream: str, consumer: str, offset: int | str) -> None:
        """As consume(), for a stream; returns when RabbitMQ has agreed.

        Args:
            stream: its name.
            consumer: the consumer's tag.
            offset: of the first message that is wanted; or `first`, or `next` for what
                comes from now on.

        Raises:
            AMQPError: it has not; the channel is closed then.
        """
        self.flush(RPC_TIMEOUT_SECONDS)  # a stream wants its prefetch first
        self.rpc_request(
            commands.Basic.Consume(
                queue=stream,
                consumer_tag=consumer,
                arguments={"x-stream-offset": offset},
            )
        )

    def cancel(self, consumer: str) -> None:
        """Ends a consumer; what was delivered for it can still be settled."""
        self._send(commands.Basic.Cancel(consumer_tag=consumer, nowait=True))

    def ack(self, tag: int) -> None:
        self._send(commands.Basic.Ack(delivery_tag=tag))

    def ack_up_to(self, tag: int) -> None:
        """All that was delivered until then and is not settled: `tag` at least."""
        self._send(commands.Basic.Ack(delivery_tag=tag, multiple=True))

    def give_back(self, tag: int) -> None:
        self._send(commands.Basic.Nack(delivery_tag=tag, requeue=True))

    def give_back_up_to(self, tag: int) -> None:
        """The same as ack_up_to()."""
        self._send(commands.Basic.Nack(delivery_tag=tag, multiple=True, requeue=True))

    def lose(self, reason: str) -> None:
        """Nothing more will come: wakes everybody who waits."""
        if self.lost.is_set():
            return
        self.reason = reason
        self.largest.learn(reason)
        self.lost.set()
        self.on_lost()
        self._outgoing.set()
        self.confirms.give_up(reason)

    def check_for_errors(self) -> None:
        if self.lost.is_set() and self.is_open:  # no answer comes; else it is closing
            raise AMQPConnectionError(self.reason)
        super().check_for_errors()

    def flush(self, timeout: float) -> None:
        """Returns when all that was sent is written, or after `timeout` seconds."""
        written = Event()
        self._outbox.append(written)
        self._outgoing.set()
        written.wait(timeout)

    def on_frame(self, frame_in: Any) -> None:
        """Runs in the connection's reader, for each frame: hands over, never waits."""
        try:
            handler = _HANDLERS.get(frame_in.name)
            if handler is not None:
                handler(self, frame_in)
                return
            super().on_frame(frame_in)
        except Exception as exc:
            # It would end the reader, and nobody would notice before the heartbeat.
            log.exception("A frame from RabbitMQ could not be handled")
            self.lose(f"a frame could not be handled: {exc}")
        if frame_in.name == "Channel.Close":
            self.lose(f"RabbitMQ closed the channel: {frame_in.reply_text}")

    def _on_ack(self, ack: commands.Basic.Ack) -> None:
        self.confirms.settle(ack.delivery_tag, ack.multiple, refused=False)

    def _on_nack(self, nack: commands.Basic.Nack) -> None:
        self.confirms.settle(nack.delivery_tag, nack.multiple, refused=True)

    def _on_return(self, frame: commands.Basic.Return) -> None:
        self._returned_from = frame.routing_key or ""  # more follows

    def _on_deliver(self, deliver: commands.Basic.Deliver) -> None:
        self._returned_from = None
        self._deliver = deliver

    def _on_header(self, head: header.ContentHeader) -> None:
        if (queue := self._returned_from) is not None:
            self.confirms.returned(queue, head.properties.message_id or "")
            return
        self._header = head
        self._body = []
        self._complete()

    def _on_body(self, chunk: content.ContentBody) -> None:
        if self._returned_from is None:
            self._body.append(chunk.value or b"")
            self._complete()

    def _complete(self) -> None:
        deliver, head = self._deliver, self._header
        if deliver is None or head is None:
            return
        if sum(map(len, self._body)) < head.body_size:
            return
        self._deliver = self._header = None
        self._delivered = True
        message = Message(
            deliver.consumer_tag or "",
            deliver.delivery_tag or 0,
            head.properties,
            b"".join(self._body),
        )
        self._on_message(self, message)

    def _on_cancel(self, cancel: commands.Basic.Cancel) -> None:
        # Consuming again on this channel is not enough: RabbitMQ 4.3 keeps a timed-out
        # consumer blocked until its deliveries are settled.
        self.lose(f"RabbitMQ stopped the delivery of {cancel.consumer_tag}")

    def _send(self, *frames: Any) -> None:
        # Encoded here, so that what cannot be encoded fails its sender, not the writer.
        encoded = [frame.marshal(one, self.channel_id) for one in frames]
        if not self.lost.is_set():
            self._outbox.extend(encoded)
            self._outgoing.set()

    def _write_until_lost(self) -> None:
        try:
            self._write_what_gathers()
        except Exception as exc:
            # Nobody else would notice: what is sent would gather for ever.
            log.exception("Nothing can be written to RabbitMQ")
            self.lose(f"writing failed: {exc}")

    def _write_what_gathers(self) -> None:
        # One writer: whoever publishes may be interrupted while it waits, but no write
        # is ever cut short in the middle of a frame; and what gathers shares a send.
        while not self.lost.is_set():
            self._outgoing.wait()
            self._outgoing.clear()
            outbox, self._outbox = self._outbox, []
            data = b"".join(one for one in outbox if isinstance(one, bytes))
            if data:
                self._connection.heartbeat.register_write()
                self._connection._io.write_to_socket(data)
                crash.at("publish_written")
            for written in outbox:
                if isinstance(written, Event):
                    written.set()


_HANDLERS: dict[str, Callable[[PipelinedChannel, Any], None]] = {
    "Basic.Ack": PipelinedChannel._on_ack,
    "Basic.Nack": PipelinedChannel._on_nack,
    "Basic.Return": PipelinedChannel._on_return,
    "Basic.Deliver": PipelinedChannel._on_deliver,
    "ContentHeader": PipelinedChannel._on_header,
    "ContentBody": PipelinedChannel._on_body,
    "Basic.Cancel": PipelinedChannel._on_cancel,
    "Basic.QosOk": lambda _channel, _frame: None,
}
