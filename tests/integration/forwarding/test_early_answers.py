"""Answers that come while the body is still being sent: they count like any other."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from urllib3.connection import HTTPConnection

from mspc.calls.call import Outcome
from tests.integration.forwarding.conftest import (
    DEADLINE,
    PROMPT,
    Handler,
    Make,
    port_of,
)
from tests.support.certificates import Certificates
from tests.support.waiting import eventually

LARGE = bytes(2_000_000)  # more than the sockets of both sides hold
# A little more than what is sent at once, and a little less.
BODIES = [LARGE, bytes(70_000), bytes(60_000), bytes(10_000)]
CLOSE = b"Connection: close\r\nContent-Length: 0\r\n\r\n"
OPEN = b"Content-Length: 0\r\n\r\n"

Post = Callable[[Handler, bytes], Outcome]


@pytest.fixture(autouse=True)
def _as_on_a_network() -> Iterator[None]:
    """On loopback alone, a socket takes megabytes before anybody reads."""
    options: list[Any] = HTTPConnection.default_socket_options
    options.append((socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000))
    yield
    options.pop()


@pytest.fixture(params=["http", "https"])
def post(
    request: pytest.FixtureRequest, make: Make, certificates: Certificates
) -> Iterator[Post]:
    """Sends a body to a handler, which starts when the first bytes have come."""
    attempt = make(verify_tls=False, timeout=PROMPT * 2)
    context = certificates.server.server_context()
    servers: list[StreamServer] = []

    def post(handler: Handler, body: bytes) -> Outcome:
        def handle(connection: socket.socket, address: object) -> None:
            # Else the kernel holds back an answer that is small, and drops it when the
            # connection is reset.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):
                if request.param == "https":
                    connection = context.wrap_socket(connection, server_side=True)
                with connection:
                    connection.recv(1_000)
                    handler(connection)

        listener = socket.socket()
        # Small, so that what nobody reads fills it soon.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        servers.append(StreamServer(listener, handle, spawn=Pool()))
        servers[-1].start()
        return attempt(
            port_of(servers[-1]), scheme=request.param, method="POST", body=body
        )

    yield post
    for server in servers:
        server.stop(timeout=0)
        server.close()


def answer(status: int, rest: bytes) -> bytes:
    return b"HTTP/1.1 %d Soon\r\n" % status + rest


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("status", [200, 204, 413, 401, 503])
def test_answers_and_closes(post: Post, status: int, body: bytes) -> None:
    outcome = post(lambda one: one.sendall(answer(status, CLOSE)), body)
    assert str(outcome) == str(status)


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("rest", [CLOSE, OPEN, b"X: half a he"])
@pytest.mark.parametrize("status", [200, 413])
def test_answers_and_stops_reading(
    post: Post, status: int, rest: bytes, body: bytes
) -> None:
    def handle(connection: socket.socket) -> None:
        connection.sendall(answer(status, rest))
        gevent.sleep(3_600)

    outcome = post(handle, body)
    assert str(outcome) == str(status)
    assert outcome.seconds < PROMPT


def test_answers_in_pieces(post: Post) -> None:
    def handle(connection: socket.socket) -> None:
        for byte in answer(200, CLOSE):
            connection.sendall(bytes([byte]))
            gevent.sleep(0.001)
        gevent.sleep(3_600)

    assert str(post(handle, LARGE)) == "200"


def test_answers_and_ends_its_half(post: Post) -> None:
    def handle(connection: socket.socket) -> None:
        connection.sendall(answer(202, CLOSE))
        if not isinstance(connection, ssl.SSLSocket):
            connection.shutdown(socket.SHUT_WR)
        gevent.sleep(3_600)

    assert str(post(handle, LARGE)) == "202"


@pytest.mark.parametrize("interim", [100, 102, 103])
def test_interim_answers_do_not_end_the_body(post: Post, interim: int) -> None:
    def handle(connection: socket.socket) -> None:
        left = len(LARGE) - 1_000
        while left > 0:
            connection.sendall(answer(interim, b"\r\n"))
            for _ in range(200):
                left -= len(connection.recv(16_384))
                if left <= 0:
                    break
        connection.sendall(answer(201, CLOSE))

    assert str(post(handle, LARGE)) == "201"


@pytest.mark.parametrize("end", ["closes", "ends its half"])
def test_no_answer_stays_a_failure(post: Post, end: str) -> None:
    def handle(connection: socket.socket) -> None:
        connection.sendall(answer(100, b"\r\n"))
        if end == "ends its half":
            connection.shutdown(socket.SHUT_WR)
            gevent.sleep(3_600)

    outcome = post(handle, LARGE)
    assert outcome.status is None
    assert not outcome.permanent
    assert outcome.seconds < PROMPT


def test_a_body_that_nobody_reads_takes_until_the_deadline(make: Make) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        attempt = make(timeout=DEADLINE)
        outcome = attempt(listener.getsockname()[1], method="POST", body=LARGE)
    assert outcome.error == "no answer within 0.3 s"


def test_such_a_connection_is_not_used_again(make: Make) -> None:
    attempt = make()
    connections: list[bytes] = []
    ended = Event()

    def handle(connection: socket.socket, address: object) -> None:
        connections.append(connection.recv(1_000))
        connection.sendall(answer(200, OPEN))
        with suppress(OSError):
            while connection.recv(65_536):
                pass
        ended.set()

    server = StreamServer(("127.0.0.1", 0), handle, spawn=Pool())
    server.start()
    for body in (LARGE, b"{}"):
        assert str(attempt(port_of(server), method="POST", body=body)) == "200"
    assert ended.wait(PROMPT)
    server.stop(timeout=0)
    assert len(connections) == 2


@pytest.mark.parametrize("echo", [False, True])
def test_a_target_that_answers_first_gets_the_whole_body(
    post: Post, echo: bool
) -> None:
    """It may well store what it has said yes to; nobody waits for it."""
    got = 0
    go_on = Event()

    def handle(connection: socket.socket) -> None:
        nonlocal got
        connection.sendall(answer(200, b"X: y\r\n\r\n" if echo else OPEN))
        go_on.wait(PROMPT)
        while received := connection.recv(65_536):
            got += len(received)
            if echo:
                connection.sendall(received)

    assert str(post(handle, LARGE)) == "200"
    assert not got
    go_on.set()
    eventually(lambda: got > len(LARGE) - 1_000)


def test_a_target_that_answers_without_an_end_is_not_listened_to_for_long(
    post: Post,
) -> None:
    said = 0
    ended = Event()

    def handle(connection: socket.socket) -> None:
        nonlocal said
        connection.sendall(answer(200, b"Transfer-Encoding: chunked\r\n\r\n"))
        with suppress(OSError):
            while True:
                connection.sendall(b"4000\r\n%b\r\n" % bytes(0x4000))
                said += 0x4000
        ended.set()

    assert str(post(handle, LARGE)) == "200"
    assert ended.wait(PROMPT)
    assert said < 10 * len(LARGE)  # what lies in the sockets, too


@pytest.mark.parametrize("status", [413, 401, 500])
def test_a_target_that_refuses_gets_no_more_of_it(post: Post, status: int) -> None:
    got = 0
    ended, go_on = Event(), Event()

    def handle(connection: socket.socket) -> None:
        nonlocal got
        connection.sendall(answer(status, OPEN))
        go_on.wait(PROMPT)
        with suppress(OSError):
            while received := connection.recv(65_536):
                got += len(received)
        ended.set()

    assert str(post(handle, LARGE)) == str(status)
    go_on.set()
    assert ended.wait(PROMPT)
    assert got < len(LARGE) - 1_000
