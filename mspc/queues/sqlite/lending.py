"""What of the embedded queue is in memory: counted in bytes, not in calls.

A call is held from when it is read until it is settled, and a service that hangs
settles nothing. So payloads beyond LARGEST_UNCOUNTED are read when there is room for
them; until then only their places are known. The others pass them meanwhile: a thousand
large calls to a service that hangs are in no small call's way.
"""

from collections import deque

from mspc.queues.sqlite.delivery import Place, SqliteDelivery
from mspc.queues.sqlite.statements import LARGEST_UNCOUNTED

# One call that is attempted takes some three times its payload: the payload itself, the
# body that was read from it, and what is on its way to the service.
LARGE_BYTES = 32 * 1024 * 1024
SMALL_BYTES = 16 * 1024 * 1024
# So many large ones are known without being read; then nothing new is looked for.
LARGE_PLACES = 10_000
READ_BYTES = 4 * 1024 * 1024  # in one transaction


class Lending:
    """What is ready to be lent, what is lent, and what waits for room."""

    def __init__(self) -> None:
        self._ready: deque[SqliteDelivery] = deque()
        self._large: deque[Place] = deque()
        self._small_held = 0
        self._large_held = 0

    def __len__(self) -> int:
        """How many can be lent at once."""
        return len(self._ready)

    @property
    def open(self) -> bool:
        """Whether more may be looked for."""
        return self._small_held < SMALL_BYTES and len(self._large) < LARGE_PLACES

    def add(self, delivery: SqliteDelivery) -> None:
        """One that was read, or has just been put."""
        size = delivery.place.size
        if size <= LARGEST_UNCOUNTED:
            self._small_held += size
        elif self._large or not self._fits(size):
            self._large.append(delivery.place)  # and its payload is let go
            return
        else:
            self._large_held += size
        self._ready.append(delivery)

    def add_unread(self, place: Place) -> None:
        self._large.append(place)

    def take(self) -> SqliteDelivery:
        return self._ready.popleft()

    def next_large(self) -> list[Place]:
        """Those for which there is room now; they count from here on."""
        places: list[Place] = []
        size = 0
        while self._large and self._fits(self._large[0].size):
            size += self._large[0].size
            if places and size > READ_BYTES:
                break
            self._large_held += self._large[0].size
            places.append(self._large.popleft())
        return places

    def put_back(self, places: list[Place]) -> None:
        """They could not be read."""
        self._large.extendleft(reversed(places))
        self._large_held -= sum(place.size for place in places)

    def add_read(self, deliveries: list[SqliteDelivery]) -> None:
        """Those of next_large()."""
        self._ready.extend(deliveries)

    def settled(self, place: Place) -> bool:
        """It is held no more; whether that makes room for others."""
        if place.size > LARGEST_UNCOUNTED:
            self._large_held -= place.size
            return bool(self._large)
        full = self._small_held >= SMALL_BYTES
        self._small_held -= place.size
        return full

    def clear(self) -> None:
        self._ready.clear()
        self._large.clear()

    def _fits(self, size: int) -> bool:
        # One at a time always: a single call may be larger than all the room.
        return not self._large_held or self._large_held + size <= LARGE_BYTES
