"""Dead letters, found by their ids in one pass through their queue.

What is looked for is stored elsewhere, confirmed, and then acknowledged; the others
stay unacknowledged until the pass is over, and are where they were then. Beyond
HELD_CALLS of them each further one is written to the end of the queue first. A pass
that is cut short leaves a copy too many at worst, and never one too few.
"""

import logging
from collections.abc import Callable, Sequence

from amqpstorm.connection import Connection
from amqpstorm.exception import AMQPError
from gevent.event import Event
from gevent.lock import RLock
from gevent.pool import Group

from mspc.calls.call import Call
from mspc.errors import MspcError, QueueUnavailable
from mspc.queues.amqp import message as amqp_message
from mspc.queues.amqp.channel import Message, PipelinedChannel
from mspc.queues.amqp.link import Link

log = logging.getLogger(__name__)

# Their numbers are all that is kept of them here; RabbitMQ keeps them in mind.
HELD_CALLS = 5000
# What one consumer gets at once. A payload may have a megabyte, and each is dropped as
# soon as its id was read.
AT_ONCE = 64
# Nothing has come for so long: another instance has what is left, or RabbitMQ is away.
PATIENCE_SECONDS = 5.0

Settle = Callable[[Call], None]
Copy = Callable[[Message], None]


class DeadLetters:
    """The queue of dead letters of one AmqpQueue."""

    def __init__(self, queue: str, reading: Link, writing: Link) -> None:
        """
        Args:
            queue: its name.
            reading: on whose connection it is read, though an alarm is on.
            writing: publishes with confirms.
        """
        self._queue = queue
        self._reading = reading
        self._writing = writing
        self._one_at_a_time = RLock()

    def settle(self, ids: Sequence[str], settle: Settle) -> list[str]:
        """Settles those of these ids; the ids that were found.

        Args:
            ids: of calls.
            settle: does what is to be done with a call before its dead letter is gone.
                Raises QueueUnavailable.

        Raises:
            QueueUnavailable: not all of the queue was looked through, or some could not
                be settled. What was settled is.
        """
        if not ids:
            return []
        with self._one_at_a_time:
            channel = self._reading.channel
            if channel is None:
                raise QueueUnavailable(self._reading.reason)
            one = _Pass(self._queue, ids, settle, self._copy)
            try:
                one.begin(channel.connection)
                return one.result()
            except AMQPError as exc:
                raise QueueUnavailable(f"{self._queue} cannot be read: {exc}") from exc
            finally:
                one.end()

    def _copy(self, message: Message) -> None:
        """Stores it at the end of the queue, too; returns when that is confirmed."""
        channel = self._writing.channel
        if channel is None:
            raise QueueUnavailable(self._writing.reason)
        channel.publish(self._queue, message.properties, message.body)


class _Pass:
    """One pass, from the first message to the last that was there at its beginning."""

    def __init__(
        self, queue: str, ids: Sequence[str], settle: Settle, copy: Copy
    ) -> None:
        self._queue = queue
        self._wanted = set(ids)
        self._settle = settle
        self._copy = copy
        self._channel: PipelinedChannel | None = None
        self._work = Group()  # no more than a consumer has at once
        self._consumers = 0
        self._to_look_at = 0
        self._came = 0
        self._held = 0
        self._found: dict[str, None] = {}
        self._news = Event()
        self._failure: MspcError | None = None

    def begin(self, connection: Connection) -> None:
        """
        Raises:
            AMQPError: it cannot be read.
        """
        channel = self._channel = PipelinedChannel.open_on(connection, self._arrived)
        told = channel.queue.declare(self._queue, passive=True)
        self._to_look_at = int(told["message_count"]) if isinstance(told, dict) else 0
        channel.limit_unsettled(AT_ONCE)
        self._consume(channel)

    def result(self) -> list[str]:
        """The ids that were found, when all was looked at.

        Raises:
            QueueUnavailable: not all was.
        """
        while not self._is_over():
            came = self._came
            self._news.wait(PATIENCE_SECONDS)
            if not self._news.is_set() and came == self._came:
                self._failure = QueueUnavailable(
                    f"{self._queue} gives no more at the moment: another instance may"
                    " be looking through it."
                )
            self._news.clear()
        self._work.join()
        if self._failure is not None:
            raise self._failure
        return list(self._found)

    def end(self) -> None:
        """What is not acknowledged is where it was."""
        self._work.kill()
        channel = self._channel
        if channel is None:
            return
        channel.flush(PATIENCE_SECONDS)
        channel.lose("all was looked at")
        try:
            channel.close()
        except AMQPError as exc:
            log.info("The channel of %s was not closed: %s", self._queue, exc)

    def _is_over(self) -> bool:
        lost = self._channel is None or self._channel.lost.is_set()
        if lost and self._failure is None:
            self._failure = QueueUnavailable("The connection to RabbitMQ was lost.")
        all_found = len(self._found) == len(self._wanted) and not len(self._work)
        seen = self._came >= self._to_look_at
        return self._failure is not None or all_found or seen

    def _consume(self, channel: PipelinedChannel) -> None:
        self._consumers += 1
        channel.consume(self._queue, f"dead letters {self._consumers}")

    def _arrived(self, channel: PipelinedChannel, message: Message) -> None:
        """Runs in the connection's reader: never waits."""
        self._came += 1
        self._news.set()
        if self._came > self._to_look_at:
            return  # a copy, or one that has just died
        call, _ = amqp_message.decode(message.properties, message.body)
        if call.id in self._wanted:
            self._work.spawn(self._tried, self._take, channel, call, message)
        elif self._held < HELD_CALLS:
            self._held += 1
            if self._held >= self._consumers * AT_ONCE:
                self._consume(channel)
        else:
            self._work.spawn(self._tried, self._move, channel, call, message)

    def _tried(
        self,
        step: Callable[[PipelinedChannel, Call, Message], None],
        channel: PipelinedChannel,
        call: Call,
        message: Message,
    ) -> None:
        try:
            step(channel, call, message)
        except MspcError as exc:
            self._failure = self._failure or exc
        finally:
            self._news.set()

    def _take(self, channel: PipelinedChannel, call: Call, message: Message) -> None:
        if call.id not in self._found:  # else it is a copy of one
            self._found[call.id] = None
            try:
                self._settle(call)
            except BaseException:
                del self._found[call.id]
                raise
        channel.ack(message.tag)

    def _move(self, channel: PipelinedChannel, _: Call, message: Message) -> None:
        self._copy(message)
        channel.ack(message.tag)
