"""What of the embedded queue is in memory: counted in bytes, and lane by lane.

A call is held from when it is read until it is settled, and a service that hangs
settles nothing. So of what is not about to be attempted only its place in the file is
known, eight bytes of it: a million calls to a service that is down are in nobody's way,
and none of them is written anew to get there. Payloads beyond LARGEST_UNCOUNTED are
read when there is room for them; smaller ones pass them meanwhile.
"""

from collections import deque
from collections.abc import Set

from gevent.event import Event

from mspc.lanes.lane import Item, Lane
from mspc.lanes.lanes import Lanes
from mspc.queues.sqlite.delivery import Place, SqliteDelivery
from mspc.queues.sqlite.keys import Keys
from mspc.queues.sqlite.statements import LARGEST_UNCOUNTED

# One call that is attempted takes some three times its payload: the payload itself, the
# body that was read from it, and what is on its way to the service.
LARGE_BYTES = 32 * 1024 * 1024
SMALL_BYTES = 16 * 1024 * 1024
# So many large ones of a lane are known without being read; then it is left alone.
LARGE_PLACES = 1000
READ_BYTES = 4 * 1024 * 1024  # in one transaction
LANES_AT_ONCE = 16
ROWS_AT_ONCE = 200


class Stock:
    """What a lane has besides what is ready."""

    __slots__ = ("keys", "large", "large_held")

    def __init__(self) -> None:
        self.keys = Keys()
        self.large: deque[Place] = deque()
        self.large_held = 0  # bytes

    def __len__(self) -> int:
        return len(self.keys) + len(self.large)


class Lending:
    """What is ready, what is lent, and what waits for its lane or for room.

    Attributes:
        news: set when something may be read.
    """

    def __init__(self, lanes: Lanes) -> None:
        self.news = Event()
        self._lanes = lanes
        self._stocks: dict[Lane, Stock] = {}
        self._hungry: dict[Lane, None] = {}
        self._starved: dict[Lane, None] = {}  # for want of room
        self._large: dict[Lane, None] = {}  # with large calls that are not read
        self._held: dict[int, SqliteDelivery] = {}  # ready or lent, by Place.key
        self._small_held = 0
        self._large_held = 0
        lanes.keeper = self

    def hungry(self, lane: Lane) -> None:
        if lane in self._stocks and self._lanes.wants(lane):
            self._hungry[lane] = None
            self.news.set()

    def shut(self, lane: Lane) -> None:
        """Lets go the payloads of what is ready; it is read again in its turn."""
        if not lane.ready:
            return
        # First, since a lane that has nothing else has no stock when that is done.
        keys = [self._let_go(item).key for item in lane.ready]
        lane.ready.clear()
        stock = self._stock(lane)
        stock.keys.give_back(keys)
        self._count(lane, stock)
        self.news.set()  # there is room for the large calls of others

    def add(self, delivery: SqliteDelivery) -> None:
        """One that has just been put."""
        lane, place = delivery.lane, delivery.place
        prompt = not lane.aside and self._lanes.prompt(lane)
        if prompt and self._fits(lane, place.size):
            self._hold(delivery)
            self._lanes.offer(delivery)
        else:
            self.found(lane, [place.key])

    def found(self, lane: Lane, keys: list[int]) -> None:
        """Rows of the file, each by its Place.key."""
        self._stock(lane).keys.add(keys)
        lane.aside += len(keys)
        self.hungry(lane)

    def next_rows(self) -> list[tuple[Lane, list[int]]]:
        """Lanes that may have more ready, and which of their rows; read() follows."""
        rows: list[tuple[Lane, list[int]]] = []
        left = ROWS_AT_ONCE
        for lane in list(self._hungry):
            if len(rows) >= LANES_AT_ONCE or left <= 0:
                break
            del self._hungry[lane]
            stock = self._stocks.get(lane)
            if stock is None or len(stock.large) >= LARGE_PLACES:
                continue
            if not self._fits(lane, 0):
                self._starved[lane] = None
                continue
            keys = stock.keys.take(min(left, self._lanes.wants(lane)))
            if keys:
                rows.append((lane, keys))
                left -= len(keys)
        return rows

    def next_large(self) -> list[tuple[Lane, Place]]:
        """Large calls for which there is room now; they count from here on."""
        found: list[tuple[Lane, Place]] = []
        size = 0
        for lane in list(self._large):
            stock = self._stocks.get(lane)
            if stock is None or not stock.large:
                del self._large[lane]
                continue
            left = self._lanes.wants(lane)
            while left > 0 and stock.large and self._fits(lane, stock.large[0].size):
                if found and size + stock.large[0].size > READ_BYTES:
                    return found
                place = stock.large.popleft()
                size += place.size
                left -= 1
                self._large_held += place.size
                stock.large_held += place.size
                found.append((lane, place))
        return found

    def not_read(self, lane: Lane, keys: list[int]) -> None:
        """The rows of next_rows() could not be read."""
        stock = self._stock(lane)
        stock.keys.give_back(keys)
        self._count(lane, stock)
        self.hungry(lane)

    def large_not_read(self, lane: Lane, place: Place) -> None:
        stock = self._stock(lane)
        stock.large.appendleft(place)
        self._large[lane] = None
        self._large_held -= place.size
        stock.large_held -= place.size

    def large_gone(self, lane: Lane, place: Place) -> None:
        """Its row was not there: what next_large() has counted does not count."""
        stock = self._stock(lane)
        self._large_held -= place.size
        stock.large_held -= place.size
        self._count(lane, stock)
        self.hungry(lane)

    def read(self, lane: Lane, rows: list[SqliteDelivery | Place]) -> None:
        """What next_rows() gave: calls, or the places of those that are large."""
        stock = self._stock(lane)
        for row in rows:
            if isinstance(row, Place):
                stock.large.append(row)
                self._large[lane] = None
            else:
                self._hold(row)
                self._lanes.offer(row)
        self._was_read(lane)

    def read_large(self, delivery: SqliteDelivery) -> None:
        """What next_large() gave."""
        lane = delivery.lane
        self._held[delivery.place.key] = delivery
        self._lanes.offer(delivery)
        self._was_read(lane)

    def settled(self, delivery: SqliteDelivery) -> None:
        """It is held no more."""
        self._let_go(delivery)
        if self._starved:
            starved, self._starved = self._starved, {}
            for lane in starved:
                self.hungry(lane)
        if delivery.place.size > LARGEST_UNCOUNTED:
            self.news.set()

    def lent(self, key: int) -> bool:
        """Whether somebody has it who will settle it."""
        delivery = self._held.get(key)
        return delivery is not None and delivery not in delivery.lane.ready

    def take_out(self, key: int) -> SqliteDelivery | None:
        """What is ready and was not lent, which nobody gets now; None for no such.

        It counts as held until it is settled() or put_back().
        """
        delivery = self._held.get(key)
        if delivery is not None:
            delivery.lane.ready.remove(delivery)
        return delivery

    def put_back(self, delivery: SqliteDelivery) -> None:
        """What take_out() gave is ready again."""
        self._lanes.offer(delivery)

    def gone(self, lane: Lane, keys: Set[int]) -> None:
        """Rows that were found() are not in the file any more."""
        stock = self._stocks.get(lane)
        if stock is not None:
            large = {place.key for place in stock.large} & keys
            if large:
                stock.large = deque(one for one in stock.large if one.key not in large)
            stock.keys.remove(keys - large)
            self._count(lane, stock)
        self.hungry(lane)  # what was ready may be gone, too

    def _was_read(self, lane: Lane) -> None:
        """What it has is ready, or aside; it may have been shut meanwhile."""
        self._count(lane, self._stock(lane))
        if lane.shut and lane.ready and not self._probing(lane):
            self.shut(lane)
        self.hungry(lane)

    def _probing(self, lane: Lane) -> bool:
        return not lane.paused and len(lane.ready) <= 1

    def _stock(self, lane: Lane) -> Stock:
        stock = self._stocks.get(lane)
        if stock is None:
            stock = self._stocks[lane] = Stock()
        return stock

    def _count(self, lane: Lane, stock: Stock) -> None:
        lane.aside = len(stock)
        if not lane.aside and not stock.large_held:
            self._stocks.pop(lane, None)

    def _fits(self, lane: Lane, size: int) -> bool:
        if size <= LARGEST_UNCOUNTED:
            return self._small_held < SMALL_BYTES or not lane.ready
        stock = self._stocks.get(lane)
        held = 0 if stock is None else stock.large_held
        left = LARGE_BYTES - self._large_held
        # Large calls share as attempts do. One at a time always: a single call may be
        # larger than all the room.
        return held + size <= left or (not held and size <= left) or left == LARGE_BYTES

    def _hold(self, delivery: SqliteDelivery) -> None:
        self._held[delivery.place.key] = delivery
        size = delivery.place.size
        if size <= LARGEST_UNCOUNTED:
            self._small_held += size
        else:
            self._large_held += size
            self._stock(delivery.lane).large_held += size

    def _let_go(self, item: Item) -> Place:
        assert isinstance(item, SqliteDelivery)  # noqa: S101 - nothing else is offered
        place = item.place
        if self._held.get(place.key) is item:
            del self._held[place.key]
        if place.size <= LARGEST_UNCOUNTED:
            self._small_held -= place.size
            return place
        self._large_held -= place.size
        stock = self._stock(item.lane)
        stock.large_held -= place.size
        self._count(item.lane, stock)
        return place
