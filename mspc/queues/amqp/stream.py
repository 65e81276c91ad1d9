"""What the journals of several instances tell each other, through a RabbitMQ stream.

A stream keeps what was read, so that each instance reads all of it, from where it has
stopped: its own batches too. It is a view for people. Nothing waits for it, it has a
link of its own, and a RabbitMQ without streams is no failure.
"""

import logging
from collections.abc import Callable
from itertools import count

from amqpstorm.connection import Connection
from amqpstorm.exception import AMQPError
from gevent.event import Event
from gevent.queue import SimpleQueue
from pamqp import commands

from mspc.errors import MspcError, QueueUnavailable
from mspc.process.greenlets import Watched
from mspc.process.once import Once
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.confirms import Publish
from mspc.queues.amqp.diagnosis import ACCESS_REFUSED, PRECONDITION_FAILED
from mspc.queues.amqp.link import Link, Refused
from mspc.queues.amqp.message import Message
from mspc.queues.amqp.outbox import Outbox
from mspc.queues.amqp.reading import MARK, Reading
from mspc.queues.amqp.topology import DECLARE_TIMEOUT_SECONDS
from mspc.settings.config import AmqpConfig

log = logging.getLogger(__name__)

# On each node that has the stream. A call that succeeds at once has one event, one that
# waits two or more, each with the beginning of its body: 1 GiB has 1,200,000 or 600,000
# calls of 400 bytes, 190,000 or 90,000 of 4 kB.
STREAM_BYTES = 2**30
# RabbitMQ deletes whole segments, never the last: so much is kept longer than asked.
SEGMENT_BYTES = 2**26

# While the link is being made again. An instance has five batches in a second, and
# a busy one more: for that the bytes are the bound.
WAITING_BATCHES = 1000
WAITING_BYTES = 2**24

# RabbitMQ may have been upgraded, or the rights been mended.
TRY_AGAIN_SECONDS = 120.0
MARK_SECONDS = 5.0
# When a blocked connection takes messages again there is no event.
LOOK_SECONDS = 1.0
STOP_SECONDS = 15.0

NOT_IMPLEMENTED = 540
INTERNAL_ERROR = 541  # the feature flag of streams is off
REFUSALS = frozenset(
    {ACCESS_REFUSED, PRECONDITION_FAILED, NOT_IMPLEMENTED, INTERNAL_ERROR}
)


class JournalStream:
    """The stream `<QUEUE_NAME>.journal`, written and read.

    For the greenlets of one thread.
    """

    def __init__(
        self,
        config: AmqpConfig,
        days: int,
        try_again: float = TRY_AGAIN_SECONDS,
    ) -> None:
        """
        Args:
            config: where it is.
            days: how long RabbitMQ keeps what is in it.
            try_again: seconds until a RabbitMQ that refuses the stream is asked again.
        """
        self.name = f"{config.name}.journal"
        self._config = config
        self._days = days
        self._try_again = try_again
        self._outbox = Outbox(WAITING_BATCHES, WAITING_BYTES)
        self._numbers = count(1)
        self._position: int | None = None
        self._arrived: Callable[[bytes, int], None] = lambda _batch, _position: None
        self._link: Link | None = None
        self._reading: Reading | None = None
        self._heard: PipelinedChannel | None = None
        self._mailbox: SimpleQueue[tuple[Reading, Message] | None] = SimpleQueue()
        self._refusal = Once()
        self._refused = Event()
        self._stopping = Event()
        self._news = Event()
        self._worker = Watched("writer of the journal's stream", self._work)
        self._reader = Watched("reader of the journal's stream", self._read)

    def start(self, arrived: Callable[[bytes, int], None], after: int | None) -> None:
        """Begins to write and to read, and goes on after whatever happens.

        Args:
            arrived: gets each batch of each instance in the order of the stream, and
                its position, in a greenlet of its own. It may wait: then RabbitMQ keeps
                what follows. A batch may come twice.
            after: the position of the last one that is known; None to begin at the
                first. Positions are for this alone: they cannot be compared.
        """
        self._arrived = arrived
        self._position = after
        self._reader.start()
        self._worker.start()

    def publish(self, batch: bytes) -> None:
        """Never waits. Dropped when nobody keeps a stream, or is away for long."""
        if not self._refused.is_set():
            self._outbox.add(batch)
            self._news.set()

    def stop(self) -> None:
        """What is to be published still is, when RabbitMQ is there."""
        self._stopping.set()
        self._news.set()
        self._worker.stop(STOP_SECONDS)
        self._mailbox.put(None)
        self._reader.stop(STOP_SECONDS)

    @property
    def keeps(self) -> bool:
        """Whether RabbitMQ has not said that it has no streams for us."""
        return not self._refused.is_set()

    @property
    def shared(self) -> bool:
        """Whether what instances publish now is read by all of them."""
        channel = self._link.channel if self._link is not None else None
        return channel is not None and channel is self._heard

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._refused.clear()
            link = self._link = Link(
                "journal", self._config, self._set_up, self._deliver
            )
            link.start(self._refuse)
            while not self._stopping.is_set() and not self._refused.is_set():
                self._news.wait(LOOK_SECONDS)
                self._news.clear()
                self._send(link)
            link.stop()
            self._stopping.wait(self._try_again)

    def _send(self, link: Link) -> None:
        channel = link.channel
        if channel is None or link.problem():
            return
        if self._outbox.dropped:
            log.warning(
                "%d batches for the stream %s were dropped, since RabbitMQ was away or"
                " they were too large for it: other instances will not know what was"
                " in them",
                self._outbox.dropped,
                self.name,
            )
            self._outbox.dropped = 0
        try:
            self._outbox.send(lambda batch: self._post(channel, batch))
        except QueueUnavailable as exc:
            log.debug("The stream %s: %s", self.name, exc)

    def _post(self, channel: PipelinedChannel, batch: bytes) -> Publish:
        properties = commands.Basic.Properties(
            message_id=str(next(self._numbers)), content_type="application/json"
        )
        return channel.post(self.name, properties, batch)

    def _set_up(self, channel: PipelinedChannel) -> None:
        channel.select_confirms()
        reading = Reading(channel, self.name, self._position, self._hand_over)
        self._reading = reading
        try:
            self._declare(channel.connection)
            reading.begin()
            mark = self._post(channel, MARK)
            # Whether we may write. While an alarm is on nobody says.
            mark.confirmed.wait(MARK_SECONDS)
            channel.check_for_exceptions()
        except AMQPError as exc:
            if exc.error_code in REFUSALS and not _passes(exc):
                raise Refused(str(exc)) from exc
            # Without its code, which says something of the queues to a link.
            raise QueueUnavailable(str(exc)) from exc
        self._news.set()

    def _declare(self, connection: Connection) -> None:
        """On a channel of its own: a refusal closes the channel.

        Raises:
            AMQPError: refused.
        """
        channel = connection.channel(rpc_timeout=DECLARE_TIMEOUT_SECONDS)
        try:
            channel.queue.declare(self.name, durable=True, arguments=self._arguments())
        except AMQPError as exc:
            # Made for other days, or by another version: it serves all the same.
            if exc.error_code != PRECONDITION_FAILED or "inequivalent" not in str(exc):
                raise
            log.info("The stream %s stays as it was made: %s", self.name, exc)
            return
        channel.close()

    def _arguments(self) -> dict[str, object]:
        return {
            "x-queue-type": "stream",
            "x-max-age": f"{self._days}D",
            "x-max-length-bytes": STREAM_BYTES,
            "x-stream-max-segment-size-bytes": SEGMENT_BYTES,
        }

    def _refuse(self, error: MspcError) -> None:
        """The link has ended."""
        if self._refusal.is_new(error):
            log.warning(
                "RabbitMQ keeps no stream %s, so that each instance's journal has the"
                " instance's own calls only. Streams need RabbitMQ 3.9, and the user's"
                " rights on it: see docs/operations.md. It says: %s",
                self.name,
                error,
            )
        else:
            log.debug("The stream %s is refused again", self.name)
        self._refused.set()
        self._news.set()

    def _deliver(self, channel: PipelinedChannel, message: Message) -> None:
        """Runs in the connection's reader: hands over, never waits."""
        reading = self._reading
        if reading is not None and reading.channel is channel:
            self._mailbox.put((reading, message))

    def _read(self) -> None:
        for reading, message in iter(self._mailbox.get, None):
            channel = reading.channel
            if channel.lost.is_set():
                continue  # it comes again on the next one
            try:
                reading.take(message)
            except AMQPError as exc:
                channel.lose(str(exc))
            self._heard = channel

    def _hand_over(self, batch: bytes, position: int) -> None:
        self._position = position
        self._arrived(batch, position)


def _passes(exc: AMQPError) -> bool:
    """Whether it is only that this node has no copy of the stream, or not yet."""
    return "local node" in str(exc)
