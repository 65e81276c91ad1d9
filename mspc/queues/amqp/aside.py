"""Calls that must not be in the way of others: set aside, and fetched when wanted.

They lie in a few queues of the broker, the buckets; `buckets` knows which. A bucket is
consumed while what comes can be made ready. When all that it may have ahead belongs to
lanes that cannot take it, that is given back, and the bucket is left alone, so that it
costs nothing, until one of its lanes wants more.

What is in the way of a lane that wants its calls is written into another bucket. So is,
slowly, what is in the way of something unknown: nobody has told us what an earlier run,
or another instance, has put there.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from amqpstorm.exception import AMQPError
from gevent.event import Event

from mspc.calls.call import Call
from mspc.lanes.lane import Item, Lane, Rank
from mspc.lanes.lanes import FEW_READY, Lanes
from mspc.process.greenlets import Watched
from mspc.queues.amqp.buckets import Bucket, Buckets, in_trouble
from mspc.queues.amqp.consuming import Consuming, Source
from mspc.queues.amqp.delivery import AmqpDelivery
from mspc.queues.amqp.moving import MOVED_AT_ONCE, Moving

# The calls of a lane that are made ready from its buckets, and of one that hangs.
MOST_FETCHED = 2 * FEW_READY
MOST_OF_A_SUSPECT = 2
# A call that is ready for the next probe is not kept longer; see HOLD_SECONDS.
KEEP_A_PROBE_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.25
# Nothing has come of a bucket for so long: perhaps nothing is in it.
QUIET_SECONDS = 1.0
# How often a bucket is counted: other instances write into it, and may be gone.
COUNT_AGAIN_SECONDS = 600.0
# How many calls a second are written elsewhere to see what is behind them.
LOOKED_THROUGH_A_SECOND = 200.0
STOP_SECONDS = 2.0

Write = Callable[[str, Call, str], None]


class Aside:
    """The keeper of the calls of one AmqpQueue that are not ready."""

    def __init__(
        self,
        write: Write,
        lanes: Lanes,
        names: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            write: stores a call in the queue of that name, with its lane; returns when
                it is confirmed, and raises QueueUnavailable when it is not.
            lanes: whose turn it is.
            names: of the buckets.
            clock: seconds that never step back; that of `lanes`.
        """
        self._write_to = write
        self._lanes = lanes
        self._buckets = Buckets(names)
        self._clock = clock
        self._parking, self._unmixing = Moving(), Moving()
        self._consuming: Consuming | None = None
        self._sources: dict[Bucket, Source] = {}
        self._bucket_of: dict[Source, Bucket] = {}
        self._shut: set[Lane] = set()
        self._to_look_at: set[Bucket] = set()
        self._to_count: set[Bucket] = set()
        self._counted_at = 0.0
        self._looked_at = 0.0
        self._may_look_through = 0.0
        self._news = Event()
        self._stopped = False
        self._worker = Watched("keeper of the calls set aside", self._keep)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """Begins nothing more."""
        self._stopped = True
        self._parking.stop()
        self._unmixing.stop()
        self._news.set()

    def join(self) -> None:
        """Returns when nothing of it runs."""
        self._parking.join(STOP_SECONDS)
        self._unmixing.join(STOP_SECONDS)
        self._worker.stop(STOP_SECONDS)

    def problem(self) -> str | None:
        return self._worker.problem()

    def use(self, consuming: Consuming) -> None:
        """Everything that came on another channel is lost: it comes again."""
        self._parking.forget()
        self._unmixing.forget()
        self._lanes.forget(self._survives)
        self._consuming = consuming
        self._sources = {one: consuming.source(one.name) for one in self._buckets}
        self._bucket_of = {self._sources[one]: one for one in self._buckets}
        for bucket in self._buckets:
            bucket.let_all_go()
            bucket.moving = 0
            self._to_count.add(bucket)
        self._news.set()

    # What the queue asks and tells

    def fits(self, lane: Lane, free: int) -> bool:
        """Whether a call of `lane` may be ready, or soon, where `free` more may be.

        As in the pool: a lane may have so many as are free, so that others have room.
        """
        if not self._lanes.limited:
            return True
        if lane.shut:
            return self._may_be_the_probe(lane)
        mine = len(lane.ready) + len(lane.out)
        return free > 0 and (mine < free or not mine) and self._lanes.prompt(lane)

    def put(self, lane: Lane, call: Call) -> None:
        """Stores a call aside.

        Raises:
            QueueUnavailable: it is not stored, or nobody knows.
        """
        self._write(self._buckets.home(lane), lane, call)
        self.hungry(lane)

    def park(self, delivery: AmqpDelivery, failed: Callable[[], None]) -> None:
        """Puts what came of another queue into a bucket. Never waits.

        Args:
            delivery: of the main queue, or due from the ladder.
            failed: called when it could not be stored: it is lent still.
        """
        self._parking.do(partial(self._park, delivery, failed))

    def arrived(self, delivery: AmqpDelivery) -> None:
        """Something has come of a bucket. Never waits."""
        source, lane = delivery.source, delivery.lane
        bucket = self._bucket_of[source]
        bucket.came_at = self._clock()
        bucket.came(lane)
        if self._room(lane) > 0:
            self._lanes.offer(delivery)
        else:
            self._hold(bucket, delivery)
        if source.full:
            self._look_soon(bucket)

    # What lanes ask and tell

    def hungry(self, lane: Lane) -> None:
        room = self._room(lane)
        if room <= 0:
            return
        for bucket in self._buckets.having(lane):
            while room > 0 and lane in bucket.held:
                self._let_go(bucket, lane)
                room -= 1
            if room > 0 and lane in bucket.counts and self._lanes.wants(lane):
                self._fetch(bucket)

    def shut(self, lane: Lane) -> None:
        # Later: whoever tells it is about to take something.
        self._shut.add(lane)
        self._news.set()

    def _room(self, lane: Lane) -> int:
        """How many more calls of `lane` can be made ready now."""
        if lane.shut:
            return int(self._may_be_the_probe(lane))
        most = MOST_OF_A_SUSPECT if lane.rank is Rank.BAD else MOST_FETCHED
        return most - len(lane.ready)

    def _may_be_the_probe(self, lane: Lane) -> bool:
        if lane.paused or lane.ready:
            return False
        return lane.breaker.next_probe - self._clock() < KEEP_A_PROBE_SECONDS

    # What the keeper does, in its own greenlet

    def _keep(self) -> None:
        while not self._stopped:
            busy = self._to_count or not all(one.idle for one in self._buckets)
            self._news.wait(LOOK_EVERY_SECONDS if busy else COUNT_AGAIN_SECONDS)
            self._news.clear()
            if self._stopped or self._consuming is None:
                continue
            while self._shut:
                self._withdraw(self._shut.pop())
            self._look_around(self._consuming)
            while self._to_look_at:
                self._look_at(self._consuming, self._to_look_at.pop())

    def _look_around(self, consuming: Consuming) -> None:
        now = self._clock()
        since = now - self._looked_at
        if since < LOOK_EVERY_SECONDS or consuming.channel.lost.is_set():
            return
        self._looked_at = now
        portion = LOOKED_THROUGH_A_SECOND * LOOK_EVERY_SECONDS
        fresh = min(portion, LOOKED_THROUGH_A_SECOND * since)
        self._may_look_through = min(portion, self._may_look_through + fresh)
        if now - self._counted_at > COUNT_AGAIN_SECONDS:
            self._counted_at = now
            self._to_count.update(self._buckets)
        for bucket in self._buckets:
            source = self._sources[bucket]
            for lane in [*bucket.held]:
                self.hungry(lane)  # nobody has to tell that a probe may be kept
            quiet = now - bucket.came_at > QUIET_SECONDS and not source.full
            if bucket in self._to_count or (
                quiet and self._asks(bucket, source)
            ):
                self._count(consuming, bucket)
            if source.paused:
                if bucket.unseen:
                    self._fetch(bucket)
            elif quiet and bucket.held and not bucket.unseen:
                self._leave_if_bad(consuming, bucket)
            if source.full:
                self._to_look_at.add(bucket)

    @staticmethod
    def _asks(bucket: Bucket, source: Source) -> bool:
        """Whether something should have come that has not."""
        return bool(source.consumers and (bucket.counts or bucket.unseen))

    def _look_at(self, consuming: Consuming, bucket: Bucket) -> None:
        """Decides what to do about what is held, when nothing else can come."""
        source = self._sources[bucket]
        if not source.full or consuming.channel.lost.is_set():
            return
        if not bucket.held:
            if not bucket.moving:
                consuming.grow(source)  # all that comes can be made ready
            return
        if self._wanted(bucket, probes=False):
            if source.window < MOVED_AT_ONCE:
                consuming.grow(source)
            in_the_way = [lane for lane in bucket.held if self._room(lane) <= 0]
            self._move(consuming, bucket, in_the_way, MOVED_AT_ONCE)
        elif bucket.unseen or self._wanted(bucket, probes=True):
            in_the_way = [lane for lane in bucket.held if in_trouble(lane)]
            most = int(self._may_look_through)
            self._may_look_through -= self._move(consuming, bucket, in_the_way, most)
        else:
            self._leave_if_bad(consuming, bucket)

    def _wanted(self, bucket: Bucket, *, probes: bool) -> bool:
        """Whether a lane wants what has not come, one in trouble for its probe."""
        return any(
            in_trouble(lane) == probes and self._lanes.wants(lane) > 0
            for lane in [*bucket.counts]
            if lane not in bucket.held
        )

    def _leave_if_bad(self, consuming: Consuming, bucket: Bucket) -> None:
        if not bucket.moving and all(map(in_trouble, bucket.held)):
            self._leave(consuming, bucket)

    def _leave(self, consuming: Consuming, bucket: Bucket) -> None:
        """Gives back what is held, until something of it is wanted."""
        # First, or what is given back would come again.
        consuming.pause(self._sources[bucket])
        for delivery in bucket.let_all_go():
            self._waited(delivery).give_back()

    def _count(self, consuming: Consuming, bucket: Bucket) -> None:
        """Compares what is known of a bucket with what the broker has."""
        self._to_count.discard(bucket)
        bucket.came_at = self._clock()
        writing = bucket.writing
        try:
            told = consuming.channel.queue.declare(bucket.name, passive=True)
        except AMQPError:
            return  # the channel is lost
        # The answer comes behind what was delivered before it. What is being written
        # may be counted or not.
        if isinstance(told, dict) and not (writing or bucket.writing):
            bucket.contains(int(told["message_count"]))

    def _fetch(self, bucket: Bucket) -> None:
        """Something that is in it is wanted."""
        source = self._sources.get(bucket)
        if source is None or self._consuming is None:
            return
        if source.paused:
            bucket.came_at = self._clock()
            self._consuming.resume(source)
        elif source.full:
            self._look_soon(bucket)

    def _look_soon(self, bucket: Bucket) -> None:
        self._to_look_at.add(bucket)
        self._news.set()

    def _withdraw(self, lane: Lane) -> None:
        """Takes back what is ready in a lane that shut, or hangs."""
        if not in_trouble(lane):
            return
        most = int(not lane.paused) if lane.shut else MOST_OF_A_SUSPECT
        while len(lane.ready) > most:
            delivery = _ours(lane.ready.pop())
            bucket = self._bucket_of.get(delivery.source)
            if not delivery.alive:
                continue
            if bucket is None:
                self.park(delivery, partial(self._lanes.offer, delivery))
            else:
                self._hold(bucket, delivery, first=True)
                self._to_look_at.add(bucket)

    # What is held, and let go

    def _hold(
        self, bucket: Bucket, delivery: AmqpDelivery, *, first: bool = False
    ) -> None:
        consuming = self._consuming
        bucket.hold(delivery, first=first)
        delivery.waits = consuming is not None and consuming.may_wait(delivery.size)
        if consuming is not None and not delivery.waits:
            self._leave(consuming, bucket)  # no room for its bytes

    def _let_go(self, bucket: Bucket, lane: Lane) -> None:
        self._lanes.offer(self._waited(bucket.let_go(lane)))

    def _waited(self, delivery: AmqpDelivery) -> AmqpDelivery:
        if delivery.waits and self._consuming is not None:
            self._consuming.waited(delivery.size)
        delivery.waits = False
        return delivery

    def _survives(self, item: Item) -> bool:
        """Whether what is ready can be made; if not, it is where it was."""
        delivery = _ours(item)
        bucket = self._bucket_of.get(delivery.source)
        if bucket is not None and not delivery.alive:
            bucket.expect(delivery.lane)
        return delivery.alive

    # What is written

    def _park(self, delivery: AmqpDelivery, failed: Callable[[], None]) -> None:
        lane = delivery.lane
        if not delivery.alive:
            return
        if self.fits(lane, delivery.source.free + 1):  # its lane has come back
            self._lanes.offer(delivery)
            return
        try:
            self._write(self._buckets.home(lane), lane, delivery.call)
        except Exception:
            failed()
            raise
        delivery.ack()
        self.hungry(lane)

    def _move(
        self, consuming: Consuming, bucket: Bucket, lanes: list[Lane], most: int
    ) -> int:
        """Moves held calls of `lanes` out of the way; how many."""
        count = min(most, MOVED_AT_ONCE - bucket.moving)
        moved = 0
        for lane in lanes:
            while moved < count and lane in bucket.held:
                delivery = self._waited(bucket.let_go(lane))
                bucket.moving += 1
                moved += 1
                self._unmixing.do(partial(self._move_one, consuming, bucket, delivery))
        return moved

    def _move_one(
        self, consuming: Consuming, bucket: Bucket, delivery: AmqpDelivery
    ) -> None:
        lane = delivery.lane
        try:
            if not delivery.alive:
                return
            self._look_soon(bucket)
            if self._room(lane) > 0:  # it is wanted by now
                self._lanes.offer(delivery)
                return
            self._write(self._buckets.home(lane, but=bucket), lane, delivery.call)
            delivery.ack()
            self._look_soon(bucket)
        except Exception:
            if self._consuming is consuming:
                self._hold(bucket, delivery, first=True)
            raise
        finally:
            if self._consuming is consuming:
                bucket.moving -= 1

    def _write(self, bucket: Bucket, lane: Lane, call: Call) -> None:
        # Counted first: it may come before its confirm.
        bucket.expect(lane)
        bucket.writing += 1
        try:
            self._write_to(bucket.name, call, lane.key)
        except BaseException:  # a deadline, too
            bucket.expect_less(lane)
            self._to_count.add(bucket)  # perhaps it is stored
            raise
        finally:
            bucket.writing -= 1


def _ours(item: Item) -> AmqpDelivery:
    assert isinstance(item, AmqpDelivery)
    return item
