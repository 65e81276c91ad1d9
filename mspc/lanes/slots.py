"""How the lanes share the slots of the pool.

A lane may have so many attempts in flight as there are slots free (the dynamic
threshold of Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998): one
busy lane gets half of the pool, two a third each, and something is always free for the
next. Of those that have not answered, all together get a part of it only.
"""

from mspc.lanes.lane import Lane, Rank

# What lanes that have not answered may hold of the pool: those that seem to be down or
# to hang, each of which may have one call beyond it; and the new ones of what is left.
BAD_SHARE = 1 / 4
BAD_SHARE_OF_FIRST = 1 / 2
UNPROVEN_SHARE = 3 / 4
# New ones that hang are counted as bad then, and others are new: both together never
# have more than if there had been as many bad ones as may begin.
BOTH_SHARE = BAD_SHARE_OF_FIRST + UNPROVEN_SHARE * (1 - BAD_SHARE_OF_FIRST)


class Slots:
    """The attempts in flight, by what is known of their lanes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._total = 0
        self._in_flight = dict.fromkeys(Rank, 0)

    def taken(self, lane: Lane) -> None:
        self._total += 1
        self._in_flight[lane.rank] += 1

    def ended(self, lane: Lane) -> None:
        self._total -= 1
        self._in_flight[lane.rank] -= 1

    def ranked(self, lane: Lane, now: float) -> Rank:
        """What the lane is counted as from here on."""
        if lane.breaker.open or lane.suspect(now):
            rank = Rank.BAD
        else:
            rank = Rank.PROVEN if lane.proven else Rank.NEW
        if rank is not lane.rank:
            self._in_flight[lane.rank] -= len(lane.out)
            self._in_flight[rank] += len(lane.out)
            lane.rank = rank
        return rank

    def full(self, rank: Rank) -> bool:
        """Whether no lane of that rank may have one more, whichever it is."""
        if self._total >= self._size:
            return True
        if rank is Rank.PROVEN:
            return False
        if rank is Rank.BAD:
            return self._in_flight[rank] >= BAD_SHARE_OF_FIRST * self._size
        # A pool of one must make calls, too.
        return self._total > 0 and self.room(rank) <= 0

    def room(self, rank: Rank) -> float:
        """Below how many in flight a lane may have one more; one that has none may have
        one unless the rank is full.
        """
        if rank is Rank.PROVEN:
            return self._size - self._total
        bad = self._in_flight[Rank.BAD]
        if rank is Rank.BAD:
            return BAD_SHARE * self._size - bad
        # Of what the bad ones leave: those that hang may have had more when they were
        # proven, and would leave nothing to whom nobody has called yet.
        most = min(UNPROVEN_SHARE * (self._size - bad), BOTH_SHARE * self._size - bad)
        return most - self._in_flight[rank]

    def admits(self, lane: Lane, now: float) -> bool:
        """Whether a lane that was just ranked may have one more in flight."""
        if lane.paused or self.full(lane.rank):
            return False
        out = len(lane.out)
        if lane.limit is not None and not lane.limit.admits(now, out):
            return False
        if out and out >= self.room(lane.rank):
            return False
        if lane.breaker.open:
            return lane.breaker.may_probe(now)
        return self._within_cap(lane, now)

    def _within_cap(self, lane: Lane, now: float) -> bool:
        cap = lane.breaker.cap(now)
        if cap > self._size:
            lane.breaker.ramped()
            return True
        return len(lane.out) < cap
