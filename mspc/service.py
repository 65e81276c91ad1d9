"""The composition root: builds every part, starts and stops them in order."""

import logging
import time
from typing import Any

from gevent.event import Event

from mspc.api.accepting import Acceptance
from mspc.api.app import create_app
from mspc.api.health import Condition
from mspc.calls.accepted import Accepted
from mspc.calls.requests import Requests
from mspc.delivery.consumers import Consumers
from mspc.delivery.recording import Recording
from mspc.delivery.retry import RetryPolicy
from mspc.errors import ConfigError, MspcError
from mspc.forwarding.forwarder import Forwarder
from mspc.lanes.lanes import Lanes
from mspc.operators import (
    open_counting,
    open_door,
    open_journal,
    open_missed,
    open_steering,
    recorder_of,
    watch_of,
)
from mspc.process.exits import EXIT_CONFIG, EXIT_FAILED, EXIT_OK
from mspc.queues.left import tell_of_what_is_left
from mspc.queues.opening import open_queue
from mspc.serving.server import Server
from mspc.settings.config import Config
from mspc.tracing.opening import open_tracing

log = logging.getLogger(__name__)

# An operator who pages through calls is not waited for.
DOOR_STOP_SECONDS = 1.0


class Service:
    """One mspc: accepts calls, stores them, makes them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ended = Event()
        self._failure: MspcError | None = None
        accepted = Accepted()
        requests = Requests(config.forward.networks, accepted)
        self._lanes = Lanes(
            config.consumers, config.breaker_failures, config.delays.initial
        )
        self._journal = open_journal(config)
        self._counting = open_counting(config, self._journal)
        self._queue = open_queue(
            config.queue, self._lanes, requests.lane_of, watch_of(self._counting)
        )
        recorder = recorder_of(self._journal, self._counting)
        self._forwarder = Forwarder(config.forward)
        attempt = self._forwarder.attempt
        self._tracing = open_tracing(config.tracing, attempt)
        if self._tracing is not None:
            attempt = self._tracing.attempt
        self._consumers = Consumers(
            config.consumers,
            self._queue,
            self._lanes,
            attempt,
            _policy_of(config),
            requests,
            Recording(recorder),
        )
        self._steering = open_steering(
            config,
            self._queue,
            self._lanes,
            self._journal,
            self._consumers.in_flight,
            self._consumers.ids_in_flight,
        )
        self._missed = open_missed(
            config,
            self._queue,
            self._journal,
            requests,
            self._consumers.in_flight,
            self._steering,
        )
        self._acceptance = Acceptance(
            self._queue,
            config.forward.networks,
            accepted,
            requests.look,
            recorder,
        )
        self._server = Server(config.http, self._calls_app())
        self._door: Server | None = None

    def _open_door(self) -> Server | None:
        """At the start: it needs a key, which may have to be made."""
        return open_door(
            self._config,
            self._queue,
            self._journal,
            self._steering,
            self._acceptance,
            self._condition(),
            self._counting,
        )

    def _condition(self) -> Condition:
        tracing = self._tracing
        return Condition(
            problem=self.problem,
            remark=self.remark,
            in_flight=self._consumers.count_in_flight,
            spans_dropped=lambda: None if tracing is None else tracing.dropped,
        )

    def _calls_app(self) -> Any:
        app = create_app(
            self._config.http,
            self._config.auth,
            self._acceptance,
            self.problem,
            self.remark,
            self._journal,
            self._steering,
        )
        if self._counting is not None:
            app.add_middleware(self._counting.requests)
        return app

    def run(self) -> int:
        """Serves until shutdown() or a failure; returns the exit code."""
        try:
            self._start()
            self._ended.wait()
        except MspcError as exc:
            self._failure = exc
        finally:
            self._stop()
        if self._failure is None:
            log.info("mspc has stopped")
            return EXIT_OK
        for line in str(self._failure).splitlines():
            log.critical("mspc stops: %s", line)
        return EXIT_CONFIG if isinstance(self._failure, ConfigError) else EXIT_FAILED

    def shutdown(self) -> None:
        self._ended.set()

    def reload(self) -> None:
        self._server.reload()

    def problem(self) -> str | None:
        """Why calls cannot be stored or made at the moment; None when they can."""
        return (
            self._queue.problem() or self._consumers.problem() or self._server.problem()
        )

    def remark(self) -> str | None:
        """What somebody who looks should know although nothing is wrong."""
        told = (self._queue.remark(), self._lanes.remark(), self._journal.problem())
        remarks = filter(None, told)
        return " ".join(remarks) or None

    def _start(self) -> None:
        self._door = self._open_door()
        # The ports first: a second instance started by mistake goes no further. They
        # accept last, when there is a queue to put calls into.
        servers = [self._server] if self._door is None else [self._server, self._door]
        for server in servers:
            server.bind()
        self._journal.start()
        self._queue.start(self._fail)
        tell_of_what_is_left(self._config.queue, self._config.journal.path.parent)
        self._steering.start()  # what is paused is so before a call is made
        self._missed.start()
        self._forwarder.start()
        if self._tracing is not None:
            self._tracing.start()
        self._consumers.start()
        if self._counting is not None:
            self._counting.start()
        for server in servers:
            server.start()

    def _stop(self) -> None:
        # From the entrance to the exit: no new calls, then no new attempts; then the
        # queue, since what is in flight must still be settled; the journal last, which
        # is told of that.
        deadline = time.monotonic() + self._config.shutdown_timeout
        log.info("mspc is stopping")
        # A client that sends slowly has half of the time: meanwhile attempts begin, and
        # these have the other half.
        self._server.stop(self._config.shutdown_timeout / 2)
        if self._door is not None:
            self._door.stop(DOOR_STOP_SECONDS)
        if self._counting is not None:
            self._counting.stop()
        self._missed.stop()
        self._steering.stop()
        self._consumers.stop(max(0.0, deadline - time.monotonic()))
        self._forwarder.close()
        self._queue.close()
        # RabbitMQ cannot be asked what became of it, and has it still.
        cut_short = self._consumers.cut_short or self._steering.unfinished()
        if cut_short and self._queue.looks_up:
            self._journal.incomplete()
        self._journal.stop()
        if self._tracing is not None:
            self._tracing.stop()

    def _fail(self, failure: MspcError) -> None:
        """The queue cannot go on: end, so that a restart or a person mends it."""
        self._failure = failure
        self._ended.set()


def _policy_of(config: Config) -> RetryPolicy:
    return RetryPolicy(
        config.delays, config.max_attempts, config.max_age, config.permanent
    )
