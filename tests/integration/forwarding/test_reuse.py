"""Connections that are used again: their age is never the call's failure."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

import gevent
import pytest
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer

from mspc.forwarding import connections
from mspc.forwarding.exchange import TargetConnection
from tests.integration.forwarding.conftest import (
    CALL_ID,
    OK,
    PROMPT,
    Attempts,
    Make,
    port_of,
)
from tests.support.certificates import Certificates
from tests.support.target import Target
from tests.support.waiting import eventually

LINGER_ZERO = struct.pack("ii", 1, 0)
LARGE = bytes(1_000_000)


def close(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    connection.close()


def time_out(connection: socket.socket) -> None:
    """As haproxy and Apache do before they close an idle connection."""
    connection.sendall(
        b"HTTP/1.1 408 Late\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )


Ending = Callable[[socket.socket], None]


class Fickle:
    """Answers the first request of each connection; the next one ends it.

    The race of a service that closes an idle connection just when a request is on its
    way, without the luck.

    Attributes:
        requests: of each connection, the heads that came.
        answers: to each of the first requests.
    """

    def __init__(self, ending: Ending, certificates: Certificates | None) -> None:
        self.requests: list[list[bytes]] = []
        self.answer = OK
        self._ending = ending
        self._context = certificates and certificates.server.server_context()
        self._server = StreamServer(("127.0.0.1", 0), self._serve, spawn=Pool())
        self._server.start()
        self.port = port_of(self._server)

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, connection: socket.socket, address: object) -> None:
        with suppress(OSError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            heads: list[bytes] = []
            self.requests.append(heads)
            with connection:
                while head := connection.recv(4_096):
                    if head.startswith((b"GET", b"POST")):
                        heads.append(head)
                    if len(heads) > 1:
                        self._ending(connection)
                        return
                    if head:
                        connection.sendall(self.answer)


Make_Fickle = Callable[[Ending], Fickle]


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fickle(scheme: str, certificates: Certificates) -> Iterator[Make_Fickle]:
    made: list[Fickle] = []

    def make(ending: Ending) -> Fickle:
        made.append(Fickle(ending, certificates if scheme == "https" else None))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.parametrize("body", [b"", b"{}", LARGE], ids=len)
@pytest.mark.parametrize("ending", [close, reset, time_out])
def test_a_connection_that_ends_just_now_is_not_the_calls_failure(
    make: Make, fickle: Make_Fickle, scheme: str, ending: Ending, body: bytes
) -> None:
    attempt = make(verify_tls=False)
    service = fickle(ending)
    assert str(attempt(service.port, scheme=scheme)) == "200"
    outcome = attempt(service.port, scheme=scheme, method="POST", body=body)
    assert str(outcome) == "200"
    # Twice, with what lets the service tell: once on each connection.
    assert [len(heads) for heads in service.requests] == [2, 1]
    for head in (service.requests[0][1], service.requests[1][0]):
        assert b"Idempotency-Key: %s\r\n" % CALL_ID.encode() in head


def test_a_new_connection_that_breaks_is_a_failure(
    make: Make, fickle: Make_Fickle, scheme: str
) -> None:
    """Once more, not for ever."""
    attempt = make(verify_tls=False)
    service = fickle(close)
    assert attempt(service.port, scheme=scheme).succeeded
    service.answer = b"nonsense\r\n\r\n"
    outcome = attempt(service.port, scheme=scheme)
    assert "nonsense" in outcome.error
    assert [len(heads) for heads in service.requests] == [2, 1]


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_with_a_byte_of_an_answer_it_is_the_services_failure(
    make: Make, fickle: Make_Fickle, scheme: str, said: bytes
) -> None:
    attempt = make(verify_tls=False)
    service = fickle(lambda connection: connection.sendall(said))
    assert attempt(service.port, scheme=scheme).succeeded
    assert attempt(service.port, scheme=scheme).status is None
    assert [len(heads) for heads in service.requests] == [2]


def test_a_408_on_a_new_connection_is_the_answer(attempt: Attempts) -> None:
    server = StreamServer(("127.0.0.1", 0), lambda one, _: time_out(one))
    server.start()
    assert str(attempt(port_of(server))) == "408"
    server.stop(timeout=0)


def test_a_call_with_one_attempt_gets_a_new_connection(
    make: Make, fickle: Make_Fickle, scheme: str
) -> None:
    attempt = make(verify_tls=False)
    service = fickle(close)
    for number in range(1, 6):
        assert attempt(service.port, scheme=scheme, requeue=number % 2 == 0).succeeded
        requeued = number // 2
        assert sum(map(len, service.requests)) == number + requeued


def test_calls_with_one_attempt_do_not_pile_up_connections(
    attempt: Attempts, target: Target
) -> None:
    closed = 0
    original = TargetConnection.close

    def close(connection: TargetConnection) -> None:
        nonlocal closed
        closed += 1
        original(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TargetConnection, "close", close)
        for _ in range(10):
            assert attempt(target.port, requeue=False).succeeded
    assert (target.connections, closed) == (10, 9)
    assert attempt(target.port).succeeded
    assert target.connections == 10


class TestIdle:
    """A timer closes what nobody will use again."""

    @pytest.fixture
    def closing(self, certificates: Certificates, scheme: str) -> Iterator[Fickle]:
        service = Fickle(close, certificates if scheme == "https" else None)
        yield service
        service.stop()

    @pytest.mark.parametrize("how", ["end", "reset", "a word"])
    def test_what_the_target_has_ended(
        self, make: Make, scheme: str, certificates: Certificates, how: str
    ) -> None:
        ended = 0
        context = certificates.server.server_context()

        def serve(connection: socket.socket, address: object) -> None:
            nonlocal ended
            if scheme == "https":
                connection = context.wrap_socket(connection, server_side=True)
            with connection, suppress(OSError):
                connection.recv(10_000)
                connection.sendall(OK)
                gevent.sleep(0.05)
                match how:
                    case "end":
                        connection.shutdown(socket.SHUT_WR)
                    case "reset":
                        reset(connection)
                    case _:
                        connection.sendall(b"x")
                with suppress(OSError):
                    connection.recv(1)
                ended += 1

        server = StreamServer(("127.0.0.1", 0), serve, spawn=Pool())
        server.start()
        attempt = make(verify_tls=False)
        jobs = [
            gevent.spawn(attempt, port_of(server), scheme=scheme) for _ in range(20)
        ]
        gevent.joinall(jobs, timeout=PROMPT)
        assert [str(job.value) for job in jobs] == ["200"] * 20
        # No further call comes.
        eventually(lambda: ended == 20)
        eventually(lambda: not idle_of(attempt))
        server.stop(timeout=0)

    def test_what_is_old(
        self, make: Make, target: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "FRESH_SECONDS", 0.5)
        attempt = make()
        attempt(target.port)
        assert idle_of(attempt) == 1
        eventually(lambda: not idle_of(attempt))

    def test_what_is_alive_stays(self, make: Make, target: Target) -> None:
        attempt = make()
        attempt(target.port)
        for _ in range(3):
            attempt.forwarder._connections.sweep()
        attempt(target.port)
        assert target.connections == 1

    def test_a_connection_in_use_is_left_alone(
        self, make: Make, target: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "FRESH_SECONDS", 0.0)
        attempt = make()
        go_on = Event()
        target.answer(delay=0.2, times=1)
        job = gevent.spawn(attempt, target.port)
        target.wait_for(1)
        attempt.forwarder._connections.sweep()
        go_on.set()
        assert str(job.get(timeout=PROMPT)) == "200"


def idle_of(attempt: Attempts) -> int:
    kept = attempt.forwarder._connections._kept
    return sum(len(one.idle) + len(one.unfinished) for one in kept.values())
