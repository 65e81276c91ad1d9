"""Dead letters, found by their ids in one pass through their queue.

What is looked for is stored elsewhere, confirmed, and then acknowledged; the others
stay unacknowledged until the pass is over, and are where they were then. Of these
nothing but their number is kept here, yet RabbitMQ has to keep each in mind: only the
last HELD_CALLS are held, and those before them are written to the end of the queue. In
this order, since RabbitMQ looks for what is acknowledged from the oldest on. A pass
that is cut short leaves a copy too many at worst, and never one too few.
"""

import itertools
import logging
import time
from collections.abc import Callable, Sequence

import gevent
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

# RabbitMQ keeps some hundred bytes of each in mind, and of small ones the payload.
HELD_CALLS = 20_000
# How many are looked at in one step. A classic queue confirms what is written twice a
# second or so, whatever it is: a step may wait for that.
FIRST_STEP, LARGEST_STEP = 64, 1024
# Of those that are written elsewhere in one step; one alone may be larger.
STEP_BYTES = 8 * 1024 * 1024
# Nothing has come for so long: another instance has what is left, or RabbitMQ is away.
PATIENCE_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 0.05
FLUSH_SECONDS = 5.0

# Tags that no consumer of a pass before has had.
_consumers = itertools.count(1)

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
        self._pass: _Pass | None = None
        # Kept over passes: a quorum queue that is slow keeps acknowledgements in mind
        # for later, and forgets them with the channel.
        self._channel: PipelinedChannel | None = None
        self._link: PipelinedChannel | None = None  # on whose connection it is
        self._given_back = 0  # by the last pass

    def stop(self) -> None:
        if self._channel is not None:
            self._channel.lose("mspc is stopping.")

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
            link = self._reading.channel
            if link is None:
                raise QueueUnavailable(self._reading.reason)
            one = self._pass = _Pass(self._queue, ids, settle, self._copy)
            try:
                found = one.run(self._channel_on(link), self._given_back)
            except BaseException as exc:
                self._let_channel_go()
                if isinstance(exc, AMQPError):
                    told = f"{self._queue} cannot be read: {exc}"
                    raise QueueUnavailable(told) from exc
                raise
            finally:
                self._pass = None
                self._given_back = one.held
            return found

    def _channel_on(self, link: PipelinedChannel) -> PipelinedChannel:
        """
        Raises:
            AMQPError: there is none.
        """
        channel = self._channel
        if channel is None or self._link is not link or channel.lost.is_set():
            self.stop()
            channel = PipelinedChannel.open_on(link.connection, self._arrived)
            if self._link is not link:
                link.lost.rawlink(lambda _: self._lost(link))
            self._channel, self._link = channel, link
        return channel

    def _lost(self, link: PipelinedChannel) -> None:
        """With the connection goes the channel of this moment, whichever it is."""
        if self._channel is not None and self._link is link:
            self._channel.lose(link.reason)

    def _let_channel_go(self) -> None:
        """Whatever was delivered on it is where it was."""
        channel, link = self._channel, self._link
        self._channel = None
        if channel is None or link is None or channel.lost.is_set():
            return
        connected = not link.lost.is_set()
        if connected:
            channel.flush(FLUSH_SECONDS)
        channel.lose("The pass was cut short.")
        try:
            if connected:
                channel.close()
        except AMQPError as exc:
            log.info("The channel of %s was not closed: %s", self._queue, exc)

    def _arrived(self, channel: PipelinedChannel, message: Message) -> None:
        """Runs in the connection's reader: never waits."""
        if self._pass is None or not self._pass.arrived(channel, message):
            channel.give_back(message.tag)

    def _copy(self, message: Message) -> None:
        """Stores it at the end of the queue, too; returns when that is confirmed."""
        channel = self._writing.channel
        if channel is None:
            raise QueueUnavailable(self._writing.reason)
        channel.publish(self._queue, message.properties, message.body)


class _Pass:
    """One pass, from the first message to the last that was there at its beginning.

    Attributes:
        held: how many came and are not acknowledged: they are, or will be, given back.
    """

    def __init__(
        self, queue: str, ids: Sequence[str], settle: Settle, copy: Copy
    ) -> None:
        """
        Args:
            queue: its name.
            ids: of the calls that are wanted.
            settle: raises QueueUnavailable.
            copy: the same.
        """
        self._queue = queue
        self._wanted = set(ids)
        self._settle = settle
        self._copy = copy
        self._found: dict[str, None] = {}
        self._settled: set[tuple[str, int]] = set()
        self._left = 0  # to be looked at
        self.held = 0
        self._last_held = 0  # its delivery tag
        self._work = Group()  # what is written elsewhere in this step, and its bytes
        self._bytes = 0
        self._failure: MspcError | None = None
        self._consumer = ""
        self._to_come = 0  # in this step
        self._news = Event()

    def run(self, channel: PipelinedChannel, given_back: int) -> list[str]:
        """The ids that were found.

        Args:
            channel: where the queue is read.
            given_back: so many should be in it, since the last pass.

        Raises:
            AMQPError: the queue cannot be read.
            QueueUnavailable: not all was looked at, or could be settled.
        """
        try:
            self._left = self._count(channel, given_back)
            step = FIRST_STEP
            while self._left > 0 and len(self._found) < len(self._wanted):
                looked_at = self._look(channel, min(step, self._left))
                step = min(max(1, 2 * looked_at), LARGEST_STEP)
            if self.held:
                # Not all: what is on its way is given back one by one as it comes, and
                # RabbitMQ closes a channel on which that is said twice.
                channel.give_back_up_to(self._last_held)
            return list(self._found)
        finally:
            # First, or what is on its way would begin to be settled yet.
            self._stop_consuming(channel)
            self._work.kill()

    def arrived(self, channel: PipelinedChannel, message: Message) -> bool:
        """Whether it is looked at now; if not, it is to be given back. Never waits."""
        if message.consumer != self._consumer:
            return False
        wanted = message.properties.message_id in self._wanted
        if not wanted and self._left <= HELD_CALLS:
            self._last_held = message.tag
        else:
            size = len(message.body)
            if self._bytes and self._bytes + size > STEP_BYTES:
                self._stop_consuming(channel)
                return False
            self._bytes += size
            step = self._take if wanted else self._copy
            self._work.spawn(self._tried, step, channel, message)
        self.held += 1
        self._to_come -= 1
        self._left -= 1
        if not self._to_come:
            self._stop_consuming(channel)
        self._news.set()
        return True

    def _count(self, channel: PipelinedChannel, at_least: int) -> int:
        """How many there are.

        A classic queue says so before it has taken back what a channel held that was
        closed. Perhaps another instance has some.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            told = channel.queue.declare(self._queue, passive=True)
            count = int(told["message_count"]) if isinstance(told, dict) else 0
            if count >= at_least or time.monotonic() > until:
                return count
            channel.lost.wait(LOOK_AGAIN_SECONDS)

    def _look(self, channel: PipelinedChannel, count: int) -> int:
        """Looks at the next `count`, or fewer when they are large; how many."""
        self._to_come = count
        self._consumer = f"dead letters {next(_consumers)}"
        channel.limit_unsettled(count)
        channel.consume(self._queue, self._consumer)
        while self._to_come and self._consumer:
            gevent.wait((self._news, channel.lost), PATIENCE_SECONDS, 1)
            if channel.lost.is_set():
                raise QueueUnavailable(f"RabbitMQ was lost: {channel.reason}")
            if not self._news.is_set():
                raise QueueUnavailable(
                    f"{self._queue} gives no more at the moment: another instance may"
                    " be looking through it."
                )
            self._news.clear()
        self._stop_consuming(channel)
        self._work.join()
        if self._failure is not None:
            raise self._failure
        return count - self._to_come

    def _stop_consuming(self, channel: PipelinedChannel) -> None:
        if self._consumer:
            channel.cancel(self._consumer)
            self._consumer = ""
        self._news.set()

    def _tried(
        self,
        step: Callable[[Message], None],
        channel: PipelinedChannel,
        message: Message,
    ) -> None:
        try:
            step(message)
            channel.ack(message.tag)
            self.held -= 1
        except MspcError as exc:
            self._failure = self._failure or exc
        except Exception as exc:
            log.exception("%s stays a dead letter", message.properties.message_id)
            self._failure = QueueUnavailable(f"{self._queue}: {exc}")
        finally:
            self._bytes -= len(message.body)

    def _take(self, message: Message) -> None:
        call, _ = amqp_message.decode(message.properties, message.body)
        # Another producer may have given one id to two calls.
        both = call.id, hash(call.payload)
        if both in self._settled:  # a copy of one
            return
        self._settled.add(both)
        try:
            self._settle(call)
        except BaseException:
            self._settled.discard(both)
            raise
        self._found[call.id] = None
