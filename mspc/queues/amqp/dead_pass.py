"""One pass through the dead letters, from the first to the last that is there then.

What is looked for is stored elsewhere, confirmed, and then acknowledged; the others
stay unacknowledged until the pass is over, and are where they were then. Of these
nothing but their number is kept here, yet RabbitMQ has to keep each in mind: only the
last HELD_CALLS are held, and those before them are written to the end of the queue. In
this order, since RabbitMQ looks for what is acknowledged from the oldest on. A pass
that is cut short leaves copies too many at worst, where mspc is killed those of a
step, and never one too few.
"""

import itertools
import logging
import time
from collections.abc import Callable, Sequence

import gevent
from gevent.event import Event
from gevent.pool import Group

from mspc.calls.call import Call
from mspc.errors import MspcError, QueueUnavailable
from mspc.queues.amqp import message as amqp_message
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.message import Message

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

# Tags that no consumer of a pass before has had.
_consumers = itertools.count(1)

Settle = Callable[[Call], None]
Copy = Callable[[Message], None]


class Pass:
    """One pass, from the first message to the last that was there at its beginning.

    Attributes:
        began: whether it has looked at something.
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
        self.began = False
        self.held = 0
        self._last_held = 0  # its delivery tag
        self._work = Group()  # what is written elsewhere in this step, and its bytes
        self._bytes = 0
        self._copied: list[int] = []  # delivery tags that are not acknowledged yet
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
            self.began = True
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
            for tag in self._copied:  # of a step that was cut short
                channel.ack(tag)
            self.held -= len(self._copied)

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
            settle = self._settle_wanted if wanted else self._settle_other
            self._work.spawn(self._tried, settle, channel, message)
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
        closed. Another instance may have some, or one that RabbitMQ takes for alive:
        what is not seen then would be taken for no dead letter any more.

        Raises:
            QueueUnavailable: not all that should be there are.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            told = channel.queue.declare(self._queue, passive=True)
            if isinstance(told, dict):
                count, others = told["message_count"], told["consumer_count"]
                if count >= at_least and not others:
                    return int(count)
            if time.monotonic() > until:
                raise QueueUnavailable(
                    f"{self._queue} does not give all at the moment: another instance"
                    " may be looking through it, or RabbitMQ takes one for alive."
                )
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
        if self._copied:
            # All that came until then: what is held comes after what is copied. Not one
            # by one: a quorum queue's client sends 32 or so, keeps the others in mind
            # until RabbitMQ has applied these, and forgets them with the channel.
            channel.ack_up_to(max(self._copied))
            self.held -= len(self._copied)
            self._copied = []
        return count - self._to_come

    def _stop_consuming(self, channel: PipelinedChannel) -> None:
        if self._consumer:
            channel.cancel(self._consumer)
            self._consumer = ""
        self._news.set()

    def _tried(
        self,
        settle: Callable[[PipelinedChannel, Message], None],
        channel: PipelinedChannel,
        message: Message,
    ) -> None:
        try:
            settle(channel, message)
        except MspcError as exc:
            self._failure = self._failure or exc
        except Exception as exc:
            log.exception("%s stays a dead letter", message.properties.message_id)
            self._failure = QueueUnavailable(f"{self._queue}: {exc}")
        finally:
            self._bytes -= len(message.body)

    def _settle_wanted(self, channel: PipelinedChannel, message: Message) -> None:
        self._take(message)
        channel.ack(message.tag)
        self.held -= 1

    def _settle_other(self, channel: PipelinedChannel, message: Message) -> None:
        self._copy(message)
        self._copied.append(message.tag)

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
