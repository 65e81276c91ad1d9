"""A stream is read from where somebody stopped, if it is that stream still.

RabbitMQ goes to the first message when the offset that it is asked for is gone by
retention. But of a stream that was deleted and made anew it holds back everything
below that offset, without a word. So the last message that was read is asked for once
more, and must be what it was; and a second consumer of what comes from now on must
get higher offsets. Each session publishes a mark, so that it gets something.
"""

import logging
import zlib
from collections.abc import Callable

from gevent.lock import RLock

from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.message import Message

log = logging.getLogger(__name__)

OFFSET = "x-stream-offset"
# How many messages are under way. One has what is published in 200 ms, some 100 kB on a
# busy instance.
PREFETCH = 20
MARK = b""

# A position fits into SQLite's 63 bits: 43 of them for 1,000 messages/s in 250 years.
_OFFSET_BITS = 43
_CHECK_BITS = 20


def position_of(offset: int, body: bytes) -> int:
    """Where a message stands in its stream, and that it is this one."""
    check = zlib.crc32(body) & (1 << _CHECK_BITS) - 1
    return check << _OFFSET_BITS | offset


class Reading:
    """What is read on one channel, for as long as it lives."""

    def __init__(
        self,
        channel: PipelinedChannel,
        stream: str,
        after: int | None,
        hand_over: Callable[[bytes, int], None],
    ) -> None:
        """
        Args:
            channel: where it is read.
            stream: its name.
            after: the position of the last message that was read; None for none.
            hand_over: gets each message that is no mark, and its position, in order.
                It may wait: then less is under way.
        """
        self.channel = channel
        self._stream = stream
        self._sought = after  # until it was found, or is known to be gone
        self._hand_over = hand_over
        self._readers = 0
        self._reader = ""
        self._beginning = RLock()

    def begin(self) -> None:
        """
        Raises:
            AMQPError: RabbitMQ refuses.
        """
        with self._beginning:
            self.channel.limit_unsettled(PREFETCH)
            if self._sought is None:
                self._read("first")
                return
            self._read(self._sought_offset)
            self.channel.read(self._stream, "probe", "next")

    def take(self, message: Message) -> None:
        """A message has come; returns when it was handed over.

        Raises:
            AMQPError: reading from the first was refused.
        """
        try:
            with self._beginning:
                offset = _offset(message)
                if message.consumer == "probe":
                    self._probed(offset)
                elif message.consumer == self._reader:
                    self._take(offset, message.body)
        finally:
            self.channel.ack(message.tag)

    @property
    def _sought_offset(self) -> int:
        return (self._sought or 0) & (1 << _OFFSET_BITS) - 1

    def _take(self, offset: int, body: bytes) -> None:
        if self._sought is not None and offset == self._sought_offset:
            if position_of(offset, body) == self._sought:
                self._sought = None
            else:
                self._begin_anew()
            return
        self._sought = None  # gone by retention: what is left comes
        if body != MARK:
            self._hand_over(body, position_of(offset, body))

    def _probed(self, offset: int) -> None:
        """What came after everything that there was has `offset`."""
        self.channel.cancel("probe")
        if self._sought is not None and offset <= self._sought_offset:
            self._begin_anew()

    def _begin_anew(self) -> None:
        log.info("The stream %s was made anew: reading it from the first", self._stream)
        self._sought = None
        self.channel.cancel(self._reader)
        self._read("first")

    def _read(self, offset: int | str) -> None:
        # A name of its own: what is on its way for the reader before is not for it.
        self._readers += 1
        self._reader = f"reader {self._readers}"
        self.channel.read(self._stream, self._reader, offset)


def _offset(message: Message) -> int:
    offset = (message.properties.headers or {}).get(OFFSET)
    return offset if isinstance(offset, int) else 0
