"""Moves what is in the way: calls that cannot be made, before calls that are wanted.

What comes of a bucket comes in order. What is in the way of a lane that wants its calls
is written into another bucket. So is, slowly, what is in the way of something unknown:
nobody has told us what an earlier run, or another instance, has put there.
"""

import time
from functools import partial

from mspc.lanes.lane import Lane
from mspc.lanes.lanes import Lanes
from mspc.queues.amqp.buckets import Bucket, in_trouble, lingers
from mspc.queues.amqp.consuming import Consuming
from mspc.queues.amqp.delivery import AmqpDelivery
from mspc.queues.amqp.moving import MOVED_AT_ONCE, Moving
from mspc.queues.amqp.stock import QUIET_SECONDS, Stock

LOOK_EVERY_SECONDS = 0.25
# How often a bucket is counted: other instances write into it, and may be gone.
COUNT_AGAIN_SECONDS = 600.0
# How often a bucket that was left alone is asked whether it is wanted: whoever wants it
# has said so, and perhaps there was no room then.
ASK_AGAIN_SECONDS = 5.0
# How many calls a second are written elsewhere to see what is behind them.
LOOKED_THROUGH_A_SECOND = 200.0


class Unmixing:
    """Looks after the buckets, in one greenlet: it waits for the broker's answers."""

    def __init__(self, stock: Stock, lanes: Lanes) -> None:
        self._stock = stock
        self._lanes = lanes
        self._moving = Moving("set aside")
        self._looked_at = 0.0
        self._counted_at = 0.0
        self._asked_at = 0.0
        self._may_look_through = 0.0  # so many calls

    @property
    def patience(self) -> float:
        """After how many seconds to look around although there is no news."""
        busy = self._stock.to_count or not all(one.idle for one in self._stock.buckets)
        return LOOK_EVERY_SECONDS if busy else COUNT_AGAIN_SECONDS

    def forget(self) -> None:
        """What has not begun is not done."""
        self._moving.forget()

    def stop(self) -> None:
        self._moving.stop()

    def join(self, timeout: float) -> None:
        self._moving.join(timeout)

    def look(self) -> None:
        """Does what is to be done about the buckets now; waits for the broker."""
        consuming = self._stock.consuming
        if consuming is None or consuming.channel.lost.is_set():
            return
        now = time.monotonic()
        since = now - self._looked_at
        if since >= LOOK_EVERY_SECONDS:
            self._looked_at = now
            portion = LOOKED_THROUGH_A_SECOND * LOOK_EVERY_SECONDS
            self._may_look_through += LOOKED_THROUGH_A_SECOND * since
            self._may_look_through = min(portion, self._may_look_through)
            if now - self._counted_at > COUNT_AGAIN_SECONDS:
                self._counted_at = now
                self._stock.to_count.update(self._stock.buckets)
            asked = now - self._asked_at > ASK_AGAIN_SECONDS
            if asked:
                self._asked_at = now
            for bucket in self._stock.buckets:
                self._look_at_quiet(bucket, now, asked=asked)
        while self._stock.to_look_at:
            self._look_at_full(self._stock.to_look_at.pop())

    def _look_at_quiet(self, bucket: Bucket, now: float, *, asked: bool) -> None:
        source = self._stock.source(bucket)
        for lane in [*bucket.held]:
            self._stock.serve(lane)  # nobody tells when a probe may be kept
        quiet = now - bucket.came_at > QUIET_SECONDS and not source.full
        expected = source.consumers and (bucket.counts or bucket.unseen)
        wanted = bucket in self._stock.to_count or (quiet and expected)
        if wanted and now - bucket.counted_at > QUIET_SECONDS:
            self._stock.count(bucket)
        if source.paused:
            # What there was no room for would be given back at once, again and again.
            unseen = bucket.unseen and (asked or not bucket.too_large)
            if unseen or (asked and bucket.is_wanted(self._lanes.wants)):
                self._stock.fetch(bucket)
        elif quiet and bucket.held and not bucket.unseen:
            self._leave_if_bad(bucket)
        if source.full:
            self._stock.to_look_at.add(bucket)

    def _look_at_full(self, bucket: Bucket) -> None:
        """Decides what to do about what is held, when nothing else can come."""
        # Of now: while RabbitMQ was asked for something, the session may have ended.
        consuming = self._stock.consuming
        source = self._stock.source(bucket)
        if consuming is None or not source.full:
            return
        if not bucket.held:
            if not bucket.moving:
                consuming.grow(source)  # all that comes can be made ready
            return
        if self._wanted(bucket, probes=False):
            if source.window < MOVED_AT_ONCE:
                consuming.grow(source)
            in_the_way = [one for one in bucket.held if self._stock.room(one) <= 0]
            moved = self._move(bucket, in_the_way, MOVED_AT_ONCE)
            self._pass(bucket, moved)
        elif bucket.unseen or self._wanted(bucket, probes=True):
            in_the_way = [lane for lane in bucket.held if lingers(lane)]
            moved = self._move(bucket, in_the_way, int(self._may_look_through))
            self._may_look_through -= moved
        else:
            self._leave_if_bad(bucket)

    def _wanted(self, bucket: Bucket, *, probes: bool) -> list[Lane]:
        """Lanes that want what has not come, those in trouble for their probes."""
        return [
            lane
            for lane in [*bucket.counts]
            if lane not in bucket.held
            and not self._stock.starves(lane)
            and in_trouble(lane) == probes
            and self._lanes.wants(lane) > 0
        ]

    def _pass(self, bucket: Bucket, moved: int) -> None:
        """Stops looking for what is wanted when all that was in the bucket has come."""
        if not bucket.to_pass:
            most = bucket.most
            if bucket not in self._stock.to_count:
                most = bucket.known + bucket.unseen
            if most is None:
                return  # what an earlier run has put there may be much more
            bucket.to_pass = most + bucket.waiting + moved
        bucket.to_pass -= moved
        if bucket.to_pass <= 0:
            self._stop_wanting(bucket)

    def _stop_wanting(self, bucket: Bucket) -> None:
        """What is wanted is not there any more. Where that is wrong, it is counted, and
        looked through slowly.
        """
        bucket.to_pass = 0
        for lane in self._wanted(bucket, probes=False):
            bucket.not_there(lane)
        self._stock.to_count.add(bucket)

    def _leave_if_bad(self, bucket: Bucket) -> None:
        if not bucket.moving and all(map(lingers, bucket.held)):
            self._stock.leave(bucket)

    def _move(self, bucket: Bucket, lanes: list[Lane], most: int) -> int:
        """Moves held calls of `lanes` out of the way; how many."""
        count = min(most, MOVED_AT_ONCE - bucket.moving)
        moved = 0
        for lane in lanes:
            while moved < count and lane in bucket.held:
                delivery = self._stock.let_go(bucket, lane)
                bucket.moving += 1
                moved += 1
                self._moving.do(
                    partial(self._move_one, self._stock.consuming, bucket, delivery)
                )
        return moved

    def _move_one(
        self, consuming: Consuming | None, bucket: Bucket, delivery: AmqpDelivery
    ) -> None:
        lane, stock = delivery.lane, self._stock
        try:
            if not delivery.alive:
                return
            if stock.room(lane) > 0:  # it is wanted by now
                self._lanes.offer(delivery)
            else:
                home = stock.buckets.home(lane, but=bucket)
                stock.write(home, lane, delivery.call)
                delivery.ack()
            stock.look_soon(bucket)
        except Exception:
            # It is tried again when somebody looks around, not at once.
            if stock.consuming is consuming:
                stock.hold(bucket, delivery, first=True)
            raise
        finally:
            if stock.consuming is consuming:
                bucket.moving -= 1
