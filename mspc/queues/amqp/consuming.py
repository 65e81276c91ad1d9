"""What is consumed on one channel, bounded in calls and in bytes over all queues.

RabbitMQ bounds what one consumer holds, and by number only: a prefetch_size is answered
by NOT_IMPLEMENTED, and quorum queues know no bound for a whole channel. So a queue has
few deliveries at first and gets more consumers while it is busy and there is room. What
comes when there is no room for its bytes is given back, and the queue is not consumed
until there is.
"""

from collections.abc import Callable, Iterable, Mapping

from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.message import Message
from mspc.queues.amqp.sources import Consumer, Limits, Source

# With which any queue but the main one begins: most are empty, or wait.
FIRST_OF_OTHERS = 3
# One in so many of the calls that may be held is not for what is held for long.
SPARE = 5


class Consuming:
    """The consumers of one channel, for as long as it lives.

    Attributes:
        freed: called when a large call was acknowledged.
        small: bytes of a call up to which nobody counts them.
    """

    def __init__(
        self,
        channel: PipelinedChannel,
        queues: Mapping[str, int | None],
        limits: Limits,
        lend: Callable[[Consumer, Message], None],
        asides: Iterable[str] = (),
    ) -> None:
        """Consumes nothing before start().

        Args:
            channel: where all of it is consumed.
            queues: their names, each with its level.
            limits: how much may be held.
            lend: gets what arrives and has room.
            asides: the names of those for calls that were set aside.
        """
        self.channel = channel
        self.freed: Callable[[], None] = lambda: None
        self._limits = limits
        self._lend = lend
        # So small that as many as may be held never take more than a quarter: nobody
        # has to count them.
        self.small = limits.bytes // 4 // limits.calls
        self._room_for_large = limits.bytes - limits.bytes // 4
        self._large = 0  # bytes held by calls that are not small
        self._waiting = 0  # those of calls that are not due yet
        self._sources = [self._source(name, queues[name]) for name in queues]
        self._sources += [self._source(name, None, aside=True) for name in asides]
        self._consumers: dict[str, Consumer] = {}
        self._made = 0
        # Those that are not consumed for want of room, and for how many bytes.
        self._refused: dict[Source, int] = {}
        # Those that are again, and have the room that they waited for.
        self._admitted: set[Source] = set()
        self._stopped = False

    def start(self) -> None:
        for source in self._sources:
            self._consume(source, source.first)

    def stop(self) -> None:
        """Nothing more is delivered; what is held can still be settled."""
        self._stopped = True
        for source in self._sources:
            self._cancel(source)

    def arrived(self, message: Message) -> None:
        """Runs in the connection's reader: hands over or gives back, never waits."""
        consumer = self._consumers.get(message.consumer)
        if consumer is None or not consumer.live:  # sent before it was cancelled
            self.channel.give_back(message.tag)
            return
        size = len(message.body)
        if size > self.small:
            if not self._has_room(consumer.source, size):
                self._refuse(consumer.source, size)
                self.channel.give_back(message.tag)
                return
            self._large += size
        consumer.held += 1
        source = consumer.source
        source.held += 1
        # The others are told when they may: what comes of them may have to wait.
        if source.main and consumer.held >= consumer.prefetch:
            self.grow(source)
        self._lend(consumer, message)

    def settled(self, consumer: Consumer, size: int) -> None:
        """A delivery of `size` bytes is not held any more."""
        consumer.held -= 1
        consumer.source.held -= 1
        if not consumer.live and not consumer.held:
            self._consumers.pop(consumer.tag, None)
        if size > self.small:
            self._large -= size
        if self._refused:
            self._admit_again()

    def acknowledged(self, size: int) -> None:
        """What settled() was told of will not come again."""
        if size > self.small:
            self.freed()

    def in_share(
        self, size: int, held: Callable[[], Iterable[int]], *, here: bool
    ) -> bool:
        """Whether a call may be made ready: a lane may hold as much as it leaves to the
        others, and one call in any case. One that hangs would else hold all there is.

        Args:
            size: of the call, bytes, if it is not small; 0 when nobody knows.
            held: sizes of the calls of its lane that are ready or in flight. Asked only
                when there is little room.
            here: whether the call is held already.
        """
        others = self._large - size if here else self._large
        if (others + size) * 2 <= self._room_for_large:
            return True
        mine = sum(one for one in held() if one > self.small)
        return not mine or mine + size <= self._room_for_large - others

    def may_wait(self, size: int, *, briefly: bool = False) -> bool:
        """Whether a call may be held that is not due yet; then waited() follows.

        What waits takes a quarter of the bytes at most, or those that are due had to
        wait for them.

        Args:
            size: of the call, bytes.
            briefly: whether it is held only until it is written elsewhere: that needs
                no room but what it has.
        """
        if size <= self.small:
            return True
        if not briefly and (self._waiting + size) * 4 > self._limits.bytes:
            return False
        self._waiting += size
        return True

    def too_large(self, source: Source, size: int) -> None:
        """A queue gave more of this size than may wait: fewer at once from now on."""
        _narrow(source, size, source.cap, self._limits.bytes // 4)

    def waited(self, size: int) -> None:
        """A call that was held until it was due is due."""
        if size > self.small:
            self._waiting -= size

    def pause(self, source: Source) -> None:
        """Stops the delivery of a queue until resume()."""
        source.paused = True
        self._cancel(source)

    def resume(self, source: Source) -> None:
        source.paused = False
        if source not in self._refused:
            self._consume_again(source)

    def grow(self, source: Source) -> None:
        """Gives a busy queue as many deliveries again, if there is room."""
        if source.window >= source.most or not source.full:
            return
        if source.window >= source.cap:
            if self._large * 2 > self._room_for_large:
                return
            # Its calls are smaller now.
            source.cap = min(source.most, source.cap * 2)
        more = min(source.window, source.cap - source.window)
        if source.cap < source.most and source.large:
            more = min(more, (self._room_for_large - self._large) // source.large)
        if self._calls_left() < 1:
            self._take_back(source)
        more = min(more, self._calls_left())
        if more > 0:
            self._consume(source, more)

    @property
    def spare(self) -> bool:
        """Whether there is room for calls that will be held for long."""
        return self._calls_left() * SPARE >= self._limits.calls

    def widen(self, source: Source, window: int) -> None:
        """Lets a queue of small calls have `window` deliveries ahead, if it may."""
        if source.consumers and not source.large:
            more = min(window, source.cap) - source.window
            more = min(more, self._calls_left())
            if more > 0:
                self._consume(source, more)

    def source(self, name: str) -> Source:
        return next(one for one in self._sources if one.name == name)

    def _source(self, name: str, level: int | None, *, aside: bool = False) -> Source:
        most = self._limits.main
        main = level is None and not aside
        first = most if main else min(FIRST_OF_OTHERS, most)
        return Source(name, level, first, most, cap=most, aside=aside)

    def _has_room(self, source: Source, size: int) -> bool:
        taken = self._large
        if source in self._admitted:
            # Or two that wait would be refused in turns, each for the other's sake.
            self._admitted.discard(source)
        else:
            # What waits for room has it first: else a large call could wait for ever.
            taken += max(self._refused.values(), default=0)
        return not self._large or taken + size <= self._room_for_large

    def _refuse(self, source: Source, size: int) -> None:
        """Stops the delivery of a queue until there is room for `size` bytes."""
        fewer = min(source.cap, source.window) // 2
        _narrow(source, size, fewer, self._room_for_large)
        self._cancel(source)  # first: else it would be delivered again at once
        self._refused[source] = size

    def _admit_again(self) -> None:
        room = self._room_for_large - self._large
        for source, size in sorted(self._refused.items(), key=lambda one: -one[1]):
            if size > room and self._large:
                return
            room -= size
            del self._refused[source]
            self._admitted.add(source)
            if not source.paused:
                self._consume_again(source)

    def _consume_again(self, source: Source) -> None:
        left = self._calls_left()
        if left < 1 and any(one.source is source for one in self._consumers.values()):
            self._refused[source] = 0  # it waits for a call to be settled
            return
        count = min(source.first, source.cap, max(1, left))
        if source.large and self._large:
            room = self._room_for_large - self._large
            count = min(count, max(1, room // source.large))
        self._consume(source, count)

    def _take_back(self, poor: Source) -> None:
        """Takes from what others do not need, or from the one that has most ahead."""
        spare = [
            one
            for one in self._consumers.values()
            if one.live and not one.held and len(one.source.consumers) > 1
        ]
        for one in reversed(spare):
            if len(one.source.consumers) > 1:  # the first one stays, which is small
                self._cancel_one(one)
        if spare or any(not one.live for one in self._consumers.values()):
            return  # the others are taken back as what they hold is settled
        rich = max(self._sources, key=lambda one: (len(one.consumers) > 1, one.window))
        if len(rich.consumers) > 1 and rich.window > 2 * poor.window:
            self._cancel_one(rich.consumers[-1])

    def _calls_left(self) -> int:
        """How many may still be delivered; each queue can have one in any case."""
        taken = sum(
            one.prefetch if one.live else one.held for one in self._consumers.values()
        )
        return self._limits.calls - len(self._sources) - taken

    def _consume(self, source: Source, prefetch: int) -> None:
        if self._stopped:
            return
        self._made += 1
        consumer = Consumer(f"{source.name}#{self._made}", source, prefetch)
        self._consumers[consumer.tag] = consumer
        source.consumers.append(consumer)
        source.window += prefetch
        self.channel.limit_unsettled(prefetch)
        self.channel.consume(source.name, consumer.tag)

    def _cancel(self, source: Source) -> None:
        for consumer in tuple(source.consumers):
            self._cancel_one(consumer)

    def _cancel_one(self, consumer: Consumer) -> None:
        consumer.live = False
        consumer.source.consumers.remove(consumer)
        consumer.source.window -= consumer.prefetch
        self.channel.cancel(consumer.tag)
        if not consumer.held:
            self._consumers.pop(consumer.tag, None)


def _narrow(source: Source, size: int, most: int, room: int) -> None:
    """A queue whose calls are of `size` bytes has `most` ahead, if `room` is enough."""
    source.large = size
    source.cap = max(1, min(most, room // size))
