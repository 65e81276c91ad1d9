"""What a client may take of us."""

from dataclasses import dataclass

from mspc.serving.room import PATIENCE_SECONDS, ROOM_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take: seconds, connections at once, bytes of memory."""

    handshake: float = 10.0
    headers: float = 10.0  # the request line and the headers together
    body: float = 30.0
    idle: float = 76.0  # between two requests
    send: float = 30.0  # one answer, into the socket's buffer
    linger: float = 5.0  # after the answer to a request that was not read to its end
    connections: int = 1000
    unused: float = 1.0  # a connection's age, until one that waits may have its place
    room: int = ROOM_BYTES  # for large bodies that are on their way
    crowded: float = PATIENCE_SECONDS  # until there is room for one

    @property
    def shortest(self) -> float:
        times = (self.handshake, self.headers, self.body, self.idle, self.send)
        return min(*times, self.linger)
