"""How one lane stands, for whoever asks."""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest

from mspc.lanes.lane import Lane

# Whether calls of a lane are made, in a word.
OK, HELD = "ok", "held"
TOLD_LANES = 5


@dataclass(frozen=True, slots=True)
class State:
    """How a lane stands.

    Attributes:
        key: the lane's.
        paused: whether somebody wants its calls to wait.
        breaker: `closed`, `open` or `half_open` (calls come slowly at first).
        in_flight: attempts that run now.
        waiting: calls that are known and not in flight.
        next_probe_in: seconds until a call may ask whether the service is back, 0 for
            now; None unless the breaker is open.
        rate: so many attempts in `period` seconds; None for no bound.
        period: seconds.
        parallelism: so many in flight; None for no bound.
    """

    key: str
    paused: bool = False
    breaker: str = "closed"
    in_flight: int = 0
    waiting: int = 0
    next_probe_in: float | None = None
    rate: int | None = None
    period: float = 1.0
    parallelism: int | None = None


def state_of(lane: Lane, now: float) -> State:
    """`now`: in seconds of the lane's clock."""
    breaker, limit = lane.breaker, lane.limit
    probe_in = max(0.0, breaker.next_probe - now) if breaker.open else None
    return State(
        lane.key,
        lane.paused,
        breaker.word(now),
        len(lane.out),
        lane.waiting,
        probe_in,
        limit.rate if limit else None,
        limit.period if limit else 1.0,
        limit.parallelism if limit else None,
    )


def remark_of(shut: Iterable[Lane], now: float) -> str | None:
    """Which services do not answer, and what waits for them; None for none.

    Args:
        shut: those whose circuit breakers are open.
        now: seconds of the lanes' clock.
    """
    down = [lane for lane in shut if lane.down(now)]
    if not down:
        return None
    lanes = nlargest(TOLD_LANES, down, key=lambda lane: lane.waiting)
    told = [f"{lane.key} ({lane.waiting} calls wait)" for lane in lanes]
    more = len(down) - len(told)
    rest = f" and {more} more" if more else ""
    return f"No answer from {', '.join(told)}{rest}."
