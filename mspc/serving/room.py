"""Room in memory for the bodies of requests that are on their way.

A thousand clients that send a megabyte each, slowly, would take a gigabyte. Small ones
are free; whoever sends a larger one has a part of the room until it is answered, and
waits when there is none left, in the order in which they came.
"""

from collections import deque

from gevent.event import Event

from mspc.errors import Crowded

ROOM_BYTES = 64 * 2**20
FREE_BYTES = 64 * 2**10
PATIENCE_SECONDS = 10.0


class Room:
    """Of one server; for the greenlets of one thread."""

    def __init__(
        self, size: int = ROOM_BYTES, patience: float = PATIENCE_SECONDS
    ) -> None:
        """
        Args:
            size: bytes.
            patience: seconds that somebody waits for a part of it.
        """
        self._size = self._left = size
        self._patience = patience
        self._waiting: deque[tuple[int, Event]] = deque()

    def take(self, size: float) -> int:
        """Returns how much was taken, when there is so much: never more than all of it.

        Args:
            size: bytes; infinite when nobody knows.

        Raises:
            Crowded: others have not given back enough in time.
        """
        size = int(min(size, self._size))
        if not self._waiting and size <= self._left:
            self._left -= size
            return size
        place = size, Event()
        self._waiting.append(place)
        came = False
        try:
            came = place[1].wait(self._patience)
        finally:
            if not came:
                self._leave(place)
        if not came:
            raise Crowded(
                "Too many large requests are on their way: nothing of this one was"
                " done, send it again."
            )
        return size

    def give_back(self, size: int) -> None:
        self._left += size
        while self._waiting and self._waiting[0][0] <= self._left:
            wanted, turn = self._waiting.popleft()
            self._left -= wanted
            turn.set()

    def _leave(self, place: tuple[int, Event]) -> None:
        """Without what was wanted; those behind may have their turn."""
        if place in self._waiting:
            self._waiting.remove(place)
            self.give_back(0)
        else:  # its turn had come in the same moment
            self.give_back(place[0])


class Share:
    """What the body of one request has of a room."""

    __slots__ = ("_held", "_room")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held = 0

    def take(self, size: float) -> None:
        """Takes a part for a body of so many bytes; see Room.take().

        Raises:
            Crowded: there is none.
        """
        self._held += self._room.take(size)

    def give_back(self) -> None:
        """All of it, if it has any."""
        if self._held:
            held, self._held = self._held, 0
            self._room.give_back(held)
