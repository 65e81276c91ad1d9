"""Whose turn it is: the calls of many origins share the consumers.

Decided when a delivery is taken, not in the pool: there, calls to a service that hangs
would hold every slot, and whatever is behind them would wait.
"""

import heapq
import itertools
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from gevent.event import Event

from mspc.lanes.breaker import Breaker
from mspc.lanes.keeper import Keeper, Nobody
from mspc.lanes.lane import Item, Lane, Rank, Turn
from mspc.lanes.slots import Slots

log = logging.getLogger(__name__)

# Calls of one lane that are ready in memory at most; the queue is asked for more below
# the lower number.
MOST_READY = 200
FEW_READY = 32
MOST_READY_OF_A_SUSPECT = 2

REMEMBERED_LANES = 10_000
# Beyond them, unknown origins share these.
SHARED_LANES = 256
_LOOK_AT = 8  # of the oldest lanes, whether one can be forgotten

TOLD_LANES = 5


class Lanes:
    """All lanes of one queue.

    Attributes:
        changed: set when there may be something to take.
        keeper: told what to make ready.
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
    ) -> None:
        """
        Args:
            size: attempts in flight at once.
            failures: so many in a row shut a lane; 0 for never.
            longest_probe: seconds between two probes at most.
            clock: seconds that never step back.
            chance: uniform in [0, 1).
        """
        self.changed = Event()
        self.keeper: Keeper = Nobody()
        self._slots = Slots(size)
        self._failures = failures
        self._longest_probe = longest_probe
        self._clock = clock
        self._chance = chance
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._rings: dict[Rank, deque[Lane]] = {rank: deque() for rank in Rank}
        proven, new, bad = self._rings.values()
        # Who goes first does so most of the time: always, and busy ones would starve
        # the others.
        self._orders = 6 * [(proven, new, bad)] + [
            (new, proven, bad),
            (bad, new, proven),
        ]
        self._takes = 0
        self._blocked: list[Lane] = []
        self._alarms: list[tuple[float, int, Lane]] = []
        self._order = itertools.count()
        self._open: dict[str, Lane] = {}

    def of(self, key: str) -> Lane:
        """The lane of that key; it is made when there is none."""
        lane = self._lanes.get(key)
        if lane is not None:
            self._lanes.move_to_end(key)
            return lane
        if len(self._lanes) >= REMEMBERED_LANES and not self._forget_one():
            shared = f"others, {hash(key) % SHARED_LANES}"
            lane = self._lanes.get(shared)
            if lane is not None:
                return lane
            key = shared
        breaker = Breaker(self._failures, self._longest_probe, self._chance)
        lane = self._lanes[key] = Lane(key, breaker)
        return lane

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
        most = MOST_READY_OF_A_SUSPECT if lane.rank is Rank.BAD else MOST_READY
        return len(lane.ready) < most

    def wants(self, lane: Lane) -> int:
        """How many more of its calls may be made ready now."""
        now = self._clock()
        if lane.paused:
            return 0
        if lane.breaker.open:
            return int(lane.breaker.may_probe(now) and not lane.ready)
        if self._rank(lane, now) is Rank.BAD:
            return max(0, MOST_READY_OF_A_SUSPECT - len(lane.ready))
        return MOST_READY - len(lane.ready) if len(lane.ready) < FEW_READY else 0

    def take(self) -> Item | None:
        """What is to be attempted next, None for nothing; ended() follows."""
        now = self._clock()
        if self._alarms and self._alarms[0][0] <= now:
            self._ring(now)
        self._takes += 1
        for ring in self._orders[self._takes % len(self._orders)]:
            while ring:
                lane = ring.popleft()
                lane.turn = Turn.NONE
                if not lane.ready:
                    continue
                self._rank(lane, now)
                if not lane.ready:  # the keeper has taken back what a suspect had
                    continue
                if not self._slots.admits(lane, now):
                    self._block(lane, now)
                    continue
                return self._taken(lane, now)
        return None

    def wait(self) -> None:
        """Returns when there may be something to take."""
        self.changed.clear()
        left = self._alarms[0][0] - self._clock() if self._alarms else None
        if left is None or left > 0:
            self.changed.wait(left)

    def ended(self, item: Item) -> None:
        """The attempt of what was taken is over, and judged."""
        lane = item.lane
        if lane.out.pop(item, None) is None:
            return
        self._slots.ended(lane)
        if self._blocked:
            blocked, self._blocked = self._blocked, []
            for one in blocked:
                if one.turn is Turn.BLOCKED:
                    self._line_up(one)
            self.changed.set()

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
            return
        lane.answered(now, seconds)
        if lane.breaker.succeeded(now):
            self._reopen(lane)

    def forget(self, keep: Callable[[Item], bool]) -> None:
        """Lets go what is ready and not to be kept: it has been lost."""
        for lane in self._lanes.values():
            if lane.ready:
                lane.ready = deque(filter(keep, lane.ready))
                # What comes again is to be lined up, whatever the lane waited for.
                if not lane.ready and lane.turn is Turn.BLOCKED:
                    lane.turn = Turn.NONE

    def pause(self, key: str) -> None:
        """None of its calls is made until resume()."""
        lane = self.of(key)
        if not lane.paused:
            lane.paused = True
            self.keeper.shut(lane)

    def resume(self, key: str) -> None:
        lane = self.of(key)
        lane.paused = False
        self._look_at(lane)

    def remark(self) -> str | None:
        """Which services do not answer, and what waits for them; None for none."""
        if not self._open:
            return None
        lanes = sorted(self._open.values(), key=lambda lane: -lane.waiting)
        told = [f"{lane.key} ({lane.waiting} calls wait)" for lane in lanes]
        more = len(told) - TOLD_LANES
        rest = f" and {more} more" if more > 0 else ""
        return f"No answer from {', '.join(told[:TOLD_LANES])}{rest}."

    def _rank(self, lane: Lane, now: float) -> Rank:
        before = lane.rank
        rank = self._slots.ranked(lane, now)
        if rank is Rank.BAD and before is not Rank.BAD:
            self.keeper.shut(lane)
            if lane.aside:
                self.keeper.hungry(lane)
        return rank

    def _taken(self, lane: Lane, now: float) -> Item:
        item = lane.ready.popleft()
        lane.out[item] = now
        self._slots.taken(lane)
        if lane.breaker.open:
            lane.breaker.probed(now)
            self._set_alarm(lane, lane.breaker.next_probe)
        if lane.ready:
            self._line_up(lane)
        if lane.aside and len(lane.ready) < FEW_READY:
            self.keeper.hungry(lane)
        return item

    def _block(self, lane: Lane, now: float) -> None:
        """Out of the ring until an attempt ends, or the time has come."""
        lane.turn = Turn.BLOCKED
        if lane.paused:
            return
        if lane.breaker.open and not lane.breaker.may_probe(now):
            self._set_alarm(lane, lane.breaker.next_probe)
            return
        self._blocked.append(lane)
        if len(lane.out) >= lane.breaker.cap(now):
            self._set_alarm(lane, lane.breaker.next_step(now))

    def _line_up(self, lane: Lane) -> None:
        lane.turn = Turn.RING
        self._rings[lane.rank].append(lane)

    def _look_at(self, lane: Lane) -> None:
        """Something about `lane` has changed: perhaps it has its turn."""
        if lane.turn is not Turn.RING:
            lane.turn = Turn.NONE  # of what is offered next, too
            if lane.ready:
                self._line_up(lane)
        if lane.aside:
            self.keeper.hungry(lane)
        self.changed.set()

    def _set_alarm(self, lane: Lane, at: float) -> None:
        if at < lane.alarm:
            lane.alarm = at
            heapq.heappush(self._alarms, (at, next(self._order), lane))
            self.changed.set()

    def _ring(self, now: float) -> None:
        while self._alarms and self._alarms[0][0] <= now:
            at, _, lane = heapq.heappop(self._alarms)
            if at == lane.alarm:
                lane.alarm = float("inf")
                self._look_at(lane)

    def _shut(self, lane: Lane, now: float) -> None:
        self._open[lane.key] = lane
        lane.proven = False
        self._slots.ranked(lane, now)
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

    def _forget_one(self) -> bool:
        for _ in range(_LOOK_AT):
            key, lane = next(iter(self._lanes.items()))
            if lane.idle:
                del self._lanes[key]
                return True
            self._lanes.move_to_end(key)
        return False
