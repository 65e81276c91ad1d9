"""A link to RabbitMQ that heals: connect, watch, give up, connect to the next host.

amqpstorm neither reconnects nor says when a connection died, and a Connection opened
again would let old delivery tags reach the new socket: so every attempt makes new
objects, and one greenlet watches them.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from itertools import cycle

import gevent
from gevent.event import Event

from mspc.errors import ConfigError, MspcError, QueueError
from mspc.process.greenlets import Watched
from mspc.process.once import Once
from mspc.queues.amqp import connecting, diagnosis
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.largest import Largest
from mspc.queues.amqp.message import Message
from mspc.settings.config import AmqpConfig

log = logging.getLogger(__name__)

SET_UP_TIMEOUT_SECONDS = 30
CONFIRM_TIMEOUT_SECONDS = 10
# RabbitMQ 3.10 asks a quorum queue's dead leader for ever on a channel whose first
# publish came before the new leader was known, and refuses all; a new channel helps.
REFUSED_SECONDS = 3.0
# It does not help a queue that is full, and all that is on its way to others is lost
# with the old one: less and less often, then.
LONGEST_REFUSED_SECONDS = 60.0
WATCH_EVERY_SECONDS = 0.25

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 5.0
# How long whoever publishes waits for a link that is being made, at the start and after
# it was lost: longer than another node of a cluster needs to take over.
PATIENCE_SECONDS = 3.0
# A session that carried nothing and lived shorter than this has proven nothing.
PROVEN_AFTER_SECONDS = 5.0


class Refused(QueueError):
    """RabbitMQ will not do what a link is for, however often it is asked."""


OnMessage = Callable[[PipelinedChannel, Message], None]


class Link:
    """One supervised connection with one channel.

    Attributes:
        channel: the channel in use; None while there is none.
        up: set while there is one.
        tried: set once there was one, or no host could be reached.
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
        self.tried = Event()
        # With a spool nobody has to wait: the call is stored there.
        self._patience = PATIENCE_SECONDS if config.spool is None else 0.0
        self._being_made_until = 0.0
        self._largest = Largest()
        self._failure = Once()
        self.reason = f"RabbitMQ ({purpose}): not connected yet."
        self._purpose = purpose
        self._config = config
        self._set_up = set_up
        self._on_message = on_message
        self._on_failure: Callable[[MspcError], None] = lambda _: None
        self._stopping = Event()
        self._proven = False
        self._refused_seconds = REFUSED_SECONDS
        self._supervisor = Watched(
            f"supervisor of RabbitMQ ({purpose})", self._supervise
        )

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        """Connects in the background.

        Args:
            on_failure: hears of settings that are refused, and of Refused if the set-up
                raises it. Nothing more is tried then.
        """
        self._on_failure = on_failure
        self._being_made_until = time.monotonic() + self._patience
        self._supervisor.start()

    def stop(self) -> None:
        """Writes what was sent, then closes the connection in good order."""
        self._stopping.set()
        if self.channel is not None:
            self.channel.flush(connecting.CLOSE_TIMEOUT_SECONDS)
            self.channel.lose("mspc is stopping.")
        # It may be in the middle of connecting to a host that does not answer.
        self._supervisor.stop(connecting.CLOSE_TIMEOUT_SECONDS)

    def problem(self) -> str | None:
        if self.channel is None:
            return self.reason
        if self.channel.connection.is_blocked:
            return "RabbitMQ takes no messages at the moment: a memory or disk alarm."
        return None

    def wait(self) -> bool:
        """Waits shortly for a channel that is being made; whether there is one."""
        left = self._being_made_until - time.monotonic()
        if not self.up.is_set() and left > 0 and not self._stopping.is_set():
            gevent.wait([self.up, self._stopping], left, count=1)
        return self.up.is_set()

    def _supervise(self) -> None:
        delays = _delays()
        for number, (host, port) in enumerate(cycle(self._config.hosts), 1):
            if self._stopping.is_set():
                return
            if self._one_session(host, port):
                delays = _delays()
            if number >= len(self._config.hosts) or self._stopping.is_set():
                self.tried.set()
            self._stopping.wait(next(delays))

    def _lost(self) -> None:
        """The channel is gone: from now on another one is being made."""
        if self.channel is None:
            return
        self.reason = f"RabbitMQ ({self._purpose}) is away: {self.channel.reason}"
        self.channel = None
        self.up.clear()
        self._being_made_until = time.monotonic() + self._patience

    def _one_session(self, host: str, port: int) -> bool:
        """Connects and stays; whether that showed that the trouble is over."""
        connection = channel = None
        try:
            connection = connecting.make(self._purpose, self._config, host, port)
            with gevent.Timeout(SET_UP_TIMEOUT_SECONDS, TimeoutError("no answer")):
                connecting.open_up(connection)
                channel = PipelinedChannel.open_on(connection, self._on_message)
                channel.largest = self._largest
                self._set_up(channel)
        except Exception as exc:  # noqa: BLE001 - amqpstorm leaks TypeError, ValueError...
            if not self._refused(exc, host, port):
                self._down(f"{host}:{port}: {exc}")
            if channel is not None:
                channel.lose(str(exc))
            connecting.discard(connection)
            return False
        except gevent.GreenletExit:
            connecting.discard(connection)
            raise
        self._proven = True
        self._failure.forget()
        if not channel.lost.is_set():
            self.channel = channel
            channel.on_lost = self._lost
            self.up.set()
            self.tried.set()
        since = time.monotonic()
        log.info("RabbitMQ (%s): connected to %s:%d", self._purpose, host, port)
        reason = "its supervisor failed"
        try:
            reason = self._watch(channel, since)
        finally:
            channel.lose(reason)
            self._lost()
            if self._stopping.is_set():
                connecting.close(connection)
            else:
                self._down(f"{host}:{port}: {reason}")
                connecting.discard(connection)
        return channel.used or time.monotonic() - since > PROVEN_AFTER_SECONDS

    def _watch(self, channel: PipelinedChannel, since: float) -> str:
        """Returns why the session is over, which goes on since `since`."""
        connection = channel.connection
        blocked = False
        while not channel.lost.wait(WATCH_EVERY_SECONDS):
            failure = connecting.failure(connection)
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
            elif (refusing := channel.confirms.refusing_for()) > self._refused_seconds:
                self._refused_seconds = min(
                    2 * self._refused_seconds, LONGEST_REFUSED_SECONDS
                )
                return f"a queue has refused every call for {refusing:.0f} s"
            elif not refusing and time.monotonic() - since > self._refused_seconds:
                self._refused_seconds = REFUSED_SECONDS
        return channel.reason

    def _down(self, reason: str) -> None:
        """Remembers why there is no channel; logs it when it is news."""
        reason = f"RabbitMQ ({self._purpose}) is away: {reason}"
        if self._failure.is_new(reason):
            log.warning("%s; connecting again", reason)
        self.reason = reason

    def _refused(self, exc: Exception, host: str, port: int) -> bool:
        """Whether the settings are wrong, which only the first session can show; or
        the set-up says that there is no use in trying again.
        """
        if isinstance(exc, Refused):
            if not self._stopping.is_set():
                self._stopping.set()
                self._on_failure(exc)
            return True
        sentence = diagnosis.refusal(exc, self._config)
        if sentence is None or self._proven or self._stopping.is_set():
            return False
        self._stopping.set()
        self._on_failure(ConfigError(f"{sentence} ({host}:{port} says: {exc})"))
        return True


def _delays() -> Iterator[float]:
    """Backoff: 0.2 s, doubling to 5 s, with jitter so that instances spread out."""
    delay = FIRST_DELAY_SECONDS
    while True:
        yield delay * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        delay = min(delay * 2, LONGEST_DELAY_SECONDS)
