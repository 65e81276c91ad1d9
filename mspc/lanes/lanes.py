"""Whose turn it is: the calls of many origins share the consumers.

Decided when a delivery is taken, not in the pool: there, calls to a service that hangs
would hold every slot, and whatever is behind them would wait.
"""

import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable

from mspc.lanes.breaker import Breaker
from mspc.lanes.known import Known
from mspc.lanes.lane import Item, Lane, Rank, Turn
from mspc.lanes.slots import Slots
from mspc.lanes.state import remark_of
from mspc.lanes.steered import Steered
from mspc.lanes.suspects import Unproven
from mspc.lanes.turns import Turns

log = logging.getLogger(__name__)

# Calls of one lane that are ready in memory at most; the queue is asked for more below
# the lower number.
MOST_READY = 200
FEW_READY = 32
MOST_READY_OF_A_SUSPECT = 2


class Lanes(Steered):
    """All lanes of one queue.

    Attributes:
        limited: whether a lane can be kept from what others need.
    """

    limited = True

    def __init__(
        self,
        size: int,
        failures: int = 5,
        longest_probe: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            size: attempts in flight at once.
            failures: so many in a row shut a lane; 0 for never.
            longest_probe: seconds between two probes at most.
            clock: seconds that never step back.
            chance: uniform in [0, 1).
            wall: Unix seconds.
        """
        self._open: dict[str, Lane] = {}
        lanes = Known(
            lambda: Breaker(failures, longest_probe, chance), clock, self._forgotten
        )
        super().__init__(lanes, clock, wall)
        self._slots = Slots(size)
        self._turns = {rank: Turns(rank, self._slots) for rank in Rank}
        proven, new, bad = self._all_turns = tuple(self._turns.values())
        # Who goes first does so most of the time: always, and busy ones would starve
        # the others.
        self._orders = 6 * [(proven, new, bad)] + [
            (new, proven, bad),
            (bad, new, proven),
        ]
        self._takes = 0
        self._unproven = Unproven()

    def of(self, key: str) -> Lane:
        """The lane of that key; it is made when there is none."""
        return self._lanes.of(key)

    def offer(self, item: Item) -> None:
        """It can be taken as soon as its lane has its turn."""
        lane = item.lane
        lane.ready.append(item)
        if lane.turn is Turn.NONE:
            self._line_up(lane)
        self.changed.set()

    def prompt(self, lane: Lane) -> bool:
        """Whether a new call may be ready at once, rather than set aside."""
        if lane.paused or lane.breaker.open:
            return False
        most: float = MOST_READY_OF_A_SUSPECT if lane.rank is Rank.BAD else MOST_READY
        if lane.limit is not None:  # one that has to wait is in the way of others
            most = min(most, lane.limit.now(self._clock(), len(lane.out)))
        return len(lane.ready) < most

    def wants(self, lane: Lane) -> int:
        """How many more of its calls may be made ready now."""
        now = self._clock()
        if lane.paused:
            return 0
        most = self.bound(lane)
        if lane.breaker.open:
            return int(most > 0 and lane.breaker.may_probe(now) and not lane.ready)
        if self._rank(lane, now) is Rank.BAD:
            return max(0, min(most, MOST_READY_OF_A_SUSPECT) - len(lane.ready))
        few = min(FEW_READY, (most + 1) // 2)
        return most - len(lane.ready) if len(lane.ready) < few else 0

    def bound(self, lane: Lane) -> int:
        """How many of its calls may be ready, if it answers: those that go soon."""
        if lane.limit is None:
            return MOST_READY
        return int(min(MOST_READY, lane.limit.soon(self._clock(), len(lane.out))))

    def take(self) -> Item | None:
        """What is to be attempted next, None for nothing; ended() follows."""
        now = self._clock()
        if self._alarms.next_at <= now:
            for one in self._alarms.ring(now):
                self._look_at(one)
        self._takes += 1
        order = self._orders[self._takes % len(self._orders)]
        while True:
            for turns in order:
                while (lane := turns.next()) is not None:
                    if lane.ready:
                        self._rank(lane, now)
                    # The keeper has taken back what a suspect had, or lined it up anew.
                    if not lane.ready or lane.turn is Turn.RING:
                        continue
                    if self._slots.admits(lane, now):
                        return self._taken(lane, now)
                    self._block(lane, now)
            # Where some turn out to hang, others have their turn.
            ranks = [self._rank(one, now) for one in self._unproven.due(now)]
            if Rank.BAD not in ranks:
                return None

    def wait(self) -> None:
        """Returns when there may be something to take."""
        self.changed.clear()
        look_at = self._unproven.next_at if self._turns[Rank.NEW] else math.inf
        left = min(self._alarms.next_at, look_at) - self._clock()
        if left > 0:
            self.changed.wait(left if left < math.inf else None)

    def not_made(self, item: Item) -> None:
        """What was taken needs no attempt; ended() follows.

        It has asked nothing: calls that are too old would else use up each probe, and
        each token.
        """
        lane = item.lane
        if lane.limit is not None and item in lane.out:
            lane.limit.untaken()
        if item is lane.probe and lane.breaker.open:
            lane.breaker.unprobed(self._clock())

    def ended(self, item: Item) -> None:
        """What was taken is over, and its attempt judged if it was made."""
        lane = item.lane
        if item not in lane.out:
            return
        if lane.turn is Turn.HELD:
            self._turns[lane.rank].let_go(lane)
        del lane.out[item]
        if item is lane.probe:
            lane.probe = None
        self._slots.ended(lane)
        if lane.rank is Rank.BAD:  # perhaps it was one only for what has ended
            self._rank(lane, self._clock())
        if lane.limit is not None or lane.breaker.open:
            self._look_at(lane)
        elif lane.ready and lane.turn is not Turn.RING:
            self._line_up(lane)
        for turns in self._all_turns:
            if turns.any():
                self.changed.set()
                return

    def judge(
        self,
        lane: Lane,
        reachable: bool | None,
        seconds: float,
        alone: float = 0.0,
    ) -> None:
        """What an attempt tells of the service, before its delivery is settled.

        Args:
            lane: where it was taken from.
            reachable: whether the service gave a sign of life; None when the attempt
                says nothing of it.
            seconds: how long the attempt took.
            alone: for how many seconds the service wants to be left alone.
        """
        if reachable is None:
            return
        now = self._clock()
        if not reachable:
            if lane.breaker.failed(now, alone):
                self._shut(lane, now)
            elif alone:  # the next probe may be later than when it is looked at
                self._await_turn(lane, now)
                if lane.breaker.open:
                    self.keeper.shut(lane)  # what is ready for it, too
            return
        lane.answered(now, seconds)
        reopened = lane.breaker.succeeded(now)
        if lane.rank is not Rank.PROVEN:  # it waits no more with those that are not
            self._rank(lane, now)
        if reopened:
            self._reopen(lane)

    def forget(self, keep: Callable[[Item], bool]) -> None:
        """Lets go what is ready and not to be kept: it has been lost."""
        for lane in self._lanes:
            if lane.ready:
                lane.ready = deque(filter(keep, lane.ready))
                # What comes again is to be lined up, whatever the lane waited for.
                if not lane.ready and lane.turn is Turn.BLOCKED:
                    lane.turn = Turn.NONE

    def remark(self) -> str | None:
        """Which services do not answer, and what waits for them; None for none."""
        return remark_of(self._open.values(), self._clock())

    def _forgotten(self, lane: Lane) -> None:
        self._open.pop(lane.key, None)

    def _rank(self, lane: Lane, now: float) -> Rank:
        before = lane.rank
        rank = self._slots.ranked(lane, now)
        if rank is not before:
            self._has_moved(lane, before)
            if rank is Rank.BAD:
                self.changed.set()  # there may be room for others
                self.keeper.shut(lane)
                if lane.aside:
                    self.keeper.hungry(lane)
        return rank

    def _has_moved(self, lane: Lane, before: Rank) -> None:
        """It has its turns among others from here on."""
        if lane.turn in (Turn.RING, Turn.HELD):
            self._turns[before].let_go(lane)
            self._line_up(lane)

    def _taken(self, lane: Lane, now: float) -> Item:
        item = lane.ready.popleft()
        lane.out[item] = now
        self._slots.taken(lane)
        if lane.rank is Rank.NEW and len(lane.out) == 1:
            self._unproven.watch(lane, now)
        if lane.limit is not None:
            lane.limit.taken(now)
            self._await_turn(lane, now)
        if lane.breaker.open:
            lane.breaker.probed(now)
            lane.probe = item
            self._await_turn(lane, now)
        if lane.ready:
            self._line_up(lane)
        if lane.aside and len(lane.ready) < FEW_READY:
            self.keeper.hungry(lane)
        return item

    def _block(self, lane: Lane, now: float) -> None:
        """Out of the ring until one of its attempts ends, or until there is room, or
        the time has come.
        """
        out = len(lane.out)
        lane.turn = Turn.BLOCKED
        if lane.paused:
            return
        limited = lane.limit is not None and not lane.limit.admits(now, out)
        if limited or (lane.breaker.open and not lane.breaker.may_probe(now)):
            self._await_turn(lane, now)
        elif not lane.breaker.open and out >= lane.breaker.cap(now):
            self._set_alarm(lane, lane.breaker.next_step(now))
        elif self._slots.full(lane.rank):  # its rank is not that of its ring any more
            self._line_up(lane)
        else:
            self._turns[lane.rank].hold(lane)

    def _line_up(self, lane: Lane) -> None:
        self._turns[lane.rank].add(lane)

    def _look_at(self, lane: Lane) -> None:
        """Something about `lane` has changed: perhaps it has its turn."""
        if lane.turn is Turn.BLOCKED:
            lane.turn = Turn.NONE  # of what is offered next, too
        if lane.turn is Turn.NONE and lane.ready:
            self._line_up(lane)
        if lane.aside:
            self.keeper.hungry(lane)
        self._await_turn(lane, self._clock())
        self.changed.set()

    def _shut(self, lane: Lane, now: float) -> None:
        self._open[lane.key] = lane
        lane.proven = False
        before = lane.rank
        if self._slots.ranked(lane, now) is not before:
            self._has_moved(lane, before)
        log.warning(
            "%s does not answer: its calls wait (%d now), one in %.1f s asks again",
            lane.key,
            lane.waiting,
            lane.breaker.next_probe - now,
        )
        self._set_alarm(lane, lane.breaker.next_probe)
        self.keeper.shut(lane)

    def _reopen(self, lane: Lane) -> None:
        self._open.pop(lane.key, None)
        log.info("%s answers again: %d calls wait for it", lane.key, lane.waiting)
        self._look_at(lane)
