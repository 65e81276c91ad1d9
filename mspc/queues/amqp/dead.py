"""Dead letters, found by their ids in one pass through their queue at a time."""

import logging
import time
from collections.abc import Sequence

from amqpstorm.exception import AMQPError
from gevent.lock import RLock

from mspc.errors import QueueUnavailable
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.dead_pass import Pass, Settle
from mspc.queues.amqp.link import Link
from mspc.queues.amqp.message import Message

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
# After so long all that was given back is there again, or somebody else has taken it;
# and RabbitMQ has noticed that a connection fell silent: two heartbeats.
GIVEN_BACK_SECONDS, LOST_SECONDS = 5.0, 30.0


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
        self._pass: Pass | None = None
        # Kept over passes: a quorum queue that is slow keeps acknowledgements in mind
        # for later, and forgets them with the channel.
        self._channel: PipelinedChannel | None = None
        self._link: PipelinedChannel | None = None  # on whose connection it is
        # By the last pass that has looked at something, and until when that may not be
        # there again.
        self._given_back, self._given_back_until = 0, 0.0

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
            one = self._pass = Pass(self._queue, ids, settle, self._copy)
            try:
                expected = time.monotonic() <= self._given_back_until
                found = one.run(
                    self._channel_on(link), self._given_back if expected else 0
                )
            except BaseException as exc:
                self._let_channel_go()
                if isinstance(exc, AMQPError):
                    told = f"{self._queue} cannot be read: {exc}"
                    raise QueueUnavailable(told) from exc
                raise
            finally:
                self._pass = None
                self._note(one, lost=link.lost.is_set())
            return found

    def _note(self, one: Pass, *, lost: bool) -> None:
        """What the next pass is to find; `lost`: whether the connection broke."""
        if one.began:
            seconds = LOST_SECONDS if lost else GIVEN_BACK_SECONDS
            self._given_back = one.held
            self._given_back_until = time.monotonic() + seconds

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
