"""For a queue alone: the spool, whose calls all go to RabbitMQ."""

from mspc.lanes.lane import Item, Lane
from mspc.lanes.lanes import FEW_READY, MOST_READY, Lanes


class OneLane(Lanes):
    """A queue without lanes: whatever is ready is taken, in order."""

    limited = False

    def __init__(self) -> None:
        super().__init__(size=1, failures=0)
        self._only = super().of("")

    def of(self, key: str) -> Lane:
        return self._only

    def offer(self, item: Item) -> None:
        self._only.ready.append(item)  # nobody else has a turn
        self.changed.set()

    def prompt(self, lane: Lane) -> bool:
        return len(lane.ready) < MOST_READY

    def take(self) -> Item | None:
        lane = self._only
        if not lane.ready:
            return None
        item = lane.ready.popleft()
        if lane.aside and len(lane.ready) < FEW_READY:
            self.keeper.hungry(lane)
        return item
