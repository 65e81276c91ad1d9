"""What is known of the queues for calls that were set aside. Pure: no broker here.

There are few of these buckets, and each may hold calls of several lanes. Where a lane's
calls are is a matter of memory, not of the broker: another instance, or this one after
a restart, has to look. So every number here is what we know; there may be more.
"""

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from mspc.lanes.lane import Lane, Rank
from mspc.queues.amqp.delivery import AmqpDelivery


def in_trouble(lane: Lane) -> bool:
    """Whether it does not answer, or seems so, or is to wait."""
    return lane.shut or lane.rank is Rank.BAD


def lingers(lane: Lane) -> bool:
    """Whether what it has may wait for long: it must not be in the way of others."""
    return lane.limit is not None or in_trouble(lane)


def answers(lane: Lane) -> bool:
    """Whether it has answered lately: what it has too much of will be made soon."""
    return lane.proven and not lane.shut and lane.limit is None


@dataclass(slots=True, eq=False)
class Bucket:
    """One queue for calls that were set aside.

    Attributes:
        name: the queue's.
        counts: how many calls of each lane are to come of it, as far as we know.
        held: what has come and cannot be made ready, by lane, in order.
        moving: deliveries that are being written elsewhere.
        writing: calls that are being written into it.
        written: calls that were written into it, or perhaps were.
        unseen: how many calls are to come of which nobody knows the lane.
        ahead: how many are to come until all of those have, while there are any.
        behind: what was put behind them since, by lane.
        most: how many are to come at most, as the broker has said while something was
            being written; None when it has not said since.
        to_pass: how many are to be moved out of the way until what is wanted must have
            come; 0 when something wanted has just come, nothing is wanted, or nobody
            knows.
        too_large: whether there was no room for what is next in it, and nothing has
            wanted it since.
        came_at: when something came last, or could begin to, in seconds of the clock.
        counted_at: when the broker was asked last, the same.
    """

    name: str
    counts: dict[Lane, int] = field(default_factory=dict)
    held: dict[Lane, deque[AmqpDelivery]] = field(default_factory=dict)
    moving: int = 0
    writing: int = 0
    written: int = 0
    unseen: int = 0
    ahead: int = 0
    behind: dict[Lane, int] = field(default_factory=dict)
    most: int | None = None
    to_pass: int = 0
    too_large: bool = False
    came_at: float = 0.0
    counted_at: float = 0.0

    @property
    def known(self) -> int:
        """How many calls are to come, as far as we know."""
        return sum(self.counts.values())

    @property
    def waiting(self) -> int:
        """How many calls have come and are held."""
        return sum(map(len, self.held.values()))

    def is_wanted(self, wants: Callable[[Lane], int]) -> bool:
        """Whether a lane `wants` more, of what it is known to have here."""
        return any(map(wants, [*self.counts]))

    @property
    def idle(self) -> bool:
        """Whether nothing is in it, as far as we know."""
        busy = self.moving or self.writing
        return not (self.counts or self.held or self.unseen or busy)

    def expect(self, lane: Lane) -> None:
        """A call of `lane` is to come."""
        self._put_on(lane)
        if self.ahead:
            self.behind[lane] = self.behind.get(lane, 0) + 1

    def comes_again(self, lane: Lane) -> None:
        """A call of `lane` that has come is given back, before all that are to come."""
        self._put_on(lane)
        if self.ahead:
            self.ahead += 1

    def came(self, lane: Lane) -> bool:
        """One has come. Whether it was the last of those that nobody knew.

        It may be one that nobody knew of, the delivery of an attempt that was lost with
        its channel; but what is left is known in number. What was put behind those that
        nobody knows comes after them: taken for one of these, it would leave them
        unknown, and what is in their way be moved, for ever.
        """
        if self.counts.get(lane, 0) > self.behind.get(lane, 0):
            self._take_off(lane)
        elif self.unseen:
            self.unseen -= 1
        if not self.ahead:
            return False
        self.ahead -= 1
        if self.ahead and self.unseen:
            return False
        self.unseen = self.ahead = 0
        self.behind.clear()
        return True

    def expect_less(self, lane: Lane) -> None:
        """One that was expected last is not to come."""
        self._take_off(lane)
        if self.behind.get(lane):
            self.behind[lane] -= 1

    def not_there(self, lane: Lane) -> None:
        """None of its calls is to come: another instance has taken them."""
        lane.aside -= self.counts.pop(lane, 0)
        self.behind.pop(lane, None)

    def _put_on(self, lane: Lane) -> None:
        self.counts[lane] = self.counts.get(lane, 0) + 1
        lane.aside += 1

    def _take_off(self, lane: Lane) -> None:
        left = self.counts.get(lane, 0)
        if not left:
            return
        lane.aside -= 1
        if left > 1:
            self.counts[lane] = left - 1
        else:
            del self.counts[lane]

    def hold(self, delivery: AmqpDelivery, *, first: bool = False) -> None:
        """It has come and cannot be made ready."""
        held = self.held.setdefault(delivery.lane, deque())
        if first:
            held.appendleft(delivery)
        else:
            held.append(delivery)
        delivery.lane.aside += 1

    def let_go(self, lane: Lane) -> AmqpDelivery:
        """The first of its calls that is held, which is not held any more."""
        held = self.held[lane]
        delivery = held.popleft()
        if not held:
            del self.held[lane]
        lane.aside -= 1
        return delivery

    def let_some_go(
        self, unwanted: Callable[[AmqpDelivery], bool]
    ) -> list[AmqpDelivery]:
        """Those held that are, which are not held any more."""
        gone = []
        for lane, held in list(self.held.items()):
            some = [one for one in held if unwanted(one)]
            gone += some
            lane.aside -= len(some)
            left = deque(one for one in held if one not in some)
            if left:
                self.held[lane] = left
            else:
                del self.held[lane]
        return gone

    def let_all_go(self) -> list[AmqpDelivery]:
        """All that is held; it is given back, and comes again."""
        held, self.held = self.held, {}
        for lane, deliveries in held.items():
            self.counts[lane] = self.counts.get(lane, 0) + len(deliveries)
            if self.ahead:
                self.ahead += len(deliveries)
        return list(itertools.chain.from_iterable(held.values()))

    def contains(self, number: int) -> None:
        """The broker has so many calls in it that are to come."""
        self.most = None
        self.unseen = max(0, number - self.known)
        self.ahead = number if self.unseen else 0
        self.behind.clear()
        if number:
            return
        for lane, count in self.counts.items():
            lane.aside -= count
        self.counts.clear()


class Buckets:
    """Which lane's calls go where.

    Half of the buckets are for lanes that answer and have more calls than they may have
    in memory. Else these would wait behind all that waits for the others.
    """

    def __init__(self, names: Sequence[str]) -> None:
        half = len(names) // 2
        self._all = [Bucket(name) for name in names]
        self._others, self._answering = self._all[:half], self._all[half:]

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self._all)

    def having(self, lane: Lane) -> list[Bucket]:
        """Where calls of `lane` are, as far as we know."""
        return [one for one in self._all if lane in one.counts or lane in one.held]

    def home(self, lane: Lane, *, but: Bucket | None = None) -> Bucket:
        """Where a call of `lane` is put: one of two (the power of two choices).

        Args:
            lane: whose call it is.
            but: where it shall not be put, if there is a choice.
        """
        half = self._answering if answers(lane) else self._others
        choice = [half[number] for number in _two_of(len(half), lane.key)]
        return min(choice, key=lambda one: (one is but, _others(one, lane)))


def _others(bucket: Bucket, lane: Lane) -> int:
    """How many other lanes have calls in it; one more while nobody knows."""
    return len(bucket.counts) - (lane in bucket.counts) + (bucket.unseen > 0)


@lru_cache(1000)
def _two_of(count: int, key: str) -> tuple[int, int]:
    """Two different numbers below `count`, the same for a key wherever it is asked."""
    digest = hashlib.blake2b(key.encode(errors="replace"), digest_size=8).digest()
    first = int.from_bytes(digest[:4], "big") % count
    if count == 1:
        return first, first
    step = int.from_bytes(digest[4:], "big") % (count - 1)
    return first, (first + 1 + step) % count
