"""Once the final status line has come, nothing behind it matters to the call."""

import socket
from collections.abc import Callable
from contextlib import suppress

import gevent
import pytest
from gevent.event import Event

from mspc.forwarding import connections
from mspc.forwarding.forwarder import Forwarder
from mspc.settings.config import ForwardConfig
from tests.integration.forwarding.conftest import (
    OK,
    PROMPT,
    Attempts,
    Handler,
    Make,
    Serve,
    repeat,
    say,
    say_and_hang,
)
from tests.support.waiting import eventually

LINE = b"HTTP/1.1 %d Said\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
RESTS = {
    "nothing": b"",
    "half a header": b"X: y",
    "101 headers": b"X: y\r\n" * 101 + b"\r\n",
    "50,000 headers": b"X: y\r\n" * 50_000 + b"\r\n",
    "a header of a megabyte": b"X: " + b"y" * 1_000_000 + b"\r\n\r\n",
    "headers that are none": b"\x00\xff\r\n: \r\nno colon\r\n\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nseven..",
    "a negative length": b"Content-Length: -1\r\n\r\nx",
    "a long length": b"Content-Length: " + b"9" * 400 + b"\r\n\r\nx",
    "length and chunks": b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked twice": CHUNKED * 2 + b"\r\n0\r\n\r\n",
    "an unknown coding": b"Transfer-Encoding: zip\r\n\r\nx",
    "no chunks": CHUNKED + b"\r\nno chunks\r\n",
    "half a chunk": CHUNKED + b"\r\n5\r\nab",
    "chunks without end": CHUNKED + b"\r\n" + b"1\r\nx\r\n" * 100_000,
    "an event stream": b"Content-Type: text/event-stream\r\n\r\ndata: 1\n\n",
    "too little": b"Content-Length: 100\r\n\r\nshort",
    "too much": b"Content-Length: 0\r\n\r\n" + b"x" * 100_000,
    "another answer": b"Content-Length: 0\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
    "a lie about gzip": b"Content-Encoding: gzip\r\n\r\nnot gzip",
}
STARTS = [LINE, b"HTTP/1.0 %d Said\r\n", b"HTTP/2 %d\r\n", b"HTTP/3.0 %d\n"]


@pytest.mark.parametrize("end", [say, say_and_hang])
@pytest.mark.parametrize("rest", RESTS.values(), ids=RESTS)
def test_a_2xx_is_a_success_whatever_follows(
    attempt: Attempts, serve: Serve, rest: bytes, end: Callable[..., Handler]
) -> None:
    outcome = attempt(serve(end(LINE % 200, rest)))
    assert (outcome.status, outcome.error) == (200, "")
    assert outcome.seconds < PROMPT  # the deadline is far


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("status", [200, 299, 404, 503])
def test_the_version_does_not_matter(
    attempt: Attempts, serve: Serve, start: bytes, status: int
) -> None:
    outcome = attempt(serve(say_and_hang(start % status)))
    assert str(outcome) == str(status)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b"X: y\r\n"),
        (b"X: ", b"y"),
        (b"Content-Length: 60000\r\n\r\n", b"x"),
        (b"\r\n", b"data: x\n\n"),
        (CHUNKED + b"\r\n", b"1\r\nx\r\n"),
        (CHUNKED + b"\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["headers", "a header", "a body", "events", "chunks", "trailers"],
)
def test_nobody_waits_for_what_drips(
    attempt: Attempts,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    first: bytes,
    again: bytes,
) -> None:
    monkeypatch.setattr(connections, "REST_SECONDS", 0.2)
    ended = Event()

    def handle(connection: socket.socket) -> None:
        try:
            repeat(LINE % 200 + first, again, pause=0.01)(connection)
        finally:
            ended.set()

    outcome = attempt(serve(handle))
    assert str(outcome) == "200"
    assert outcome.seconds < PROMPT
    assert ended.wait(PROMPT * 2)  # and nobody listens to it for ever


def test_answers_in_pieces_keep_their_connections(make: Make, serve: Serve) -> None:
    """Head and body come apart, as most servers send them."""
    attempt = make()
    served = []
    gone = Event()

    def handle(connection: socket.socket) -> None:
        served.append(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(3):
            connection.sendall(LINE % 200)
            gevent.sleep(0)
            connection.sendall(b"Content-Length: 5\r\n\r\n")
            gevent.sleep(0)
            connection.sendall(b"hello")
            gone.set()
            connection.recv(10_000)

    port = serve(handle)
    for _ in range(3):
        gone.clear()
        assert str(attempt(port)) == "200"
        assert gone.wait(PROMPT)
    assert len(served) == 1


def test_the_rest_is_not_taken_for_the_next_answer(make: Make, serve: Serve) -> None:
    attempt = make()
    go_on = Event()

    def handle(connection: socket.socket) -> None:
        connection.sendall(LINE % 200 + b"Content-Length: 40\r\n\r\n")
        go_on.wait(PROMPT)
        connection.sendall((LINE % 500 + b"\r\n").ljust(40))
        while connection.recv(10_000):
            connection.sendall(OK)

    port = serve(handle)
    assert str(attempt(port)) == "200"
    go_on.set()
    for _ in range(5):
        assert str(attempt(port)) == "200"
        gevent.sleep(0)


def test_answers_without_an_end_hold_a_bounded_number_of_connections(
    make: Make, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNFINISHED", 5)
    monkeypatch.setattr(connections, "REST_SECONDS", 3_600.0)
    held = 0

    def never_ending(rest: bytes) -> Handler:
        def handle(connection: socket.socket) -> None:
            nonlocal held
            held += 1
            connection.sendall(LINE % 200 + rest)
            with suppress(OSError):
                connection.recv(1)
            held -= 1

        return handle

    attempt = make()
    ports = [
        serve(never_ending(rest)) for rest in (b"Content-Length: 9\r\n\r\n", b"\r\n")
    ]
    for _ in range(20):
        for port in ports:
            assert str(attempt(port)) == "200"
    eventually(lambda: held == 5 + 5)
    attempt.forwarder.close()
    eventually(lambda: held == 0)


def test_a_target_is_not_cut_off_while_it_answers(serve: Serve, make: Make) -> None:
    """One that closes its connections gets to say what it has to say."""
    attempt = make()
    failed: list[OSError] = []
    done = Event()

    def handle(connection: socket.socket) -> None:
        try:
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            for _ in range(10):
                gevent.sleep(0.01)
                connection.sendall(b"x" * 1_000)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
        except OSError as exc:
            failed.append(exc)
        done.set()

    assert str(attempt(serve(handle))) == "200"
    assert done.wait(PROMPT)
    assert failed == []


def test_closing_twice_or_before_a_start_does_no_harm() -> None:
    forwarder = Forwarder(ForwardConfig())
    forwarder.close()
    forwarder.start()
    forwarder.close()
    forwarder.close()
