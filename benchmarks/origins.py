"""Where the calls of the probes go: healthy, slow, silent and refusing services."""

import socket
import time
from collections import Counter
from typing import IO

import gevent
from gevent.server import StreamServer

from benchmarks.probing import Plan

_BACKLOG = 1024
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Origin:
    """Answers 200, at once or later, and remembers what came.

    Attributes:
        arrived: when each path came first, `time.monotonic()`.
        times: how often each path came.
        at_once: calls that it has at the moment; `most`: the most so far.
    """

    def __init__(self, listener: socket.socket, answers_after: float = 0.0) -> None:
        self.arrived: dict[str, float] = {}
        self.times: Counter[str] = Counter()
        self.at_once = self.most = 0
        self._answers_after = answers_after
        self._server = StreamServer(listener, self._serve)
        self._server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _serve(self, connection: socket.socket, _: object) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                path = line.split(b" ")[1].decode()
                self.arrived.setdefault(path, time.monotonic())
                self.times[path] += 1
                self.at_once += 1
                self.most = max(self.most, self.at_once)
                try:
                    _read_rest(stream)
                    if self._answers_after:
                        gevent.sleep(self._answers_after)
                    connection.sendall(_ANSWER)
                finally:
                    self.at_once -= 1


class Silent:
    """Accepts, reads whatever comes, and never answers."""

    def __init__(self, listener: socket.socket) -> None:
        self._server = StreamServer(listener, self._serve)
        self._server.start()

    def _serve(self, connection: socket.socket, _: object) -> None:
        with connection:
            while connection.recv(65_536):
                pass


def bound(port: int = 0) -> socket.socket:
    """A port that refuses connections until the socket listens; 0 for a free one."""
    refusing = socket.socket()
    refusing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    refusing.bind(("127.0.0.1", port))
    return refusing


def listening(port: int = 0) -> socket.socket:
    return listen(bound(port))


def listen(refusing: socket.socket) -> socket.socket:
    """Takes connections from now on."""
    refusing.listen(_BACKLOG)
    refusing.setblocking(False)
    return refusing


def trouble(plan: Plan) -> list[object]:
    """The origins of a plan, each to be kept until the end."""
    match plan.fault:
        case "down":
            return [bound(port) for port in plan.ports]
        case "hang":
            return [Silent(listening(port)) for port in plan.ports]
        case "slow":
            return [Origin(listening(port), plan.answers_after) for port in plan.ports]
    return []


def _read_rest(stream: IO[bytes]) -> None:
    """The header fields and the body of a request whose first line was read."""
    length = 0
    while (header := stream.readline()) not in (b"\r\n", b""):
        name, _separator, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    stream.read(length)
