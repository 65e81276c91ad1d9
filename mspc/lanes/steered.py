"""What somebody wants of a lane, whatever its service can do: pauses and limits."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from gevent.event import Event

from mspc.lanes.alarms import Alarms
from mspc.lanes.bucket import Limit
from mspc.lanes.keeper import Keeper, Nobody
from mspc.lanes.known import Known
from mspc.lanes.lane import Lane
from mspc.lanes.pauses import Pauses
from mspc.lanes.state import HELD, OK, State, state_of


class Steered(ABC):
    """The lanes, as far as they can be steered and looked at.

    Attributes:
        changed: set when there may be something to take.
        keeper: told what to make ready.
    """

    def __init__(
        self, lanes: Known, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self.changed = Event()
        self.keeper: Keeper = Nobody()
        self._lanes = lanes
        self._clock = clock
        self._wall = wall
        self._alarms = Alarms()

    def pause(self, key: str, at: float | None = None) -> None:
        """None of its calls is made until resume(); those in flight end.

        Args:
            key: the lane's.
            at: since when its calls do not age, Unix seconds; None for now.
        """
        lane = self._lanes.own(key)
        lane.pauses = lane.pauses or Pauses()
        lane.pauses.begin(self._wall() if at is None else at)
        if not lane.paused:
            lane.paused = True
            self.keeper.shut(lane)

    def resume(self, key: str, at: float | None = None) -> None:
        """Its calls are made again; `at`: since when they age again, as in pause()."""
        lane = self._lanes.get(key)
        if lane is None or lane.pauses is None:
            return
        lane.pauses.end(self._wall() if at is None else at)
        lane.paused = False
        self._look_at(lane)

    def limit(
        self, key: str, rate: int | None, period: float, parallelism: int | None
    ) -> None:
        """How fast its calls may go, from now on, on this instance; see bucket.py.

        Args:
            key: the lane's.
            rate: so many attempts in a period, 1 or more; None for no bound.
            period: seconds.
            parallelism: so many in flight, 1 or more; None for no bound.
        """
        lane, now = self._lanes.own(key), self._clock()
        limit = Limit(rate, period, parallelism)
        if lane.limit is not None:
            limit.follows(lane.limit, now)
        lane.limit = limit
        self.keeper.shut(lane)  # what is ready may have to wait for long
        self._look_at(lane)

    def unlimit(self, key: str) -> None:
        """Its calls go as fast as it answers."""
        lane = self._lanes.get(key)
        if lane is not None and lane.limit is not None:
            lane.limit = None
            self._look_at(lane)

    def standing(self, key: str) -> State:
        """How a lane stands; as any other when nothing is known of it."""
        lane = self._lanes.get(key)
        return State(key) if lane is None else state_of(lane, self._clock())

    def glance(self) -> dict[str, str]:
        """HELD or OK of each lane that is paused, limited, shut or busy.

        Of ten thousand it takes a few milliseconds, and standing() of each of them a
        tenth of a second.
        """
        now = self._clock()
        told: dict[str, str] = {}
        for lane in self._lanes:
            if lane.down(now):
                told[lane.key] = HELD
            elif lane.out or lane.paused or lane.limit is not None:
                told[lane.key] = OK
        return told

    def _await_turn(self, lane: Lane, now: float) -> None:
        """Has it looked at when its next token or probe is due, whichever is earlier:
        then it is asked for the other. All its calls may be aside until then.
        """
        if lane.limit is not None and lane.limit.next_at > now:
            self._set_alarm(lane, lane.limit.next_at)
        if lane.breaker.open and lane.breaker.next_probe > now:
            self._set_alarm(lane, lane.breaker.next_probe)

    def _set_alarm(self, lane: Lane, at: float) -> None:
        if self._alarms.set(lane, at):
            self.changed.set()

    @abstractmethod
    def _look_at(self, lane: Lane) -> None:
        """Something about `lane` has changed: perhaps it has its turn."""
