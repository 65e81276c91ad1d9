"""One connection to RabbitMQ: made, opened, watched and thrown away.

amqpstorm waits for 30 s when what answers is no RabbitMQ: it reads an answer in HTTP as
the beginning of a frame of a gigabyte, and does not see that the socket was closed. So
what answers first is looked at here.
"""

import contextlib
import logging
import socket
import time

import gevent
from amqpstorm.connection import Connection
from amqpstorm.exception import AMQPConnectionError

from mspc.errors import ConfigError
from mspc.queues.amqp import diagnosis
from mspc.queues.amqp.frames import Tolerant
from mspc.settings.certificates import NoCertificates, trusting
from mspc.settings.config import AmqpConfig

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10
SOCKET_TIMEOUT_SECONDS = 5
CLOSE_TIMEOUT_SECONDS = 5
# RabbitMQ greets as soon as it has read our eight bytes; its management hangs up after
# five seconds of waiting for the rest of a line.
GREETING_SECONDS = 4.0
LOOK_EVERY_SECONDS = 0.05
# How long a dead peer may keep a write waiting: without it a blocked send outlives the
# heartbeat, which has to write too.
USER_TIMEOUT_MILLISECONDS = 20_000

METHOD_FRAME = b"\x01"
# To HTTP servers our greeting is the beginning of a line: they wait for its end.
END_OF_LINES = b"\r\n\r\n"


def make(purpose: str, config: AmqpConfig, host: str, port: int) -> Connection:
    """A connection that is not open yet.

    Raises:
        ConfigError: its certificates cannot be read any more.
    """
    options: dict[str, object] = {}
    if config.tls:
        # Read each time, so that a new file is used without a restart.
        try:
            context = trusting(config.ca_file)
        except NoCertificates as exc:
            raise ConfigError(f"QUEUE_CA_FILE {exc}") from exc
        options = {"context": context, "server_hostname": host}
    return Tolerant(
        host,
        config.user,
        config.password,
        port=port,
        virtual_host=config.vhost,
        heartbeat=HEARTBEAT_SECONDS,
        timeout=SOCKET_TIMEOUT_SECONDS,
        ssl=config.tls,
        ssl_options=options,
        # select() cannot watch a descriptor above 1023: under load no reconnect
        # would ever succeed.
        poller="poll",
        client_properties={"connection_name": f"mspc {purpose}"},
        lazy=True,
    )


def open_up(connection: Connection) -> None:
    """Opens a connection to what must be a RabbitMQ.

    Raises:
        AMQPConnectionError: it is not, or refuses us; says what answered.
    """
    greeting = Greeting(connection)
    watch = gevent.spawn(greeting.watch)
    try:
        connection.open()
    except AMQPConnectionError as exc:
        told = diagnosis.no_connection(str(exc), tls=connection.parameters["ssl"])
        if told is None:
            raise
        raise AMQPConnectionError(told) from exc
    finally:
        watch.kill()
    _tune(connection)


class Greeting:
    """The first bytes that came on a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._first = b""
        self._is_amqp = False
        connection._io._on_read_impl = self._read

    def watch(self) -> None:
        """Tells connection.open() what it does not see; returns when it is told."""
        silent_at = time.monotonic() + GREETING_SECONDS
        while not self._is_amqp:
            gevent.sleep(LOOK_EVERY_SECONDS)
            if self._first or failure(self._connection):
                break
            if time.monotonic() > silent_at and self._connection.socket is not None:
                self._connection._io.write_to_socket(END_OF_LINES)
                gevent.sleep(1.0)
                break
        while self._is_amqp and not failure(self._connection):
            gevent.sleep(LOOK_EVERY_SECONDS)
        self._tell()

    def _tell(self) -> None:
        exceptions = self._connection.exceptions
        if exceptions:
            return
        reason = failure(self._connection)
        if self._is_amqp:
            told = reason or ""
        elif self._first:
            told = diagnosis.no_greeting(self._first)
        else:
            told = diagnosis.SILENT if reason is None else diagnosis.CLOSED
        exceptions.append(AMQPConnectionError(told))

    def _read(self, data: bytes) -> bytes:
        """Runs in the connection's reader, until the first bytes have come."""
        if not data:
            return data
        if data[:1] != METHOD_FRAME:
            self._first = data[: diagnosis.SHOWN_BYTES]
            return b""
        self._is_amqp = True
        self._connection._io._on_read_impl = self._connection._read_buffer
        return self._connection._read_buffer(data)


def failure(connection: Connection) -> str | None:
    """Why the connection is dead; None while it lives.

    Not check_for_errors(): that closes the connection, which takes up to 40 seconds;
    and open() gives the connection a list of errors that its socket does not know.
    """
    for exceptions in (connection.exceptions, connection._io._exceptions):
        if exceptions:
            return str(exceptions[0])
    return "the connection was closed" if connection.is_closed else None


def discard(connection: Connection | None) -> None:
    """Ends a connection whatever state it is in, without waiting for it."""
    if connection is None:
        return
    sock = connection.socket
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # wakes whoever reads or writes
    gevent.spawn(close, connection)


def close(connection: Connection) -> None:
    """Ends a connection in good order, within CLOSE_TIMEOUT_SECONDS."""
    with gevent.Timeout(CLOSE_TIMEOUT_SECONDS, False):  # type: ignore[arg-type]
        try:
            connection.close()
        except Exception as exc:  # noqa: BLE001 - it is being thrown away
            log.debug("Closing a connection: %s", exc)


def _tune(connection: Connection) -> None:
    sock = connection.socket
    if sock is None:
        raise AMQPConnectionError("the connection was closed")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MILLISECONDS
    )
