"""One attempt, against every kind of target and network."""

import gc
import gzip
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.monkey import get_original
from gevent.server import StreamServer
from urllib3.exceptions import LocationParseError

from mspc.calls.call import Outcome
from mspc.calls.networks import NetworkRules, parse_network
from mspc.calls.policy import Policy
from mspc.forwarding import connections as connection
from mspc.forwarding.forwarder import USER_AGENT, Forwarder
from mspc.forwarding.names import Place
from mspc.forwarding.rest import ANSWER_BYTES
from mspc.settings.config import ForwardConfig
from tests.integration.forwarding.conftest import (
    CALL_ID,
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
from tests.support.children import die_with_parent, end, free_port
from tests.support.open_sockets import open_sockets
from tests.support.target import Target
from tests.support.waiting import eventually

EVERY_BYTE = bytes(range(256))
Flood = Callable[[bytes, bytes], int]


def assert_no_answer(outcome: Outcome, error: str) -> None:
    assert outcome.status is None
    assert error in outcome.error
    assert not outcome.permanent


class TestRequest:
    """What arrives is what was asked for."""

    @pytest.mark.parametrize(
        "method",
        [
            *("GET", "HEAD", "POST", "PUT", "PATCH"),
            *("DELETE", "OPTIONS", "CONNECT", "TRACE"),
        ],
    )
    def test_method_target_and_body(
        self, attempt: Attempts, target: Target, method: str
    ) -> None:
        place = "/a/../b;c?d=%20&e=%C3%A9"
        outcome = attempt(target.port, method=method, target=place, body=EVERY_BYTE)
        assert str(outcome) == "200"
        (hit,) = target.hits
        assert (hit.method, hit.path, hit.body) == (method, place, EVERY_BYTE)

    @pytest.mark.parametrize(
        "place",
        ["/%c3%a9", "/a|b", "/?a[]=1&b={c}", "/100%", "//a//b", "/a?", "/?a?b"],
    )
    def test_the_target_goes_as_it_is(
        self, attempt: Attempts, target: Target, place: str
    ) -> None:
        attempt(target.port, target=place)
        assert [hit.path for hit in target.hits] == [place]

    def test_a_large_body(self, attempt: Attempts, target: Target) -> None:
        body = EVERY_BYTE * 40_000
        attempt(target.port, method="PUT", body=body)
        assert target.hits[0].body == body

    def test_an_empty_target_is_the_root(
        self, attempt: Attempts, target: Target
    ) -> None:
        attempt(target.port, target="")
        assert target.hits[0].path == "/"

    def test_connect_without_a_target_names_host_and_port(
        self, attempt: Attempts, target: Target
    ) -> None:
        attempt(target.port, target="", method="CONNECT")
        assert target.hits[0].path == f"127.0.0.1:{target.port}"

    @pytest.mark.parametrize(
        "value", ["plain", "žluť 🐎", "é", "", "@@@SKIP_HEADER@@@"]
    )
    def test_header_values_are_utf_8(
        self, attempt: Attempts, target: Target, value: str
    ) -> None:
        attempt(target.port, headers=(("X-Value", value),))
        raw = target.hits[0].headers["x-value"].encode("latin-1")
        assert raw == value.encode()

    def test_the_callers_host_header_is_kept(
        self, attempt: Attempts, target: Target
    ) -> None:
        attempt(target.port, headers=(("hOST", "virtual.test"),))
        assert target.hits[0].headers["host"] == "virtual.test"

    def test_the_default_headers(self, attempt: Attempts, target: Target) -> None:
        attempt(target.port)
        assert target.hits[0].headers == {
            "host": f"127.0.0.1:{target.port}",
            "accept-encoding": "identity",
            "user-agent": USER_AGENT,
            "idempotency-key": CALL_ID,
            "mspc-attempt": "1",
        }

    @pytest.mark.parametrize("name", ["Idempotency-Key", "idempotency-KEY"])
    def test_the_callers_idempotency_key_is_kept(
        self, attempt: Attempts, target: Target, name: str
    ) -> None:
        attempt(target.port, headers=((name, "the caller's"),))
        lines = target.hits[0].header_lines
        found = [line for line in lines if line[0].lower() == "idempotency-key"]
        assert found == [(name, "the caller's")]

    @pytest.mark.parametrize("name", ["User-Agent", "user-agent"])
    def test_the_callers_user_agent_is_kept(
        self, attempt: Attempts, target: Target, name: str
    ) -> None:
        attempt(target.port, headers=((name, "the caller's"),))
        assert target.hits[0].headers["user-agent"] == "the caller's"


class TestAnswer:
    """The status line decides."""

    @pytest.mark.parametrize("status", [200, 201, 204, 299, 304, 400, 404, 429, 503])
    def test_the_status(self, attempt: Attempts, target: Target, status: int) -> None:
        target.answer(status=status, body=b"details")
        assert str(attempt(target.port)) == str(status)

    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    @pytest.mark.parametrize("status", [200, 204, 304])
    def test_an_answer_without_content_leaves_the_connection_usable(
        self, attempt: Attempts, target: Target, method: str, status: int
    ) -> None:
        target.answer(status=status, body=b"x" * 10 if method == "HEAD" else b"")
        for _ in range(2):
            assert attempt(target.port, method=method).status == status
        assert target.connections == 1

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(
        self, attempt: Attempts, target: Target, status: int
    ) -> None:
        target.answer("/", status=status, headers={"Location": "/elsewhere"})
        outcome = attempt(target.port, method="POST", body=b"{}")
        assert str(outcome) == f"{status} (a redirect, not followed)"
        assert [hit.path for hit in target.hits] == ["/"]

    def test_a_repeated_interim_answer(self, attempt: Attempts, serve: Serve) -> None:
        interim = b"HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n"
        assert str(attempt(serve(say(interim * 3, OK)))) == "200"

    @pytest.mark.parametrize(
        "rest",
        [
            b"Content-Length: 100\r\n\r\ntoo short",
            b"Content-Length: many\r\n\r\nx",
            b"Content-Length: -1\r\n\r\nx",
            b"Content-Length: 0\r\n\r\ntoo long",
            b"Transfer-Encoding: chunked\r\n\r\nno chunks\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
            b"Content-Encoding: gzip\r\n\r\nnot gzip",
            b"\r\n",
        ],
    )
    def test_what_follows_a_2xx_does_not_make_it_a_failure(
        self, attempt: Attempts, serve: Serve, rest: bytes
    ) -> None:
        outcome = attempt(serve(say(b"HTTP/1.1 200 OK\r\n", rest)))
        assert (outcome.status, outcome.error) == (200, "")

    def test_a_2xx_that_never_ends_is_success(
        self, hurried: Attempts, serve: Serve
    ) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        assert str(hurried(serve(repeat(head, b"")))) == "200"

    def test_a_failure_that_breaks_off_keeps_its_status(
        self, attempt: Attempts, serve: Serve
    ) -> None:
        outcome = attempt(serve(say(ERROR, b"Content-Length: 9\r\n\r\nshort")))
        assert outcome.status == 500
        assert not outcome.permanent

    def test_an_answer_is_not_decoded(self, attempt: Attempts, serve: Serve) -> None:
        coded = b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip"
        assert str(attempt(serve(say(ERROR, coded)))) == "500"

    def test_a_decompression_bomb_takes_no_memory(
        self, attempt: Attempts, serve: Serve
    ) -> None:
        bomb = gzip.compress(bytes(32 * 1_048_576))
        head = f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        port = serve(say(ERROR, head.encode(), bomb))
        tracemalloc.start()
        try:
            assert str(attempt(port)) == "500"
            assert tracemalloc.get_traced_memory()[1] < 4 * 1_048_576
        finally:
            tracemalloc.stop()

    def test_no_more_than_the_limit_is_awaited(
        self, attempt: Attempts, serve: Serve
    ) -> None:
        head = b"Content-Length: 10000000\r\n\r\n"
        outcome = attempt(serve(say_and_hang(ERROR, head, b"x" * ANSWER_BYTES)))
        assert str(outcome) == "500"
        assert outcome.seconds < PROMPT

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_an_endless_answer_is_cut_off(
        self, attempt: Attempts, serve: Serve, method: str
    ) -> None:
        cut_off = Event()

        def handle(connection: socket.socket) -> None:
            try:
                repeat(ERROR + b"\r\n", b"x" * 65_536)(connection)
            finally:
                cut_off.set()

        assert str(attempt(serve(handle), method=method)) == "500"
        assert cut_off.wait(PROMPT)

    @pytest.mark.parametrize("status", [b"200", b"500"])
    def test_what_follows_connect_is_not_read(
        self, attempt: Attempts, serve: Serve, status: bytes
    ) -> None:
        head = b"HTTP/1.1 " + status + b" X\r\nContent-Length: 5\r\n\r\n"
        outcome = attempt(serve(say_and_hang(head)), method="CONNECT", target="")
        assert str(outcome) == status.decode()
        assert outcome.seconds < PROMPT


class TestConnection:
    """Kept for the next call when that is safe."""

    def test_is_used_again(self, attempt: Attempts, target: Target) -> None:
        target.answer(body=b"x" * (ANSWER_BYTES - 1))
        for _ in range(3):
            assert attempt(target.port).succeeded
        assert (len(target.hits), target.connections) == (3, 1)

    def test_is_opened_anew_after_a_while(self, target: Target) -> None:
        now = 0.0
        forwarder = Forwarder(ForwardConfig(), clock=lambda: now)
        attempt = Attempts(forwarder)
        for now in (0.0, 30.0, 30.1, 60.0):  # noqa: B007 - the clock shows it
            assert attempt(target.port).succeeded
        assert target.connections == 2
        forwarder.close()

    def test_is_closed_when_too_many_origins_have_one(
        self, attempt: Attempts, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "ORIGINS", 2)
        closed: list[int] = []

        def handler(number: int) -> Handler:
            def handle(client: socket.socket) -> None:
                client.sendall(OK)
                assert client.recv(1) == b""
                closed.append(number)

            return handle

        for port in [serve(handler(number)) for number in range(4)]:
            assert str(attempt(port)) == "200"
        eventually(lambda: closed == [0, 1])

    def test_is_not_used_again_after_a_large_answer(
        self, attempt: Attempts, target: Target
    ) -> None:
        target.answer(body=b"x" * (ANSWER_BYTES + 1))
        for _ in range(2):
            assert attempt(target.port).succeeded
        assert target.connections == 2

    def test_is_not_used_again_after_connect(
        self, attempt: Attempts, target: Target
    ) -> None:
        attempt(target.port, method="CONNECT", target="")
        attempt(target.port)
        assert target.connections == 2

    def test_is_opened_anew_when_the_target_has_closed_it(
        self, attempt: Attempts, serve: Serve
    ) -> None:
        closed: list[Event] = []

        def handle(connection: socket.socket) -> None:
            closed.append(Event())
            connection.sendall(OK)
            connection.shutdown(socket.SHUT_WR)
            closed[-1].set()

        port = serve(handle)
        for number in range(3):
            assert str(attempt(port)) == "200"
            assert closed[number].wait(PROMPT)
        assert len(closed) == 3

    def test_is_opened_anew_after_the_target_restarted(
        self, attempt: Attempts, target: Target
    ) -> None:
        attempt(target.port)
        target.stop()
        target.start()
        assert str(attempt(target.port)) == "200"

    def test_is_not_shared_by_attempts_at_once(
        self, attempt: Attempts, target: Target
    ) -> None:
        target.answer(delay=0.05)
        jobs = [gevent.spawn(attempt, target.port) for _ in range(5)]
        gevent.joinall(jobs, timeout=PROMPT)
        assert [str(job.value) for job in jobs] == ["200"] * 5
        assert target.connections == 5

    def test_is_not_used_again_after_the_deadline(
        self, hurried: Attempts, target: Target
    ) -> None:
        target.answer("/slow", delay=60)
        assert_no_answer(hurried(target.port, target="/slow"), "no answer within")
        assert str(hurried(target.port)) == "200"
        assert target.connections == 2


class TestFailure:
    """Every failure of a target or a network is an outcome, to be tried again."""

    def test_refused(self, attempt: Attempts) -> None:
        outcome = attempt(free_port())
        assert_no_answer(outcome, "no connection: Connection refused")

    def test_reset(self, attempt: Attempts, target: Target) -> None:
        target.fault = "reset"
        assert_no_answer(attempt(target.port), "no proper answer: ")

    def test_closed_without_an_answer(self, attempt: Attempts, serve: Serve) -> None:
        assert_no_answer(attempt(serve(say())), "no proper answer: ")
        assert_no_answer(attempt(serve(say(b"HTTP/1.1 2"))), "")
        assert_no_answer(attempt(serve(say(b"HTTP/1.1 "))), "")

    def test_garbage(self, attempt: Attempts, target: Target) -> None:
        target.fault = "garbage"
        assert_no_answer(attempt(target.port), "no proper answer: ")

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 " + b"2" * 1_000_000 + b"\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 99 OK\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\r\n" * 10,
        ],
        ids=[
            "a status line of a megabyte",
            "no number",
            "too small a number",
            "another protocol",
            "empty lines",
        ],
    )
    def test_not_http(self, attempt: Attempts, serve: Serve, answer: bytes) -> None:
        outcome = attempt(serve(say(answer)))
        assert_no_answer(outcome, "no proper answer: ")
        assert len(outcome.error) < 500

    @pytest.mark.parametrize(
        "handler",
        [
            say_and_hang(),
            say_and_hang(b"HTTP/1.1 200 OK"),
            repeat(b"HTTP/1.1 103 Hints\r\n", b"X: y\r\n", pause=0.05),
            repeat(b"HTTP/1.1 200 ", b"y", pause=0.01),
            repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            repeat(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        ],
        ids=[
            "silence",
            "half a status line",
            "drip of headers",
            "drip of bytes",
            "endless 100",
            "endless 102",
        ],
    )
    def test_the_deadline_is_for_the_whole_attempt(
        self, hurried: Attempts, serve: Serve, handler: Handler
    ) -> None:
        outcome = hurried(serve(handler))
        assert not outcome.succeeded
        assert not outcome.permanent
        assert outcome.seconds < PROMPT

    def test_the_deadline_is_named(self, hurried: Attempts, target: Target) -> None:
        target.fault = "hang"
        assert_no_answer(hurried(target.port), "no answer within 0.3 s")

    def test_no_connection_in_time(self, make: Make, busy_port: int) -> None:
        outcome = make(connect_timeout=0.2)(busy_port)
        assert_no_answer(outcome, "no connection in time")

    def test_the_deadline_while_connecting(
        self, hurried: Attempts, busy_port: int
    ) -> None:
        assert_no_answer(hurried(busy_port), "no connection within 0.3 s")

    def test_a_bug_in_a_library_is_an_outcome(
        self, attempt: Attempts, target: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def connect(_: object) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr("urllib3.connection.HTTPConnection.connect", connect)
        assert_no_answer(attempt(target.port), "ZeroDivisionError: a bug")

    @pytest.mark.parametrize(
        "properties",
        [
            {"headers": (("X", "a\r\nb"),)},
            {"headers": (("X\r\nY", "a"),)},
            {"headers": (("X", "half a pair \ud83d"),)},
            {"method": "GET /\r\n"},
        ],
        ids=["header value", "header name", "no character", "method"],
    )
    def test_what_cannot_be_written_is_permanent(
        self, attempt: Attempts, target: Target, properties: dict[str, Any]
    ) -> None:
        outcome = attempt(target.port, **properties)
        assert outcome.status is None
        assert outcome.permanent
        assert target.hits == []

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("server_hostname cannot be an empty string"),
            UnicodeError("label too long"),
            LocationParseError("somewhere"),
            OverflowError("port must be 0-65535."),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_cannot_be_reached_now_is_not_permanent(
        self,
        attempt: Attempts,
        target: Target,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
    ) -> None:
        """Only who writes the request may say that it can never be sent."""

        def connect(_: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("urllib3.connection.HTTPConnection.connect", connect)
            assert_no_answer(attempt(target.port), str(error))
        assert attempt(target.port).succeeded

    def test_a_name_that_no_resolver_takes_is_not_permanent(
        self, attempt: Attempts
    ) -> None:
        assert_no_answer(attempt(80, host="a" * 64 + ".test"), "")


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port whose backlog is full: connecting to it takes for ever."""
    with full_backlog("127.0.0.1") as port:
        yield port


class TestFasterThanWeRead:
    """A target that always has more to say must not stop every other greenlet.

    gevent switches only when a socket has nothing to read: such a target, being a
    process of its own, would hold off the deadline too.
    """

    @pytest.mark.parametrize(
        ("first", "again"),
        [
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (ERROR + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
        ],
        ids=["interim answers", "trailers"],
    )
    def test_is_cut_off(
        self, hurried: Attempts, flood: Flood, first: bytes, again: bytes
    ) -> None:
        outcome = hurried(flood(first, again))
        assert not outcome.succeeded
        assert outcome.seconds < FLOOD_SECONDS / 2


FLOOD_SECONDS = 4
# Its arguments: what to send first, what again and again, for how long.
FLOOD = """
import socket, sys, time
first, again = (bytes.fromhex(text) for text in sys.argv[1:3])
until = time.monotonic() + float(sys.argv[3])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.settimeout(1)
connection.recv(65536)
try:
    connection.sendall(first)
    while time.monotonic() < until:
        connection.sendall(again * 10_000)
except OSError:
    pass
"""


@pytest.fixture
def flood() -> Iterator[Flood]:
    """Starts a target that sends without a pause."""
    children: list[subprocess.Popen[bytes]] = []

    def start(first: bytes, again: bytes) -> int:
        arguments = [first.hex(), again.hex(), str(FLOOD_SECONDS)]
        child = subprocess.Popen(
            [sys.executable, "-c", FLOOD, *arguments],
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        children.append(child)
        assert child.stdout is not None
        with child.stdout as printed:
            return int(printed.readline())

    yield start
    for child in children:
        end(child, timeout=5)


class TestTls:
    @pytest.fixture
    def tls_target(self, certificates: Certificates) -> Iterator[Target]:
        target = Target(certificates.server.server_context())
        target.start()
        yield target
        target.stop()

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    def test_a_trusted_certificate(
        self, make: Make, tls_target: Target, certificates: Certificates, host: str
    ) -> None:
        attempt = make(ca_file=certificates.server.crt)
        outcome = attempt(tls_target.port, scheme="https", host=host)
        assert str(outcome) == "200"

    def test_a_file_takes_the_place_of_the_systems_certificates(
        self,
        make: Make,
        tls_target: Target,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.server.crt))
        assert make()(tls_target.port, scheme="https").succeeded
        attempt = make(ca_file=certificates.make("another").crt)
        assert_no_answer(attempt(tls_target.port, scheme="https"), "TLS: ")

    @pytest.mark.parametrize("trusted", ["root", "between", "leaf"])
    def test_an_authority_without_key_identifiers(
        self, make: Make, certificates: Certificates, tmp_path: Path, trusted: str
    ) -> None:
        root = certificates.make("root", hosts=("root.test",), path_length=1)
        between = certificates.make("between", hosts=("between.test",), issuer=root)
        leaf = certificates.make("leaf", issuer=between)
        leaf.crt.write_text(leaf.crt.read_text() + between.crt.read_text())
        target = Target(leaf.server_context())
        target.start()
        try:
            trusts = {"root": root, "between": between, "leaf": leaf}[trusted]
            outcome = make(ca_file=trusts.crt)(target.port, scheme="https")
        finally:
            target.stop()
        assert str(outcome) == "200"

    def test_a_self_signed_certificate(
        self, attempt: Attempts, tls_target: Target
    ) -> None:
        outcome = attempt(tls_target.port, scheme="https")
        assert_no_answer(outcome, "TLS: ")
        assert "self-signed" in outcome.error
        assert tls_target.hits == []

    def test_without_verification(self, make: Make, tls_target: Target) -> None:
        attempt = make(verify_tls=False)
        assert str(attempt(tls_target.port, scheme="https")) == "200"

    @pytest.mark.parametrize(
        ("properties", "error"),
        [
            ({"hosts": ("other.test",)}, "127.0.0.1"),
            ({"expired": True}, "expired"),
        ],
        ids=["another name", "expired"],
    )
    def test_a_wrong_certificate(
        self,
        make: Make,
        certificates: Certificates,
        tmp_path: Path,
        properties: dict[str, Any],
        error: str,
    ) -> None:
        wrong = certificates.make("wrong", directory=tmp_path, **properties)
        target = Target(wrong.server_context())
        target.start()
        try:
            outcome = make(ca_file=wrong.crt)(target.port, scheme="https")
        finally:
            target.stop()
        assert_no_answer(outcome, "TLS: ")
        assert error in outcome.error
        assert target.hits == []

    def test_a_plain_target(self, attempt: Attempts, serve: Serve) -> None:
        def handle(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        server = StreamServer(("127.0.0.1", 0), lambda one, _: handle(one))
        server.start()
        try:
            outcome = attempt(port_of(server), scheme="https")
        finally:
            server.stop(timeout=0)
        assert_no_answer(outcome, "TLS: ")

    def test_plain_http_to_a_tls_port(
        self, attempt: Attempts, tls_target: Target
    ) -> None:
        assert_no_answer(attempt(tls_target.port), "no proper answer: ")

    def test_a_handshake_that_never_ends(self, hurried: Attempts) -> None:
        server = StreamServer(("127.0.0.1", 0), lambda *_: gevent.sleep(3_600))
        server.start()
        try:
            outcome = hurried(port_of(server), scheme="https")
        finally:
            server.stop(timeout=0)
        assert_no_answer(outcome, "no connection within 0.3 s")


def rules(deny: str, allow: str = "") -> NetworkRules:
    return NetworkRules(
        tuple(map(parse_network, deny.split())),
        tuple(map(parse_network, allow.split())),
    )


class FakeNames:
    """In place of getaddrinfo: what each name resolves to, in order.

    For forwarders that are made after it.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[str] = []

    def look_up(self, host: str) -> tuple[Place, ...] | Exception:
        self.asked.append(host)
        if host not in self.addresses:
            return socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return tuple(
            (socket.AF_INET6 if ":" in address else socket.AF_INET, (address, 0))
            for address in self.addresses[host]
        )


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> FakeNames:
    names = FakeNames()
    monkeypatch.setattr("mspc.forwarding.names._getaddrinfo", names.look_up)
    return names


@pytest.fixture
def silent_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """getaddrinfo finds no end; the names that it was asked for."""
    asked: list[str] = []
    ended = get_original("threading", "Event")()

    def look_up(host: str) -> Exception:
        asked.append(host)
        ended.wait(60)
        return socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    monkeypatch.setattr("mspc.forwarding.names._getaddrinfo", look_up)
    yield asked
    ended.set()


class TestOurOwnDoor:
    """No call is made to it, whichever way it is named."""

    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"],
    )
    @pytest.mark.parametrize("name", [None, "outside.test"])
    def test_it_is_not_dialled(
        self,
        make: Make,
        target: Target,
        names: FakeNames,
        address: str,
        name: str | None,
    ) -> None:
        names.addresses["outside.test"] = [address]
        attempt = make(networks=NetworkRules(own_port=target.port))
        outcome = attempt(target.port, host=name or address)
        assert outcome.status is None
        assert outcome.permanent
        told = f"port {target.port} of {address} is mspc's own operators' door"
        assert outcome.error == told
        assert target.connections == 0

    def test_an_address_of_an_interface(self, make: Make, target: Target) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect(("192.0.2.1", 9))  # nothing is sent
            except OSError:
                pytest.skip("this machine has no address but loopback")
            own = sock.getsockname()[0]
        attempt = make(networks=NetworkRules(own_port=target.port))
        outcome = attempt(target.port, host=own)
        assert "operators' door" in outcome.error

    def test_of_several_addresses_the_others_are_dialled(
        self, make: Make, target: Target, names: FakeNames
    ) -> None:
        names.addresses["outside.test"] = ["127.0.0.1", "192.0.2.1"]
        attempt = make(networks=NetworkRules(own_port=target.port))
        outcome = attempt(target.port, host="outside.test")
        assert "operators' door" not in outcome.error
        assert target.connections == 0

    def test_other_ports_are_dialled(self, make: Make, target: Target) -> None:
        attempt = make(networks=NetworkRules(own_port=target.port + 1))
        assert attempt(target.port).succeeded


class TestNetworks:
    def assert_denied(self, outcome: Outcome, address: str) -> None:
        assert outcome.status is None
        assert outcome.error == f"{address} is in FORWARD_DENY_NETWORKS"
        assert outcome.permanent

    def test_a_denied_address(self, make: Make, target: Target) -> None:
        attempt = make(networks=rules("127.0.0.0/8"))
        self.assert_denied(attempt(target.port), "127.0.0.1")
        assert target.connections == 0

    @pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254"])
    def test_cloud_metadata_is_denied_by_default(
        self, attempt: Attempts, host: str
    ) -> None:
        self.assert_denied(attempt(80, host=host), host)

    def test_a_mapped_spelling_of_a_denied_address(
        self, make: Make, target: Target
    ) -> None:
        attempt = make(networks=rules("127.0.0.0/8"))
        mapped = "::ffff:127.0.0.1"
        self.assert_denied(attempt(target.port, host=mapped), mapped)
        assert target.connections == 0

    @pytest.mark.parametrize(
        "host", ["0.0.0.0", "::ffff:0.0.0.0", "::ffff:0:0", "::ffff:7f01:203"]
    )
    @pytest.mark.parametrize("name", [None, "outside.test"])
    def test_an_address_that_the_kernel_takes_for_a_denied_one(
        self, make: Make, target: Target, names: FakeNames, host: str, name: str | None
    ) -> None:
        assert make()(target.port, host="0.0.0.0").succeeded, "it reaches the target"
        names.addresses["outside.test"] = [host]
        attempt = make(networks=rules("127.0.0.0/8 ::1"))
        self.assert_denied(attempt(target.port, host=name or host), host)
        assert target.connections == 1

    def test_the_unspecified_address_of_ipv6(self, make: Make) -> None:
        server = StreamServer(("::1", 0), lambda one, _: say(OK)(one))
        server.start()
        try:
            port = port_of(server)
            assert make()(port, host="::").succeeded, "it reaches ::1"
            outcome = make(networks=rules("::1"))(port, host="::")
        finally:
            server.stop(timeout=0)
        self.assert_denied(outcome, "::")

    def test_an_exception(self, make: Make, target: Target) -> None:
        attempt = make(networks=rules("127.0.0.0/8", allow="127.0.0.1"))
        assert str(attempt(target.port)) == "200"

    def test_a_name_with_a_denied_address(
        self, make: Make, target: Target, names: FakeNames
    ) -> None:
        names.addresses["inside.test"] = ["127.0.0.1"]
        attempt = make(networks=rules("127.0.0.0/8"))
        self.assert_denied(attempt(target.port, host="inside.test"), "127.0.0.1")
        assert target.connections == 0

    def test_a_real_name_with_a_denied_address(
        self, make: Make, target: Target
    ) -> None:
        attempt = make(networks=rules("127.0.0.0/8 ::1"))
        outcome = attempt(target.port, host="localhost")
        assert outcome.permanent
        assert target.connections == 0

    def test_an_allowed_address_among_denied_ones(
        self, make: Make, target: Target, names: FakeNames
    ) -> None:
        names.addresses["both.test"] = ["127.0.0.9", "127.0.0.1"]
        attempt = make(networks=rules("127.0.0.9"))
        assert str(attempt(target.port, host="both.test")) == "200"

    def test_the_next_address_is_dialled_when_one_refuses(
        self, names: FakeNames, attempt: Attempts, target: Target
    ) -> None:
        names.addresses["two.test"] = ["127.0.0.9", "127.0.0.1"]
        assert str(attempt(target.port, host="two.test")) == "200"

    def test_a_name_is_resolved_once(
        self, names: FakeNames, attempt: Attempts, target: Target
    ) -> None:
        names.addresses["one.test"] = ["127.0.0.1"]
        attempt(target.port, host="one.test")
        assert names.asked == ["one.test"]
        assert target.hits[0].headers["host"] == f"one.test:{target.port}"

    def test_a_name_that_cannot_be_resolved(
        self, names: FakeNames, attempt: Attempts
    ) -> None:
        outcome = attempt(80, host="nowhere.test")
        assert_no_answer(outcome, "the host name cannot be resolved")
        assert names.asked == ["nowhere.test"]

    def test_a_silent_name_takes_one_thread_however_often_it_is_tried(
        self, make: Make, silent_names: list[str]
    ) -> None:
        attempt = make(timeout=PROMPT, connect_timeout=DEADLINE)
        for _ in range(3):
            outcome = attempt(80, host="silent.example")
            assert_no_answer(outcome, "resolved: name servers are silent")
        assert silent_names == ["silent.example"]

    def test_a_lookup_takes_no_longer_than_a_connection_may(
        self, make: Make, silent_names: list[str]
    ) -> None:
        outcome = make(connect_timeout=DEADLINE)(80, host="slow.test")
        assert_no_answer(outcome, "the host name cannot be resolved: ")
        assert outcome.seconds < PROMPT

    def test_the_deadline_while_a_name_is_looked_up(
        self, silent_names: list[str], hurried: Attempts
    ) -> None:
        outcome = hurried(80, host="slow.test")
        assert_no_answer(outcome, "no connection within 0.3 s")


class TestTimeoutFromOutside:
    def test_passes_through(self, attempt: Attempts, target: Target) -> None:
        target.fault = "hang"
        outside = gevent.Timeout(0.1)
        with pytest.raises(gevent.Timeout) as raised, outside:
            attempt(target.port)
        assert raised.value is outside

    def test_leaves_the_forwarder_usable(
        self, attempt: Attempts, target: Target
    ) -> None:
        target.fault = "hang"
        assert (
            gevent.with_timeout(0.1, attempt, target.port, timeout_value=None) is None
        )
        target.fault = None
        assert str(attempt(target.port)) == "200"

    def test_the_deadline_ends_with_the_attempt(
        self, hurried: Attempts, target: Target
    ) -> None:
        assert str(hurried(target.port)) == "200"
        gevent.sleep(DEADLINE * 1.2)  # raises when the deadline is still running

    def test_a_killed_attempt_ends(self, attempt: Attempts, target: Target) -> None:
        target.fault = "hang"
        job = gevent.spawn(attempt, target.port)
        target.wait_for(1)
        job.kill(timeout=PROMPT)
        assert isinstance(job.value, gevent.GreenletExit)


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"503 Busy"])
def test_a_service_may_ask_to_be_left_alone(
    attempt: Attempts, serve: Serve, status: bytes
) -> None:
    def handler(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 " + status + b"\r\n")
        gevent.sleep(0.1)  # another packet
        connection.sendall(b"Retry-After: 17\r\nContent-Length: 0\r\n\r\n")

    assert attempt(serve(handler)).retry_after == 17.0


def test_other_answers_do_not_ask(attempt: Attempts, serve: Serve) -> None:
    def handler(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 No\r\nRetry-After: 17\r\n\r\n")

    assert attempt(serve(handler)).retry_after == 0.0


def test_nobody_waits_long_for_the_rest_of_a_head(
    attempt: Attempts, serve: Serve
) -> None:
    def handler(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 503 Busy\r\nRetry-")
        gevent.sleep(30)

    outcome = attempt(serve(handler))
    assert (outcome.status, outcome.retry_after) == (503, 0.0)
    assert outcome.seconds < PROMPT


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_attempt_that_ends_at_its_deadline_leaves_nothing_behind(
    make: Make, scheme: str
) -> None:
    """Also when nobody looks for garbage."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # the kernel takes connections, and nobody says anything
    attempt = make(verify_tls=False)
    policy = Policy(timeout=0.2)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before = open_sockets()
        for _ in range(5):
            outcome = attempt(
                listener.getsockname()[1],
                scheme=scheme,
                method="POST",
                body=bytes(10_000_000),
                policy=policy,
            )
            assert outcome.status is None
        assert open_sockets() == before
        assert tracemalloc.get_traced_memory()[0] < 15_000_000
    finally:
        tracemalloc.stop()
        gc.enable()
        listener.close()


def test_a_call_may_have_a_deadline_of_its_own(attempt: Attempts, serve: Serve) -> None:
    def handler(connection: socket.socket) -> None:
        gevent.sleep(30)

    outcome = attempt(serve(handler), policy=Policy(timeout=0.2))
    assert outcome.error == "no answer within 0.2 s"
