"""Why an attempt failed, in one word, and what the service said: the real thing."""

import socket
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event
from gevent.monkey import get_original
from gevent.pool import Pool
from gevent.server import StreamServer

from mspc.calls import words
from mspc.calls.call import LONGEST_ANSWER_BYTES
from mspc.calls.networks import NetworkRules, parse_network
from mspc.forwarding import exchange
from tests.integration.forwarding.conftest import (
    DEADLINE,
    ERROR,
    OK,
    PROMPT,
    Attempts,
    Handler,
    Make,
    Serve,
    port_of,
    repeat,
    say,
    say_and_hang,
)
from tests.support.backlog import full_backlog
from tests.support.certificates import Certificates
from tests.support.children import free_port
from tests.support.target import Target

TEXT = ERROR + b"Content-Type: text/plain\r\n"
LENGTH = TEXT + b"Content-Length: %d\r\n\r\n"
LARGE = bytes(30_000_000)
LINGER = bytes((1, 0, 0, 0, 0, 0, 0, 0))  # closing resets: struct linger {1, 0}


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)


@pytest.fixture
def serve_early() -> Iterator[Serve]:
    """A handler starts when something of the request has come."""
    servers: list[StreamServer] = []

    def serve(handler: Handler) -> int:
        def handle(connection: socket.socket, address: object) -> None:
            with connection:
                connection.recv(100)
                handler(connection)

        servers.append(StreamServer(("127.0.0.1", 0), handle, spawn=Pool()))
        servers[-1].start()
        return port_of(servers[-1])

    yield serve
    for server in servers:
        server.stop(timeout=0)


class TestWords:
    @pytest.mark.parametrize("status", [101, 304, 307, 404, 500, 503])
    def test_an_answer_that_is_no_2xx(
        self, attempt: Attempts, serve: Serve, status: int
    ) -> None:
        answer = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
        assert attempt(serve(say(answer))).word == words.BAD_STATUS

    def test_a_refused_connection(self, attempt: Attempts) -> None:
        assert attempt(free_port()).word == words.CONNECTION_REFUSED

    @pytest.mark.parametrize(
        "handler", [reset, say(), say(b"HTTP/1.1 2")], ids=["reset", "end", "half"]
    )
    def test_a_connection_that_breaks(
        self, attempt: Attempts, serve: Serve, handler: Handler
    ) -> None:
        assert attempt(serve(handler)).word == words.CONNECTION_RESET

    def test_one_that_breaks_while_a_large_body_is_sent(
        self, attempt: Attempts, serve_early: Serve
    ) -> None:
        outcome = attempt(serve_early(reset), method="PUT", body=LARGE)
        assert outcome.word == words.CONNECTION_RESET

    @pytest.mark.parametrize(
        "handler",
        [
            say(b"SSH-2.0-OpenSSH_9.2\r\n"),
            say(b"\x15\x03\x03"),
            say(b"HTTP/1.1 99 No\r\n\r\n"),
            repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ],
        ids=["another protocol", "half of one", "no status", "no end of interim ones"],
    )
    def test_what_is_no_answer(
        self, attempt: Attempts, serve: Serve, handler: Handler
    ) -> None:
        assert attempt(serve(handler)).word == words.PROTOCOL

    def test_what_cannot_be_written(self, attempt: Attempts, target: Target) -> None:
        outcome = attempt(target.port, headers=(("X", "a\r\nb"),))
        assert (outcome.word, outcome.permanent) == (words.PROTOCOL, True)

    def test_no_answer_in_time(self, hurried: Attempts, serve: Serve) -> None:
        assert hurried(serve(say_and_hang())).word == words.TIMEOUT

    def test_no_connection_in_time(self, make: Make, hurried: Attempts) -> None:
        with full_backlog("127.0.0.1") as port:
            assert hurried(port).word == words.CONNECT_TIMEOUT
            outcome = make(connect_timeout=DEADLINE)(port)
        assert outcome.word == words.CONNECT_TIMEOUT

    @pytest.mark.parametrize("limit", ["timeout", "connect_timeout"])
    def test_no_end_of_the_handshake_in_time(self, make: Make, limit: str) -> None:
        server = StreamServer(("127.0.0.1", 0), lambda *_: gevent.sleep(3_600))
        server.start()
        try:
            outcome = make(**{limit: DEADLINE})(port_of(server), scheme="https")
        finally:
            server.stop(timeout=0)
        assert outcome.word == words.CONNECT_TIMEOUT

    @pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".test"])
    def test_a_name_without_an_address(self, attempt: Attempts, host: str) -> None:
        """Reserved by RFC 2606: no name server knows it."""
        assert attempt(80, host=host).word == words.DNS

    def test_silent_name_servers(
        self, make: Make, silent_name_servers: Callable[[str], Exception]
    ) -> None:
        attempt = make(connect_timeout=DEADLINE)
        for _ in range(2):  # the second time they are left alone
            assert attempt(80, host="silent.test").word == words.DNS

    def test_a_certificate_of_somebody_else(
        self, make: Make, certificates: Certificates
    ) -> None:
        target = Target(certificates.server.server_context())
        target.start()
        try:
            assert make()(target.port, scheme="https").word == words.TLS
        finally:
            target.stop()

    def test_tls_to_a_plain_port(self, attempt: Attempts) -> None:
        server = StreamServer(("127.0.0.1", 0), lambda one, _: one.sendall(ERROR))
        server.start()
        try:
            outcome = attempt(port_of(server), scheme="https")
        finally:
            server.stop(timeout=0)
        assert outcome.word == words.TLS

    def test_a_denied_network(self, make: Make, target: Target) -> None:
        rules = NetworkRules((parse_network("127.0.0.0/8"),))
        assert make(networks=rules)(target.port).word == words.DENIED_NETWORK

    def test_a_bug_in_a_library(
        self, attempt: Attempts, target: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def connect(_: object) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr("urllib3.connection.HTTPConnection.connect", connect)
        assert attempt(target.port).word == words.UNKNOWN


@pytest.fixture
def silent_name_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    ended = get_original("threading", "Event")()

    def look_up(host: str) -> Exception:
        ended.wait(60)
        return socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    monkeypatch.setattr("mspc.forwarding.names._getaddrinfo", look_up)
    yield look_up
    ended.set()


class TestReason:
    """What the service said."""

    @pytest.mark.parametrize(
        "answer",
        [
            LENGTH % 8 + b"no stock",
            TEXT + b"\r\nno stock",
            TEXT + b"Transfer-Encoding: chunked\r\n\r\n3\r\nno \r\n5\r\nstock\r\n0\r\n",
        ],
        ids=["of a known length", "until it is closed", "in chunks"],
    )
    def test_comes_with_the_outcome(
        self, attempt: Attempts, serve: Serve, answer: bytes
    ) -> None:
        outcome = attempt(serve(say(answer)))
        assert (outcome.status, outcome.answer) == (500, "no stock")

    def test_may_come_right_behind_the_head(
        self, attempt: Attempts, serve: Serve
    ) -> None:
        def handle(connection: socket.socket) -> None:
            for part in (ERROR, b"Content-Length: 8\r\n\r\n", b"no ", b"stock"):
                connection.sendall(part)
                gevent.sleep(0.01)

        assert attempt(serve(handle)).answer == "no stock"

    def test_is_its_beginning(self, attempt: Attempts, serve: Serve) -> None:
        body = b"x" * 1_000_000
        outcome = attempt(serve(say(LENGTH % len(body), body)))
        assert outcome.answer == "x" * LONGEST_ANSWER_BYTES

    @pytest.mark.parametrize(
        "answer",
        [ERROR, TEXT + b"\r\nno st", LENGTH % 8 + b"no st"],
        ids=["head", "end", "length"],
    )
    def test_that_does_not_end_is_not_awaited(
        self,
        attempt: Attempts,
        serve: Serve,
        answer: bytes,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(exchange, "_REASON_SECONDS", DEADLINE)
        outcome = attempt(serve(say_and_hang(answer)))
        assert outcome.status == 500
        assert outcome.answer in ("", "no st")
        assert DEADLINE <= outcome.seconds < PROMPT

    def test_that_drips_is_not_awaited(self, attempt: Attempts, serve: Serve) -> None:
        outcome = attempt(serve(repeat(TEXT + b"\r\n", b"x", pause=0.01)))
        assert set(outcome.answer) == {"x"}
        assert outcome.seconds < PROMPT

    def test_that_breaks_off_leaves_the_status(
        self, attempt: Attempts, serve: Serve
    ) -> None:
        def handle(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-")
            gevent.sleep(0.05)
            reset(connection)

        outcome = attempt(serve(handle))
        assert (outcome.status, outcome.word) == (503, words.BAD_STATUS)

    def test_does_not_make_the_attempt_late(self, make: Make, serve: Serve) -> None:
        """The status came in time."""

        def handle(connection: socket.socket) -> None:
            gevent.sleep(0.8 * DEADLINE)
            say_and_hang(TEXT)(connection)

        assert make(timeout=DEADLINE)(serve(handle)).status == 500

    def test_leaves_the_connection_usable(
        self, attempt: Attempts, target: Target
    ) -> None:
        target.answer(status=500, body=b"no stock")
        for _ in range(3):
            assert attempt(target.port).answer == "no stock"
        assert (len(target.hits), target.connections) == (3, 1)

    def test_is_not_what_the_next_call_is_answered(
        self, attempt: Attempts, serve: Serve
    ) -> None:
        """Its end comes later than anybody waits for it."""
        go_on = Event()

        def handle(connection: socket.socket) -> None:
            connection.sendall(LENGTH % 40)
            go_on.wait(PROMPT)
            connection.sendall((b"HTTP/1.1 599 No\r\n\r\n").ljust(40))
            while connection.recv(10_000):
                connection.sendall(OK)

        port = serve(handle)
        assert str(attempt(port)) == "500"
        go_on.set()
        gevent.sleep(0.05)  # or a new connection is opened, which is just as well
        assert str(attempt(port)) in ("200", "500")

    def test_of_a_target_that_wanted_no_body(
        self, attempt: Attempts, serve_early: Serve
    ) -> None:
        head = b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
        port = serve_early(say_and_hang(head, b"too large"))
        outcome = attempt(port, method="PUT", body=LARGE)
        assert (outcome.status, outcome.answer) == (413, "too large")

    def test_of_a_success_is_nobodys_business(
        self, attempt: Attempts, serve: Serve
    ) -> None:
        outcome = attempt(serve(say_and_hang(b"HTTP/1.1 200 OK\r\n\r\nhello")))
        assert (outcome.status, outcome.answer) == (200, "")
