"""A link to RabbitMQ that heals: connect, watch, give up, connect to the next host.

amqpstorm neither reconnects nor says when a connection died, and a Connection opened
again would let old delivery tags reach the new socket: so every attempt makes new
objects, and one greenlet watches them.
"""

import contextlib
import logging
import random
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from itertools import cycle

import gevent
from amqpstorm.connection import Connection
from gevent.event import Event

from mspc.errors import ConfigError, MspcError
from mspc.process.watched import Watched
from mspc.queues.amqp.channel import Message, PipelinedChannel
from mspc.settings.config import AmqpConfig

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10
SOCKET_TIMEOUT_SECONDS = 5
SET_UP_TIMEOUT_SECONDS = 30
CONFIRM_TIMEOUT_SECONDS = 10
# RabbitMQ 3.10 asks a quorum queue's dead leader for ever on a channel whose first
# publish came before the new leader was known, and refuses all; a new channel helps.
REFUSED_SECONDS = 3.0
CLOSE_TIMEOUT_SECONDS = 5
WATCH_EVERY_SECONDS = 0.25
# How long a dead peer may keep a write waiting: without it a blocked send outlives the
# heartbeat, which has to write too.
USER_TIMEOUT_MILLISECONDS = 20_000

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 5.0
# A session that carried nothing and lived shorter than this has proven nothing.
PROVEN_AFTER_SECONDS = 5.0

# AMQP reply codes that no later attempt can change.
ACCESS_REFUSED = 403
PRECONDITION_FAILED = 406
NOT_ALLOWED = 530

OnMessage = Callable[[PipelinedChannel, Message], None]


class Link:
    """One supervised connection with one channel.

    Attributes:
        channel: the channel in use; None while there is none.
        up: set while there is one.
        reason: why there is none.
    """

    def __init__(
        self,
        purpose: str,
        config: AmqpConfig,
        set_up: Callable[[PipelinedChannel], None],
        on_message: OnMessage = lambda _channel, _message: None,
    ) -> None:
        self.channel: PipelinedChannel | None = None
        self.up = Event()
        self._told = ""
        self.reason = f"RabbitMQ ({purpose}): not connected yet."
        self._purpose = purpose
        self._config = config
        self._set_up = set_up
        self._on_message = on_message
        self._on_failure: Callable[[MspcError], None] = lambda _: None
        self._stopping = Event()
        self._proven = False
        self._supervisor = Watched(
            f"supervisor of RabbitMQ ({purpose})", self._supervise
        )

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        """Connects in the background; on_failure hears of settings that are refused."""
        self._on_failure = on_failure
        self._supervisor.start()

    def stop(self) -> None:
        """Writes what was sent, then closes the connection in good order."""
        self._stopping.set()
        if self.channel is not None:
            self.channel.flush(CLOSE_TIMEOUT_SECONDS)
            self.channel.lose("mspc is stopping.")
        # It may be in the middle of connecting to a host that does not answer.
        self._supervisor.stop(CLOSE_TIMEOUT_SECONDS)

    def problem(self) -> str | None:
        if self.channel is None:
            return self.reason
        if self.channel.connection.is_blocked:
            return "RabbitMQ takes no messages at the moment: a memory or disk alarm."
        return None

    def _supervise(self) -> None:
        delays = _delays()
        for host, port in cycle(self._config.hosts):
            if self._stopping.is_set():
                return
            if self._one_session(host, port):
                delays = _delays()
            self._stopping.wait(next(delays))

    def _one_session(self, host: str, port: int) -> bool:
        """Connects and stays; whether that showed that the trouble is over."""
        connection = self._connection(host, port)
        channel = None
        try:
            with gevent.Timeout(SET_UP_TIMEOUT_SECONDS, TimeoutError("no answer")):
                connection.open()
                _tune(connection)
                channel = PipelinedChannel.open_on(connection, self._on_message)
                self._set_up(channel)
        except Exception as exc:  # noqa: BLE001 - amqpstorm leaks TypeError, ValueError...
            if not self._refused(exc, host, port):
                self._down(f"{host}:{port}: {exc}")
            if channel is not None:
                channel.lose(str(exc))
            _discard(connection)
            return False
        except gevent.GreenletExit:
            _discard(connection)
            raise
        self._proven = True
        self.channel = channel
        self.up.set()
        self._told = ""
        since = time.monotonic()
        log.info("RabbitMQ (%s): connected to %s:%d", self._purpose, host, port)
        reason = "its supervisor failed"
        try:
            reason = self._watch(channel)
        finally:
            self.up.clear()
            self.channel = None
            channel.lose(reason)
            if self._stopping.is_set():
                _close(connection)
            else:
                self._down(f"{host}:{port}: {reason}")
                _discard(connection)
        return channel.used or time.monotonic() - since > PROVEN_AFTER_SECONDS

    def _watch(self, channel: PipelinedChannel) -> str:
        """Returns why the session is over."""
        connection = channel.connection
        blocked = False
        while not channel.lost.wait(WATCH_EVERY_SECONDS):
            failure = _failure(connection)
            if failure:
                return failure
            if connection.is_blocked != blocked:
                blocked = not blocked
                if blocked:
                    log.warning("RabbitMQ (%s): %s", self._purpose, self.problem())
                else:
                    log.info("RabbitMQ (%s): takes messages again", self._purpose)
            if blocked:
                channel.confirms.give_up(self.problem() or "")
            elif channel.confirms.oldest() > CONFIRM_TIMEOUT_SECONDS:
                return f"no confirm within {CONFIRM_TIMEOUT_SECONDS} s"
            elif channel.confirms.refusing_for() > REFUSED_SECONDS:
                return f"every call was refused for {REFUSED_SECONDS:g} s"
        return channel.reason

    def _down(self, reason: str) -> None:
        """Remembers why there is no channel; logs it when it is news."""
        reason = f"RabbitMQ ({self._purpose}) is away: {reason}"
        if reason != self._told:
            log.warning("%s; connecting again", reason)
        self.reason = self._told = reason

    def _refused(self, exc: Exception, host: str, port: int) -> bool:
        """Whether the settings are wrong, which only the first session can show."""
        sentence = _refusal(exc, self._config)
        if sentence is None or self._proven or self._stopping.is_set():
            return False
        self._stopping.set()
        self._on_failure(ConfigError(f"{sentence} ({host}:{port} says: {exc})"))
        return True

    def _connection(self, host: str, port: int) -> Connection:
        config = self._config
        options = {}
        if config.tls:
            context = ssl.create_default_context(cafile=config.ca_file)
            options = {"context": context, "server_hostname": host}
        return Connection(
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
            client_properties={"connection_name": f"mspc {self._purpose}"},
            lazy=True,
        )


def _delays() -> Iterator[float]:
    """Backoff: 0.2 s, doubling to 5 s, with jitter so that instances spread out."""
    delay = FIRST_DELAY_SECONDS
    while True:
        yield delay * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        delay = min(delay * 2, LONGEST_DELAY_SECONDS)


def _failure(connection: Connection) -> str | None:
    """Why the connection is dead; None while it lives.

    Not check_for_errors(): that closes the connection, which takes up to 40 seconds;
    and open() gives the connection a list of errors that its socket does not know.
    """
    for exceptions in (connection.exceptions, connection._io._exceptions):
        if exceptions:
            return str(exceptions[0])
    return "the connection was closed" if connection.is_closed else None


def _tune(connection: Connection) -> None:
    sock = connection.socket
    if sock is None:
        raise ConnectionError("the connection was closed")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MILLISECONDS
    )


def _discard(connection: Connection) -> None:
    """Ends a connection whatever state it is in, without waiting for it."""
    sock = connection.socket
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # wakes whoever reads or writes
    gevent.spawn(_close, connection)


def _close(connection: Connection) -> None:
    with gevent.Timeout(CLOSE_TIMEOUT_SECONDS, False):  # type: ignore[arg-type]
        try:
            connection.close()
        except Exception as exc:  # noqa: BLE001 - it is being thrown away
            log.debug("Closing a connection: %s", exc)


def _refusal(exc: Exception, config: AmqpConfig) -> str | None:
    """Which setting to mend when RabbitMQ refuses for good; None when it may pass."""
    code = getattr(exc, "error_code", None)
    if code == PRECONDITION_FAILED:
        named = re.search(r"for queue '([^']+)'", str(exc))
        queue = named.group(1) if named else config.name
        return (
            f"QUEUE_TYPE: the queue {queue} exists with other arguments than QUEUE_TYPE"
            f" {config.queue_type} declares. Set QUEUE_TYPE to what it was made with"
            " (quorum or classic), or choose another QUEUE_NAME."
        )
    if code == NOT_ALLOWED:
        return (
            f"RABBITMQ_DEFAULT_VHOST: there is no virtual host {config.vhost} for"
            f" the user {config.user}."
        )
    if code == ACCESS_REFUSED:
        return (
            "RABBITMQ_DEFAULT_USER, RABBITMQ_DEFAULT_PASS: RabbitMQ refuses the user"
            f" {config.user}, or lets it neither configure, write nor read the queues."
        )
    return None
