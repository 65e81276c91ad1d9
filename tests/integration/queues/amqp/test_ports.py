"""QUEUE_HOST and QUEUE_PORT of what is no RabbitMQ, or is spoken to wrongly."""

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.pool import Pool
from gevent.server import StreamServer

from mspc.queues.amqp.queue import AmqpQueue
from mspc.settings.config import AmqpConfig
from tests.support.certificates import Certificates
from tests.support.rabbitmq import Broker
from tests.support.waiting import eventually

# Half of what amqpstorm would wait for, and more than connecting may take.
SOON_SECONDS = 15.0

Serve = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Listens, gives each connection to a function, and returns the port."""
    servers: list[StreamServer] = []

    def start(talk: Callable[[socket.socket], None]) -> int:
        def handle(connection: socket.socket, _: object) -> None:
            with connection:
                talk(connection)

        servers.append(StreamServer(("127.0.0.1", 0), handle, spawn=Pool()))
        servers[-1].start()
        return int(servers[-1].address[1])

    yield start
    for server in servers:
        server.stop(timeout=0)


def complaint(port: int, *, host: str = "127.0.0.1", tls: bool = False) -> str:
    """Why a queue does not connect; within SOON_SECONDS, and not as a refusal."""
    failures: list[Exception] = []
    queue = AmqpQueue(AmqpConfig(((host, port),), tls=tls))
    started = time.monotonic()
    starting = gevent.spawn(queue.start, failures.append)
    try:
        eventually(lambda: "away" in str(queue.problem()), SOON_SECONDS)
        assert time.monotonic() - started < SOON_SECONDS
        assert failures == []  # it is tried again: a proxy's answer may pass
        return str(queue.problem())
    finally:
        queue.close()
        starting.join(5)


def says(greeting: bytes) -> Callable[[socket.socket], None]:
    """Sends it at once and then waits for ever."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(greeting)
        _read_to_the_end(connection)

    return talk


def _read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def web_server(connection: socket.socket) -> None:
    """Waits for the end of the request line, as nginx and the management do."""
    data = b""
    while b"\n" not in data:
        chunk = connection.recv(65_536)
        if not chunk:
            return
        data += chunk
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.recv(1)


def chatterbox(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"Hello " * 10_000)


@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (web_server, "web server.*15672.*5672"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "web server"),
        (_read_to_the_end, "says nothing.*QUEUE_PORT"),
        (lambda _: None, "closes the connection without a word.*QUEUE_|RabbitMQ"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "no RabbitMQ.*SSH-2.0"),
        (says(b"-ERR unknown command 'AMQP'\r\n"), "no RabbitMQ.*ERR unknown"),
        (says(b"AMQP\x03\x01\x00\x00"), "another version of AMQP"),
        (says(b"\x15\x03\x01\x00\x02\x02\x0a"), "speaks TLS.*amqps"),
        (chatterbox, "no RabbitMQ.*Hello"),
    ],
    ids=[
        "a patient web server",
        "a web server",
        "silence",
        "a proxy without a backend",
        "ssh",
        "redis",
        "AMQP 1.0",
        "a TLS alert",
        "endless noise",
    ],
)
def test_what_is_no_rabbitmq_is_named_soon(
    serve: Serve, talk: Callable[[socket.socket], None], told: str
) -> None:
    sentence = complaint(serve(talk))
    assert re.search(told, sentence), sentence


def test_a_tls_server_spoken_to_in_plain(
    serve: Serve, certificates: Certificates
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.crt, certificates.server.key)

    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True).recv(1)

    sentence = complaint(serve(talk))
    assert "amqps" in sentence


@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (says(b""), "nobody answers.*TLS handshake"),
        (lambda _: None, "ends the TLS handshake"),
        (web_server, "does not speak TLS|TLS handshake"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak TLS"),
    ],
    ids=["silence", "a proxy without a backend", "a patient web server", "HTTP"],
)
def test_what_speaks_no_tls_is_named_soon(
    serve: Serve, talk: Callable[[socket.socket], None], told: str
) -> None:
    sentence = complaint(serve(talk), tls=True)
    assert re.search(told, sentence), sentence


def test_rabbitmqs_port_for_tls_spoken_to_in_plain(rabbitmq: Broker) -> None:
    if rabbitmq.tls_port is None:
        pytest.skip("the RabbitMQ of MSPC_TEST_AMQP is not known to speak TLS")
    sentence = complaint(rabbitmq.tls_port)
    assert "QUEUE_SCHEME to amqps" in sentence


def test_rabbitmqs_plain_port_spoken_to_in_tls(rabbitmq: Broker) -> None:
    sentence = complaint(rabbitmq.port, host=rabbitmq.host, tls=True)
    assert "QUEUE_SCHEME to amqp;" in sentence
