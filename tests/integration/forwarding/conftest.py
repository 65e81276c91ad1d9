"""Makes attempts, and serves them raw answers."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gevent
import pytest
from gevent.pool import Pool
from gevent.server import StreamServer
from msgspec.structs import replace

from mspc.calls.call import Outcome, Request
from mspc.forwarding.forwarder import Forwarder
from mspc.settings.config import ForwardConfig

CALL_ID = "0123456789abcdef0123456789abcdef"
DEADLINE = 0.3  # for targets that never come to an end
PROMPT = 5.0  # far below the deadline of a forwarder that was told nothing

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\n"


@dataclass
class Attempts:
    """Makes attempts with a forwarder of these settings."""

    forwarder: Forwarder

    def __call__(self, port: int, **properties: Any) -> Outcome:
        request = replace(Request("http", "127.0.0.1", port, "/"), **properties)
        return self.forwarder.attempt(request, CALL_ID)


Make = Callable[..., Attempts]
Handler = Callable[[socket.socket], None]
Serve = Callable[[Handler], int]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes forwarders that are closed after the test."""
    made: list[Forwarder] = []

    def make(**config: Any) -> Attempts:
        made.append(Forwarder(ForwardConfig(**config)))
        made[-1].start()
        return Attempts(made[-1])

    yield make
    for forwarder in made:
        forwarder.close()


@pytest.fixture
def attempt(make: Make) -> Attempts:
    return make()


@pytest.fixture
def hurried(make: Make) -> Attempts:
    return make(timeout=DEADLINE)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves raw connections; a handler starts when the request's head has come."""
    servers: list[StreamServer] = []

    def serve(handler: Handler) -> int:
        def handle(connection: socket.socket, address: object) -> None:
            with connection, suppress(OSError):
                if read_head(connection):
                    handler(connection)

        # With a pool, so that stop() ends the handlers: some would send for ever.
        server = StreamServer(("127.0.0.1", 0), handle, spawn=Pool())
        server.start()
        servers.append(server)
        return port_of(server)

    yield serve
    for server in servers:
        server.stop(timeout=0)


def port_of(server: StreamServer) -> int:
    assert server.server_port is not None
    return server.server_port


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        received = connection.recv(4_096)
        if not received:
            return b""
        head += received
    return head


def say(*parts: bytes) -> Handler:
    """Sends an answer, then closes the connection."""
    return lambda connection: connection.sendall(b"".join(parts))


def say_and_hang(*parts: bytes) -> Handler:
    def handle(connection: socket.socket) -> None:
        say(*parts)(connection)
        gevent.sleep(3_600)

    return handle


def repeat(first: bytes, again: bytes, pause: float = 0.0) -> Handler:
    """Sends something, and something else for ever."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(again)
            gevent.sleep(pause)

    return handle
