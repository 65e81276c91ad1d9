"""A way to RabbitMQ that tests can shut, whoever the broker belongs to."""

import socket

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from tests.support.children import free_port
from tests.support.rabbitmq import Broker


class Door:
    """A port before RabbitMQ's, shut at first."""

    def __init__(self, broker: Broker) -> None:
        self.port = free_port()
        self._inside = (broker.host, broker.port)
        self._server: StreamServer | None = None

    def open(self) -> None:
        self._server = StreamServer(("127.0.0.1", self.port), self._pass, spawn=Pool())
        self._server.start()

    def shut(self) -> None:
        """Breaks what is connected, and refuses what comes."""
        if self._server is not None:
            self._server.stop(timeout=0)

    def _pass(self, outer: socket.socket, address: object) -> None:
        with outer, socket.create_connection(self._inside) as inner:
            ways = [
                gevent.spawn(_copy, outer, inner),
                gevent.spawn(_copy, inner, outer),
            ]
            try:
                gevent.joinall(ways, count=1)
            finally:
                gevent.killall(ways)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
    except OSError:
        pass  # one of them has gone
