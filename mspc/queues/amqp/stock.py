"""The buckets at the broker: what came of them and is held, fetched, or given back."""

import time
from collections.abc import Callable, Sequence

from amqpstorm.exception import AMQPError
from gevent.event import Event

from mspc.calls.call import Call
from mspc.lanes.lane import Item, Lane, Rank
from mspc.lanes.lanes import FEW_READY, Lanes
from mspc.queues.amqp.buckets import Bucket, Buckets, lingers
from mspc.queues.amqp.consuming import Consuming
from mspc.queues.amqp.delivery import AmqpDelivery, ours, sizes
from mspc.queues.amqp.sources import Source

# The calls of a lane that are made ready from its buckets, and of one that hangs.
MOST_FETCHED = 2 * FEW_READY
MOST_OF_A_SUSPECT = 2
# A call that is ready for the next probe is not kept longer; see HOLD_SECONDS.
KEEP_A_PROBE_SECONDS = 60.0
# Nothing has come of a bucket for so long: perhaps nothing is in it.
QUIET_SECONDS = 1.0

Write = Callable[[str, Call, str], None]
Gone = Callable[[AmqpDelivery], bool]


class Stock:
    """All buckets of one queue, on the channel that is in use.

    Attributes:
        buckets: what is known of them.
        consuming: where they are consumed; None before there is a channel.
        to_look_at: those of which nothing more comes by itself.
        to_count: those of which the broker is to tell how much is in them.
        news: set when there is something to look at.
    """

    def __init__(
        self, write: Write, lanes: Lanes, names: Sequence[str], gone: Gone
    ) -> None:
        """
        Args:
            write: stores a call in the queue of that name, with its lane; returns when
                it is confirmed, and raises QueueUnavailable when it is not.
            lanes: whose turn it is.
            names: of the buckets.
            gone: whether a delivery was withdrawn, and is acknowledged.
        """
        self._gone = gone
        self.buckets = Buckets(names)
        self.consuming: Consuming | None = None
        self.to_look_at: set[Bucket] = set()
        self.to_count: set[Bucket] = set()
        self.news = Event()
        self._write = write
        self._lanes = lanes
        self._sources: dict[Bucket, Source] = {}
        self._bucket_of: dict[Source, Bucket] = {}
        # Those that hold as many bytes as they may, and how many more were too many.
        self._starved: dict[Lane, int] = {}

    def use(self, consuming: Consuming) -> None:
        """Everything that came on another channel is lost: it comes again."""
        self._lanes.forget(self._survives)
        self.consuming = consuming
        consuming.freed = self._freed
        self._starved.clear()
        self._sources = {one: consuming.source(one.name) for one in self.buckets}
        self._bucket_of = {self._sources[one]: one for one in self.buckets}
        for bucket in self.buckets:
            bucket.let_all_go()
            bucket.moving = bucket.ahead = bucket.to_pass = 0
            bucket.behind.clear()
            bucket.most = None
            bucket.too_large = False
            bucket.came_at, bucket.counted_at = time.monotonic(), 0.0
            self.to_count.add(bucket)
        self.news.set()

    def source(self, bucket: Bucket) -> Source:
        return self._sources[bucket]

    def origin(self, delivery: AmqpDelivery) -> Bucket | None:
        """The bucket that it came of; None for the main queue and the ladder."""
        return self._bucket_of.get(delivery.source)

    def look_soon(self, bucket: Bucket) -> None:
        self.to_look_at.add(bucket)
        self.news.set()

    def in_share(self, lane: Lane, size: int, *, here: bool) -> bool:
        """Whether `lane` may hold so many bytes more; if not, it is served later.

        Args:
            lane: whose call it is.
            size: of the call; 0 when nobody knows.
            here: whether the call is held already.
        """
        consuming = self.consuming
        if consuming is None or 0 < size <= consuming.small or not self._lanes.limited:
            return True
        # What was too large before would be so again, fetched and given back.
        wanted = size or self._starved.get(lane, 0)
        if consuming.in_share(wanted, lambda: sizes(lane), here=here):
            self._starved.pop(lane, None)
            return True
        self._starved[lane] = wanted
        return False

    def starves(self, lane: Lane) -> bool:
        """Whether `lane` holds as many bytes as it may."""
        return lane in self._starved

    def serve_starved(self) -> None:
        """Those that may hold more by now."""
        for lane in list(self._starved):
            self._lanes.wants(lane)  # which sees whether it hangs
            self.serve(lane)

    def room(self, lane: Lane) -> int:
        """How many more calls of `lane` can be made ready now."""
        return self._places(lane) if self.in_share(lane, 0, here=False) else 0

    def _places(self, lane: Lane) -> int:
        """The same, whatever their size."""
        if lane.shut:
            return int(self.may_be_the_probe(lane))
        most = min(MOST_FETCHED, self._lanes.bound(lane))
        if lane.rank is not Rank.BAD:
            return most - len(lane.ready)
        # Many that hang would else hold all that may be held.
        spare = self.consuming is not None and self.consuming.spare
        return min(most, MOST_OF_A_SUSPECT) - len(lane.ready) if spare else 0

    def may_be_the_probe(self, lane: Lane) -> bool:
        """Whether a call of a lane that is shut may be ready, for the next probe."""
        if lane.ready or not self._lanes.bound(lane):
            return False
        return self.keeps_a_probe(lane)

    def keeps_a_probe(self, lane: Lane) -> bool:
        """Whether the next probe comes so soon that a call is kept for it: RabbitMQ
        closes a channel on which one is not settled for half an hour.
        """
        soon = lane.breaker.next_probe - time.monotonic() < KEEP_A_PROBE_SECONDS
        return soon and not lane.paused

    def arrived(self, delivery: AmqpDelivery) -> None:
        """Something has come of a bucket. Never waits."""
        lane, source = delivery.lane, delivery.source
        bucket = self._bucket_of[source]
        bucket.came_at = time.monotonic()
        if bucket.came(lane):
            self.to_count.add(bucket)
        if self._gone(delivery):
            return
        if self._takes(delivery):
            bucket.to_pass = 0
            self._lanes.offer(delivery)
        else:
            self.hold(bucket, delivery)
        if source.full:
            self.look_soon(bucket)

    def given_back(self, delivery: AmqpDelivery) -> None:
        """It was taken, and could not be settled: it is in its bucket again."""
        bucket = self.origin(delivery)
        if bucket is not None:
            bucket.comes_again(delivery.lane)

    def serve(self, lane: Lane) -> None:
        """Makes what is held of `lane` ready, and fetches more, if there is room."""
        for bucket in self.buckets.having(lane):
            while lane in bucket.held and self._takes(bucket.held[lane][0]):
                self._lanes.offer(self.let_go(bucket, lane))
            more = lane in bucket.counts and self.room(lane) > 0
            if more and self._lanes.wants(lane):
                self.fetch(bucket)
                if not lingers(lane):
                    self._widen(bucket)

    def hold(
        self, bucket: Bucket, delivery: AmqpDelivery, *, first: bool = False
    ) -> None:
        """It cannot be made ready now."""
        consuming, alone = self.consuming, not (first or bucket.held)
        bucket.hold(delivery, first=first)
        delivery.waits = consuming is not None and consuming.may_wait(delivery.size)
        if delivery.waits or consuming is None:
            return
        # Alone: one that could not be moved may be held for long.
        if alone and self._hides(bucket, delivery.lane):
            delivery.waits = consuming.may_wait(delivery.size, briefly=True)
            return
        consuming.too_large(delivery.source, delivery.size)
        bucket.too_large = True
        self.leave(bucket)  # there is no room for its bytes

    def let_go(self, bucket: Bucket, lane: Lane) -> AmqpDelivery:
        """The first call of `lane` that is held, for whatever comes next."""
        return self._waited(bucket.let_go(lane))

    def let_withdrawn_go(self) -> None:
        """Those held that were withdrawn."""
        for bucket in self.buckets:
            for delivery in bucket.let_some_go(self._gone):
                self._waited(delivery)

    def fetch(self, bucket: Bucket) -> None:
        """Something that is in it is wanted."""
        source = self._sources.get(bucket)
        if source is None or self.consuming is None:
            return
        bucket.too_large = False
        if source.paused:
            bucket.came_at = time.monotonic()
            self.consuming.resume(source)
        elif source.full:
            self.look_soon(bucket)

    def leave(self, bucket: Bucket) -> None:
        """Gives back what is held, and leaves it alone until something is wanted."""
        if self.consuming is None:
            return
        # First, or what is given back would come again.
        self.consuming.pause(self._sources[bucket])
        for delivery in bucket.let_all_go():
            self._waited(delivery).give_back()

    def write(self, bucket: Bucket, lane: Lane, call: Call) -> None:
        """Stores `call` in it.

        Raises:
            QueueUnavailable: it is not stored, or nobody knows.
        """
        # Counted first: it may come before its confirm.
        bucket.expect(lane)
        bucket.writing += 1
        try:
            self._write(bucket.name, call, lane.key)
        except BaseException:  # a deadline, too
            bucket.expect_less(lane)
            self.to_count.add(bucket)  # perhaps it is stored
            raise
        finally:
            bucket.writing -= 1
            bucket.written += 1

    def count(self, bucket: Bucket) -> None:
        """Compares what is known of a bucket with what the broker has."""
        if self.consuming is None:
            return
        self.to_count.discard(bucket)
        bucket.counted_at = time.monotonic()
        written = bucket.written
        try:
            told = self.consuming.channel.queue.declare(bucket.name, passive=True)
        except AMQPError:
            told = None  # the channel is lost, or RabbitMQ is slow
        # One that comes too late for its question is taken for that of the next one.
        if not isinstance(told, dict) or told.get("queue") != bucket.name:
            self.to_count.add(bucket)
            return
        # The answer comes behind what was delivered before it. What is being written
        # may be counted or not.
        number = int(told["message_count"])
        if bucket.writing or bucket.written != written:
            bucket.most = number + bucket.known
            self.to_count.add(bucket)
            return
        if number or self._silent(bucket):
            bucket.contains(number)
            return
        # A quorum queue whose leader does not answer in time is said to be empty:
        # {ok, 0, 0} in rabbit_quorum_queue:stat/2. It is, if nothing comes of it.
        self.to_count.add(bucket)
        self.fetch(bucket)

    def _takes(self, delivery: AmqpDelivery) -> bool:
        """Whether one that has come of a bucket can be made ready."""
        lane = delivery.lane
        return self._places(lane) > 0 and self.in_share(lane, delivery.size, here=True)

    def _hides(self, bucket: Bucket, lane: Lane) -> bool:
        """Whether a call of `lane` is moved, for the sake of what is behind it. Given
        back, it would be in the way again.
        """
        wants = self._lanes.wants
        return lingers(lane) and (bucket.unseen > 0 or bucket.is_wanted(wants))

    def _freed(self) -> None:
        if self._starved:
            self.news.set()

    def _silent(self, bucket: Bucket) -> bool:
        """Whether it is consumed, and nothing has come for a while."""
        source = self._sources[bucket]
        quiet = time.monotonic() - bucket.came_at > QUIET_SECONDS
        return quiet and bool(source.consumers) and not source.full

    def _widen(self, bucket: Bucket) -> None:
        if self.consuming is not None and not bucket.held:
            self.consuming.widen(self._sources[bucket], MOST_FETCHED)

    def _waited(self, delivery: AmqpDelivery) -> AmqpDelivery:
        if delivery.waits and self.consuming is not None:
            self.consuming.waited(delivery.size)
        delivery.waits = False
        return delivery

    def _survives(self, item: Item) -> bool:
        """Whether what is ready can be made; if not, it is where it was."""
        delivery = ours(item)
        bucket = self.origin(delivery)
        if bucket is not None and not delivery.alive:
            bucket.expect(delivery.lane)
        return delivery.alive
