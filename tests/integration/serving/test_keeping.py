"""Idle connections: kept longer than a balancer keeps them, unless others need room."""

import time

import gevent
import pytest

from mspc.serving.server import KEEP_ALIVE_GRACE
from mspc.settings.config import HttpConfig
from tests.integration.serving.harness import GET, POST, SOON, App, Connect, Start
from tests.support.waiting import eventually

BALANCERS_SECONDS = 60  # nginx, HAProxy's common configuration, AWS ALB


def test_the_default_is_longer_than_a_balancers(start: Start) -> None:
    server = start()
    assert HttpConfig().keep_alive > BALANCERS_SECONDS
    assert server._traffic.limits.idle == HttpConfig().keep_alive + KEEP_ALIVE_GRACE


@pytest.mark.parametrize(
    ("request_", "kept"),
    [
        (GET, True),
        (POST + b"Content-Length: 1\r\n\r\na", True),
        (POST.replace(b"/", b"/unread", 1) + b"Content-Length: 1\r\n\r\na", True),
        (GET[:-2] + b"Connection: keep-alive\r\n\r\n", True),
        (GET[:-2] + b"Connection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n", False),
        (POST.replace(b"/", b"/unread", 1) + b"Content-Length: 99999\r\n\r\n", False),
        (b"no request\r\n", False),
    ],
)
def test_an_answer_says_how_long_its_connection_is_kept(
    start: Start, connect: Connect, request_: bytes, kept: bool
) -> None:
    client = connect(start(keep_alive=610))
    answer = client.ask(request_)

    assert answer.headers["connection"] == ("keep-alive" if kept else "close")
    assert answer.headers.get("keep-alive") == ("timeout=610" if kept else None)
    if kept:
        assert client.ask(GET).status == 200
    else:
        assert client.rest() == b""


def test_each_answer_to_requests_sent_ahead_says_it(
    start: Start, connect: Connect
) -> None:
    client = connect(start())
    client.send(GET * 100 + GET[:-2] + b"Connection: close\r\n\r\n")
    answers = [client.answer() for _ in range(101)]
    assert {a.headers["connection"] for a in answers[:-1]} == {"keep-alive"}
    assert {a.headers["keep-alive"] for a in answers[:-1]} == {"timeout=75"}
    assert answers[-1].headers["connection"] == "close"
    assert "keep-alive" not in answers[-1].headers


def test_a_connection_is_kept_for_as_long_as_was_said(
    start: Start, connect: Connect
) -> None:
    client = connect(start(keep_alive=1))
    started = time.monotonic()
    assert client.ask(GET).headers["keep-alive"] == "timeout=1"
    assert client.rest() == b""
    assert 1 + KEEP_ALIVE_GRACE <= time.monotonic() - started < SOON


def test_nothing_is_promised_while_the_server_stops(
    start: Start, connect: Connect, app: App
) -> None:
    server = start()
    client = connect(server)
    client.send(GET.replace(b"/", b"/wait", 1))
    assert app.entered.wait(SOON)
    stopping = gevent.spawn(server.stop, SOON)
    eventually(lambda: server._traffic.draining)
    app.release.set()
    assert client.answer().headers["connection"] == "close"
    stopping.join()


# ---- too many


def test_idle_connections_make_room(
    start: Start, connect: Connect, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """Kept for 75 s, a thousand idle ones would shut out everybody for as long."""
    server = start(limits={"connections": 4})
    working = connect(server)
    working.send(GET.replace(b"/", b"/wait", 1))
    assert app.entered.wait(SOON)
    idle = [connect(server) for _ in range(3)]
    for client in idle:
        assert client.ask(GET).status == 200
    assert connect(server).ask(GET).status == 200

    # The one that was idle longest has gone, and nobody who is in a request.
    assert idle[0].rest() == b""
    app.release.set()
    assert working.answer().status == 200
    assert idle[2].ask(GET).status == 200
    assert "All connections are taken: 1 idle ones are ended" in caplog.text


def test_connections_that_nobody_uses_make_room(start: Start, connect: Connect) -> None:
    """Ten seconds are for a slow client, when nobody else waits."""
    server = start(limits={"connections": 20, "unused": 0.2})
    slow = connect(server)
    slow.send(GET[:-2])  # in the middle of a request
    unused = [connect(server) for _ in range(30)]
    assert connect(server).ask(GET).status == 200
    assert unused[0].rest() == b""
    slow.send(GET[-2:])
    assert slow.answer().status == 200
