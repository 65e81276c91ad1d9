"""How the lanes share the slots of the pool.

A lane may have so many attempts in flight as there are slots free (the dynamic
threshold of Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998): one
busy lane gets half of the pool, two a third each, and something is always free for the
next. Of those that have not answered, all together get a part of it only.
"""

from mspc.lanes.lane import Lane, Rank

# What lanes that have not answered may hold of the pool: those that seem to be down or
# to hang, each of which may have one call beyond it, and these with the new ones.
BAD_SHARE = 1 / 4
BAD_SHARE_OF_FIRST = 1 / 2
UNPROVEN_SHARE = 3 / 4


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

    def admits(self, lane: Lane, now: float) -> bool:
        """Whether a lane that was just ranked may have one more in flight."""
        if lane.paused or self._total >= self._size:
            return False
        out = len(lane.out)
        if lane.limit is not None and not lane.limit.admits(now, out):
            return False
        if lane.rank is Rank.PROVEN:
            free = self._size - self._total
            return self._within_cap(lane, now) and (out < free or not out)
        bad = self._in_flight[Rank.BAD]
        if lane.rank is Rank.BAD:
            if lane.breaker.open and not lane.breaker.may_probe(now):
                return False
            if not out:
                return bad < BAD_SHARE_OF_FIRST * self._size
            return out < BAD_SHARE * self._size - bad
        left = UNPROVEN_SHARE * self._size - bad - self._in_flight[Rank.NEW]
        if not out:
            return left > 0 or not self._total  # a pool of one must make calls, too
        return out < left and self._within_cap(lane, now)

    def _within_cap(self, lane: Lane, now: float) -> bool:
        cap = lane.breaker.cap(now)
        if cap > self._size:
            lane.breaker.ramped()
            return True
        return len(lane.out) < cap
