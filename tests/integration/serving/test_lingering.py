"""Answers that come before the request has: whoever still sends gets to read them."""

import socket
import time
from pathlib import Path

import gevent
import pytest

from mspc.serving import lingering
from mspc.serving.server import Server
from tests.integration.serving.harness import (
    CHUNKED,
    GET,
    POST,
    SOON,
    Client,
    Connect,
    Start,
)
from tests.integration.serving.test_server import secure_client
from tests.support.certificates import Certificates
from tests.support.waiting import eventually

UNREAD = POST.replace(b"/", b"/unread", 1)
MIB = 1_048_576
SIZE = 20 * MIB
PIECE = b"a" * 65_536


def send_all(client: Client, size: int = SIZE) -> None:
    """Sends a body without a look at what comes back, as nginx does."""
    for _ in range(size // len(PIECE)):
        client.send(PIECE)


EARLY = {
    "413": (UNREAD + b"Content-Length: %d\r\n\r\n" % SIZE, 413),
    "a part was read": (
        POST.replace(b"/", b"/part", 1) + b"Content-Length: %d\r\n\r\n" % SIZE,
        413,
    ),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "too large a head": (POST + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "no chunk": (CHUNKED, 400),
}


@pytest.mark.parametrize("name", EARLY)
def test_20_mib_may_still_be_on_their_way(client: Client, name: str) -> None:
    head, status = EARLY[name]
    client.send(head)
    send_all(client)

    assert client.answer().status == status
    assert client.rest() == b""


def test_pieces_may_come_with_pauses(client: Client) -> None:
    """Nothing is lost to a client that sends on after a second look at its disk."""
    client.send(EARLY["413"][0])
    for _ in range(20):
        client.send(PIECE)
        gevent.sleep(0.02)
    assert client.answer().status == 413


@pytest.mark.parametrize(
    "first",
    [
        GET[:-2] + b"Connection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        GET.replace(b"/", b"/bug", 1),
    ],
)
def test_requests_sent_ahead_of_a_last_answer(
    client: Client, first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.allowed = ("The application failed",)  # type: ignore[attr-defined]
    client.send(first + GET * 1000)
    send_all(client, 2 * MIB)
    assert client.answer().status in (200, 500)
    assert client.rest() == b""


def test_over_tls(start: Start, ssl_dir: Path, certificates: Certificates) -> None:
    server = start(tls=True, ssl_dir=ssl_dir)
    client = secure_client(server, certificates.server.client_context())
    client.send(EARLY["413"][0])
    send_all(client)
    assert client.answer().status == 413
    client.close()


def test_the_redirect_to_tls(start: Start, connect: Connect, ssl_dir: Path) -> None:
    client = connect(start(tls=True, ssl_dir=ssl_dir))
    client.send(POST + b"Content-Length: %d\r\n\r\n" % SIZE)
    send_all(client)
    assert client.answer().status == 307


# ---- but not for ever


def test_a_client_that_does_not_close_is_left(start: Start, connect: Connect) -> None:
    server = start(limits={"linger": 0.2})
    client = connect(server)
    client.send(EARLY["413"][0])
    assert client.answer().status == 413
    eventually(lambda: not server._traffic.open)


def send_for_ever(client: Client) -> None:
    client.sock.settimeout(SOON)
    with pytest.raises(OSError):  # noqa: PT011, PT012
        while True:
            client.sock.send(PIECE)
            gevent.sleep(0)


def test_a_client_that_sends_for_ever(start: Start, connect: Connect) -> None:
    server = start(limits={"linger": 0.5})
    client = connect(server)
    client.send(UNREAD + b"Transfer-Encoding: chunked\r\n\r\n")
    send_for_ever(client)
    eventually(lambda: not server._traffic.open)


def test_the_bytes_of_all_together_are_bounded(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "MOST_BYTES", MIB)
    server = start(limits={"linger": SOON})
    clients = [connect(server) for _ in range(3)]
    for client in clients:
        client.send(EARLY["413"][0])
    send_for_ever(clients[0])
    eventually(lambda: not server._traffic.lingering._connections)
    # What others have sent before does not count for those who come now.
    client = connect(server)
    client.send(UNREAD + b"Content-Length: 200000\r\n\r\n" + b"a" * 200_000)
    assert client.answer().status == 413


def test_their_number_is_bounded(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "MOST_CONNECTIONS", 2)
    server = start(limits={"linger": SOON})
    clients = [connect(server) for _ in range(5)]
    for client in clients:
        assert client.ask(EARLY["413"][0]).status == 413
    eventually(lambda: len(server._traffic.open) == 2)


def test_others_have_their_turn_meanwhile(start: Start, connect: Connect) -> None:
    server = start(limits={"linger": SOON})
    flooding = connect(server)
    flooding.send(UNREAD + b"Transfer-Encoding: chunked\r\n\r\n")
    sender = gevent.spawn(send_all, flooding, 200 * MIB)
    for _ in range(20):
        assert connect(server).ask(GET).status == 200
    sender.kill()
    flooding.close()


def test_a_stop_does_not_wait_for_them(start: Start, connect: Connect) -> None:
    server: Server = start(limits={"linger": 60.0})
    client = connect(server)
    assert client.ask(EARLY["413"][0]).status == 413
    eventually(lambda: server._traffic.lingering._connections)
    started = time.monotonic()
    server.stop(30)
    assert time.monotonic() - started < SOON


def test_a_client_that_resets_is_no_trouble(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server)
    assert client.ask(EARLY["413"][0]).status == 413
    option = (socket.SOL_SOCKET, socket.SO_LINGER)
    client.sock.setsockopt(*option, b"\1\0\0\0\0\0\0\0")
    client.close()
    eventually(lambda: not server._traffic.open)
