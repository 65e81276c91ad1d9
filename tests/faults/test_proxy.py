"""The chaos proxy does what it says: else the rows that use it prove nothing."""

import socket
import struct
import time
from collections.abc import Iterator

import gevent
import pytest
from gevent.server import StreamServer

from tests.faults import proxy as amqp
from tests.faults.proxy import ChaosProxy, Frames
from tests.support.children import free_port
from tests.support.waiting import eventually

SILENCE_SECONDS = 0.3


def frame(kind: int, payload: bytes, channel: int = 1) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(number: amqp.Method, channel: int = 1) -> bytes:
    return frame(1, struct.pack(">HH", *number) + b"arguments", channel)


def publish(body: bytes, channel: int = 1) -> bytes:
    header = frame(2, struct.pack(">HHQH", 60, 0, len(body), 0), channel)
    content = frame(3, body, channel) if body else b""
    return method(amqp.BASIC_PUBLISH, channel) + header + content


class EchoServer:
    """Sends back what comes, and remembers it."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = 0
        self.port = free_port()
        self._server = StreamServer(("127.0.0.1", self.port), self._serve)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, connection: socket.socket, address: object) -> None:
        try:
            while data := connection.recv(65_536):
                self.received += data
                connection.sendall(data)
        except OSError:
            pass
        self.ended += 1


@pytest.fixture
def server() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.stop()


@pytest.fixture
def proxy(server: EchoServer) -> Iterator[ChaosProxy]:
    proxy = ChaosProxy("127.0.0.1", server.port)
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture
def client(proxy: ChaosProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
        client.sendall(b"AMQP\x00\x00\x09\x01")
        assert receive(client, 8) == b"AMQP\x00\x00\x09\x01"
        yield client


def receive(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := client.recv(count - len(data))):
        data += more
    return data


def silent(client: socket.socket) -> bool:
    client.settimeout(SILENCE_SECONDS)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)
    return False


def ended(client: socket.socket) -> bool:
    """Whether the other side ends the connection, after what it still has to say."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionResetError:
        return True
    return True


def test_passes_frames_whatever_pieces_they_come_in(client: socket.socket) -> None:
    sent = publish(b"body") + frame(8, b"", 0)
    for byte in sent:
        client.sendall(bytes([byte]))
    assert receive(client, len(sent)) == sent


def test_splits_frames_and_knows_where_content_ends() -> None:
    stream = b"AMQP\x00\x00\x09\x01" + publish(b"x" * 9, 1) + publish(b"", 2)
    stream += method(amqp.BASIC_ACK)
    frames = Frames()

    seen = [found for byte in stream for found in frames.split(bytes([byte]))]

    assert b"".join(data for data, _, _ in seen) == stream
    assert [(name, last) for _, name, last in seen] == [
        (None, False),
        (amqp.BASIC_PUBLISH, False),
        (None, False),
        (amqp.BASIC_PUBLISH, True),
        (amqp.BASIC_PUBLISH, False),
        (amqp.BASIC_PUBLISH, True),
        (amqp.BASIC_ACK, True),
    ]


def test_cuts_after_the_nth_message_with_its_content(
    proxy: ChaosProxy, server: EchoServer, client: socket.socket
) -> None:
    trip = proxy.cut_at("to_server", amqp.BASIC_PUBLISH, n=2)

    client.sendall(publish(b"1") + publish(b"2") + publish(b"3"))

    assert trip.wait(5)
    eventually(lambda: server.ended == 1)
    assert server.received[8:] == publish(b"1") + publish(b"2")
    assert ended(client)


def test_cuts_before_the_nth_method(
    proxy: ChaosProxy, server: EchoServer, client: socket.socket
) -> None:
    ack = method(amqp.BASIC_ACK)
    trip = proxy.cut_at("to_client", amqp.BASIC_ACK, n=3, before=True)

    client.sendall(ack + publish(b"1") + ack + ack)

    assert trip.wait(5)
    assert server.received[8:] == ack + publish(b"1") + ack + ack
    assert receive(client, 10_000) == ack + publish(b"1") + ack
    assert proxy.connections <= 1


def test_counts_over_connections_and_trips_once(
    proxy: ChaosProxy, client: socket.socket
) -> None:
    ack = method(amqp.BASIC_ACK)
    trip = proxy.cut_at("to_server", amqp.BASIC_ACK, n=2)
    client.sendall(ack)
    assert receive(client, len(ack)) == ack

    with socket.create_connection(("127.0.0.1", proxy.port), 5) as second:
        second.sendall(ack)
        assert trip.wait(5)
        assert ended(second)

    client.sendall(ack)
    assert receive(client, len(ack)) == ack


def test_holds_a_connection_for_ever(
    proxy: ChaosProxy, server: EchoServer, client: socket.socket
) -> None:
    trip = proxy.cut_at("to_server", amqp.BASIC_PUBLISH, action="hold")

    client.sendall(publish(b"1"))

    assert trip.wait(5)
    assert silent(client)
    proxy.forward()
    assert silent(client)
    assert server.received[8:] == publish(b"1")


@pytest.mark.parametrize("direction", amqp.DIRECTIONS)
def test_black_hole_holds_one_direction_back(
    direction: amqp.Direction,
    proxy: ChaosProxy,
    server: EchoServer,
    client: socket.socket,
) -> None:
    sent = publish(b"1")
    proxy.black_hole(direction)

    client.sendall(sent)

    assert silent(client)
    assert bool(server.received[8:]) == (direction == "to_client")
    proxy.forward()
    assert receive(client, len(sent)) == sent


def test_cut_and_reset(proxy: ChaosProxy, client: socket.socket) -> None:
    assert proxy.cut() == 1
    assert client.recv(1) == b""

    with socket.create_connection(("127.0.0.1", proxy.port), 5) as second:
        eventually(lambda: proxy.connections == 1)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            second.recv(1)


def test_cut_ends_what_a_black_hole_holds(
    proxy: ChaosProxy, client: socket.socket
) -> None:
    proxy.black_hole()
    client.sendall(publish(b"1"))
    gevent.sleep(0.05)

    assert proxy.cut() == 1

    assert ended(client)
    eventually(lambda: proxy.connections == 0)


def test_half_close_leaves_the_other_direction(
    proxy: ChaosProxy, server: EchoServer, client: socket.socket
) -> None:
    proxy.half_close("to_client")
    assert client.recv(1) == b""

    client.sendall(publish(b"1"))

    eventually(lambda: server.received[8:] == publish(b"1"))


def test_refuses_and_listens_again(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), 5)
    client.sendall(publish(b"1"))
    assert receive(client, 5) == publish(b"1")[:5]

    proxy.forward()

    socket.create_connection(("127.0.0.1", proxy.port), 5).close()


def test_delays_and_throttles(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.delay(SILENCE_SECONDS * 2)
    client.sendall(publish(b"1"))
    assert silent(client)
    assert receive(client, len(publish(b"1"))) == publish(b"1")

    proxy.forward()
    proxy.throttle(4_000)
    sent = publish(b"x" * 2_000)
    start = time.monotonic()
    client.sendall(sent)
    assert receive(client, len(sent)) == sent
    assert time.monotonic() - start > 0.4


def test_changes_bytes_on_the_way(proxy: ChaosProxy, client: socket.socket) -> None:
    proxy.on_bytes["to_client"] = lambda data: data.replace(b"1", b"2")

    client.sendall(publish(b"1"))

    assert receive(client, len(publish(b"2"))) == publish(b"2")


def test_resets_clients_when_the_server_is_away(
    proxy: ChaosProxy, server: EchoServer
) -> None:
    server.stop()
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
        assert ended(client)
