"""A TCP proxy that misbehaves on request, and that can count AMQP frames.

What a mode says holds for connections that exist and for those that come.
"""

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import gevent
from gevent.event import Event
from gevent.server import StreamServer

from tests.support.children import free_port

Direction = Literal["to_server", "to_client"]
DIRECTIONS: tuple[Direction, ...] = ("to_server", "to_client")

# AMQP methods: class, method.
Method = tuple[int, int]
CONNECTION_CLOSE = (10, 50)
QUEUE_DECLARE = (50, 10)
BASIC_CONSUME = (60, 20)
BASIC_PUBLISH = (60, 40)
BASIC_RETURN = (60, 50)
BASIC_DELIVER = (60, 60)
BASIC_ACK = (60, 80)
BASIC_REJECT = (60, 90)
BASIC_NACK = (60, 120)
CONFIRM_SELECT = (85, 10)
_WITH_CONTENT = {BASIC_PUBLISH, BASIC_RETURN, BASIC_DELIVER}

_LINGER_ZERO = struct.pack("ii", 1, 0)
_CHUNK = 65_536
_FRAME_HEAD = struct.Struct(">BHI")
_PROTOCOL_HEADER = b"AMQP"


class Frames:
    """Splits one direction of an AMQP connection into frames and whole methods."""

    def __init__(self) -> None:
        self._buffer = b""
        self._content: dict[int, list[int]] = {}  # channel -> method's content to come

    def split(self, data: bytes) -> Iterator[tuple[bytes, Method | None, bool]]:
        """Complete frames: the bytes, its method if it is one, and whether that ends.

        A method that carries content ends with the last body frame, and is named
        there again.
        """
        self._buffer += data
        while (length := self._length()) and len(self._buffer) >= length:
            frame, self._buffer = self._buffer[:length], self._buffer[length:]
            yield (frame, *self._look(frame))

    def _length(self) -> int:
        if self._buffer[:1] == b"A":
            return 8  # the protocol header
        if len(self._buffer) < _FRAME_HEAD.size:
            return 0
        size: int = _FRAME_HEAD.unpack_from(self._buffer)[2]
        return size + _FRAME_HEAD.size + 1

    def _look(self, frame: bytes) -> tuple[Method | None, bool]:
        if frame.startswith(_PROTOCOL_HEADER):
            return None, False
        kind, channel, size = _FRAME_HEAD.unpack_from(frame)
        if kind == 1:
            class_id, method_id = struct.unpack_from(">HH", frame, 7)
            method = (class_id, method_id)
            if method in _WITH_CONTENT:
                self._content[channel] = [*method, -1]
                return method, False
            return method, True
        if kind in (2, 3) and channel in self._content:
            content = self._content[channel]
            if kind == 2:  # header: class, weight, body size
                content[2] = struct.unpack_from(">Q", frame, 11)[0]
            else:
                content[2] -= size
            if content[2] <= 0:
                del self._content[channel]
                return (content[0], content[1]), True
        return None, False


@dataclass
class Trip:
    """Waits for the n-th method of a kind, then ends that connection; once."""

    direction: Direction
    method: Method
    left: int
    before: bool
    action: Literal["cut", "reset", "hold"]
    done: Event = field(default_factory=Event)

    def wait(self, timeout: float = 30.0) -> bool:
        """Whether it has happened within `timeout` seconds."""
        return bool(self.done.wait(timeout))

    def meets(self, direction: Direction, method: Method | None, last: bool) -> bool:
        """Counts one sighting; whether it is the one."""
        if self.done.is_set() or (direction, method) != (self.direction, self.method):
            return False
        # Before: when the method begins. After: when its content is through.
        if self.method in _WITH_CONTENT and last == self.before:
            return False
        self.left -= 1
        return self.left == 0


class ChaosProxy:
    """Forwards 127.0.0.1:`port` to a server, in order or not.

    Attributes:
        port: where it listens.
        accepted: connections so far.
        on_bytes: called with what goes in a direction, returns what goes instead.
    """

    host = "127.0.0.1"

    def __init__(self, host: str, port: int, *, amqp: bool = True) -> None:
        self.port = free_port()
        self.accepted = 0
        self.on_bytes: dict[Direction, Callable[[bytes], bytes]] = {}
        self._upstream = (host, port)
        self._amqp = amqp
        self._links: list[_Link] = []
        self._trips: list[Trip] = []
        self._server: StreamServer | None = None
        self._delay = 0.0
        self._rate = 0.0
        self._open = {direction: Event() for direction in DIRECTIONS}
        for event in self._open.values():
            event.set()

    def start(self) -> None:
        self.listen()

    def stop(self) -> None:
        self.refuse()
        self.cut()

    # Modes that last until forward()

    def forward(self) -> None:
        """Everything passes again, at once; what was held back, too."""
        self._delay = self._rate = 0.0
        for event in self._open.values():
            event.set()
        self.listen()

    def delay(self, seconds: float) -> None:
        """Holds every piece back for `seconds`; one that comes meanwhile waits more."""
        self._delay = seconds

    def throttle(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second

    def black_hole(
        self, *directions: Direction, discard_connections: bool = False
    ) -> None:
        """Nothing arrives any more, both ways unless told otherwise.

        As with TCP, nothing is lost in the middle of a stream: what is held back
        arrives after forward(), if the connection still exists then.

        Args:
            directions: `to_server`, `to_client`, or both.
            discard_connections: forget those that exist now: they never move again.
        """
        for direction in directions or DIRECTIONS:
            self._open[direction].clear()
        if discard_connections:
            for link in self._links:
                link.frozen = True

    def refuse(self) -> None:
        """New connections are refused; those that exist go on."""
        if self._server is not None:
            self._server.stop(timeout=0)
            self._server = None

    def listen(self) -> None:
        """Takes new connections again."""
        if self._server is None:
            self._server = StreamServer((self.host, self.port), self._serve)
            self._server.start()

    # What happens once

    def cut(self) -> int:
        """Closes every connection (FIN both ways); how many."""
        return self._end("cut")

    def reset(self) -> int:
        """Ends every connection with RST; how many."""
        return self._end("reset")

    def half_close(self, direction: Direction) -> None:
        """Sends a FIN in one direction; the other still passes."""
        for link in list(self._links):
            with contextlib.suppress(OSError):
                link.receiver(direction).shutdown(socket.SHUT_WR)

    def cut_at(
        self,
        direction: Direction,
        method: Method,
        n: int = 1,
        *,
        before: bool = False,
        action: Literal["cut", "reset", "hold"] = "cut",
    ) -> Trip:
        """Ends the connection that carries the `n`-th such method from now on.

        Args:
            direction: where it goes.
            method: BASIC_PUBLISH, BASIC_ACK and so on.
            n: counted over all connections.
            before: it is not passed on itself; else it is, with its content.
            action: `hold` stops both directions of the connection for ever.
        """
        trip = Trip(direction, method, n, before, action)
        self._trips.append(trip)
        return trip

    @property
    def connections(self) -> int:
        return len(self._links)

    def _end(self, action: Literal["cut", "reset", "hold"]) -> int:
        links = list(self._links)
        for link in links:
            link.end(action)
        return len(links)

    def _serve(self, client: socket.socket, address: object) -> None:
        self.accepted += 1
        try:
            server = socket.create_connection(self._upstream, 10)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            client.close()
            return
        server.settimeout(None)
        link = _Link(client, server)
        self._links.append(link)
        pumps = [gevent.spawn(self._pump, link, way) for way in DIRECTIONS]
        gevent.joinall(pumps)
        self._links.remove(link)
        link.end("cut")

    def _pump(self, link: "_Link", direction: Direction) -> None:
        source, sink = link.sender(direction), link.receiver(direction)
        frames = Frames()
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                self._wait_open(link, direction)
                if self._delay:
                    gevent.sleep(self._delay)
                    self._wait_open(link, direction)
                hook = self.on_bytes.get(direction)
                data = hook(data) if hook else data
                if not (self._pass(link, direction, frames, sink, data)):
                    return
            self._wait_open(link, direction)
            sink.shutdown(socket.SHUT_WR)

    def _wait_open(self, link: "_Link", direction: Direction) -> None:
        while link.frozen or not self._open[direction].is_set():
            if link.ended.is_set():
                raise OSError("the connection was ended meanwhile")
            if link.frozen:
                link.ended.wait()
            else:
                # Woken by forward(), or by the end of the connection.
                gevent.wait([self._open[direction], link.ended], count=1)

    def _pass(
        self,
        link: "_Link",
        direction: Direction,
        frames: Frames,
        sink: socket.socket,
        data: bytes,
    ) -> bool:
        """Sends `data`, up to where a trip ends the connection; False if one has."""
        if not self._amqp:
            self._send(sink, data)
            return True
        passing = b""
        for frame, method, last in frames.split(data):
            trip = self._met(direction, method, last) if method else None
            if trip is None:
                passing += frame
                continue
            self._send(sink, passing if trip.before else passing + frame)
            link.end(trip.action)
            trip.done.set()
            return False
        self._send(sink, passing)
        return True

    def _met(self, direction: Direction, method: Method, last: bool) -> Trip | None:
        for trip in self._trips:
            if trip.meets(direction, method, last):
                self._trips.remove(trip)
                return trip
        return None

    def _send(self, sink: socket.socket, data: bytes) -> None:
        while data and self._rate:
            piece = max(1, int(self._rate / 20))
            sink.sendall(data[:piece])
            data = data[piece:]
            gevent.sleep(0.05)
        if data:
            sink.sendall(data)


class _Link:
    """One proxied connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.frozen = False
        self.ended = Event()
        self._client = client
        self._server = server

    def sender(self, direction: Direction) -> socket.socket:
        return self._client if direction == "to_server" else self._server

    def receiver(self, direction: Direction) -> socket.socket:
        return self._server if direction == "to_server" else self._client

    def end(self, action: Literal["cut", "reset", "hold"]) -> None:
        if action == "hold":
            self.frozen = True
            return
        self.ended.set()
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                if action == "reset":
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
                else:
                    end.shutdown(socket.SHUT_RDWR)  # a FIN even if something is unread
            end.close()
