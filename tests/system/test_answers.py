"""Answers that are strange, through the whole process: what was answered is done."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

import gevent
import pytest
from gevent.pool import Pool
from gevent.server import StreamServer

from tests.conftest import StartMspc
from tests.support.open_sockets import open_sockets
from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LINGER_ZERO = struct.pack("ii", 1, 0)

Handler = Callable[[socket.socket, int], None]
Serve = Callable[[Handler], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves raw connections; a handler gets their number, from 1."""
    servers: list[StreamServer] = []

    def serve(handler: Handler) -> str:
        number = 0

        def handle(connection: socket.socket, address: object) -> None:
            nonlocal number
            number += 1
            with connection, suppress(OSError):
                handler(connection, number)

        server = StreamServer(("127.0.0.1", 0), handle, spawn=Pool())
        server.start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.stop(timeout=0)


def send(mspc: MspcProcess, url: str, **properties: object) -> str:
    response = mspc.post({"url": url, **properties})
    assert response.status == 202, response.body
    return str(response.json["id"])


@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("then", ["closes", "stops reading"])
def test_an_answer_before_the_end_of_the_body(
    mspc_process: StartMspc, serve: Serve, status: int, then: str
) -> None:
    def handle(connection: socket.socket, _: int) -> None:
        connection.recv(1_000)
        answer = b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(answer % status)
        if then != "closes":
            gevent.sleep(3_600)

    mspc = mspc_process({"MAX_REQUEST_BYTES": "8000000"})
    body = '"' + "x" * 6_000_000 + '"'
    call = send(mspc, serve(handle), method="POST", body=body, requeue=False)
    found = mspc.wait_for_log(rf"{call} .* -> (\d+) in \d+ ms: (done|a dead letter)$")
    assert int(found[1]) == status


def test_endless_answers_hold_no_consumer(
    mspc_process: StartMspc, serve: Serve, target: Target
) -> None:
    def stream(connection: socket.socket, _: int) -> None:
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        connection.sendall(b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n")
        while True:
            connection.sendall(b"data: x\n\n")
            gevent.sleep(0.05)

    mspc = mspc_process({"QUEUE_NUMBER_OF_CONSUMERS": "1"})
    url = serve(stream)
    calls = [send(mspc, url) for _ in range(5)]
    healthy = send(mspc, target.url("/"))
    # Far below the 60 s of FORWARD_TIMEOUT_SECONDS that each would take.
    for call in (*calls, healthy):
        mspc.wait_for_log(rf"{call} .* -> 200 in \d+ ms: done$")


def test_a_service_that_closes_idle_connections_fails_no_call(
    mspc_process: StartMspc, serve: Serve
) -> None:
    """It resets each connection when a second request comes over it."""
    requests = 0

    def handle(connection: socket.socket, _: int) -> None:
        nonlocal requests
        connection.recv(10_000)
        requests += 1
        connection.sendall(OK)
        connection.recv(10_000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)

    mspc = mspc_process()
    url = serve(handle)
    for number in range(20):
        call = send(mspc, url, requeue=number % 2 == 0)
        mspc.wait_for_log(rf"{call} .* -> 200 in \d+ ms: done$")
    assert requests == 20


def test_connections_that_targets_have_closed_are_closed_here(
    mspc_process: StartMspc, serve: Serve
) -> None:
    closed = 0

    def handle(connection: socket.socket, _: int) -> None:
        nonlocal closed
        connection.recv(10_000)
        gevent.sleep(0.2)  # so that each call has a connection of its own
        connection.sendall(OK)
        gevent.sleep(0.2)
        connection.shutdown(socket.SHUT_WR)
        if not connection.recv(1):
            closed += 1

    mspc = mspc_process()
    before = open_sockets(mspc.pid)
    url = serve(handle)
    for call in [send(mspc, url) for _ in range(20)]:
        mspc.wait_for_log(rf"{call} .* done$")
    # Without another call.
    eventually(lambda: closed > 1 and open_sockets(mspc.pid) <= before)
