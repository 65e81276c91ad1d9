"""Ended spans on their way to the collector, which no call ever waits for.

OpenTelemetry's own BatchSpanProcessor encodes 512 spans at once, which stops every
greenlet for 27 ms, and waits for 30 s at the end. Here a batch takes 3 ms, what there
is no room for is counted, and the end has a bound.
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from gevent.event import Event
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExportResult

from mspc.process.greenlets import Watched

log = logging.getLogger(__name__)

MOST_WAITING = 2048
AT_ONCE = 64
INTERVAL_SECONDS = 1.0
STOP_SECONDS = 3.0


class Exporter(Protocol):
    """What speaks to the collector."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends them; waits for seconds where nobody answers. Never raises."""

    def shutdown(self) -> None:
        """Gives up what it is trying again."""


class Outbox(SpanProcessor):
    """Hands ended spans over, from start() to stop().

    Attributes:
        dropped: spans that are lost: there was no room, or the collector did not take
            them.
    """

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._waiting: deque[ReadableSpan] = deque()
        self._full = Event()
        self._stopping = False
        self._losing = False
        self.dropped = 0
        self._sender = Watched("sending of spans", self._send)

    def start(self) -> None:
        self._sender.start()

    def stop(self) -> None:
        """Hands over what waits, for STOP_SECONDS at most."""
        self._stopping = True
        self._full.set()
        self._sender.stop(STOP_SECONDS)
        self._exporter.shutdown()
        self._lose(len(self._waiting))
        self._waiting.clear()
        if self.dropped:
            log.warning("%d spans were lost since the start", self.dropped)

    def on_end(self, span: ReadableSpan) -> None:
        if not span.get_span_context().trace_flags.sampled:  # type: ignore[union-attr]
            return
        if len(self._waiting) >= MOST_WAITING:
            self._lose(1)
            return
        self._waiting.append(span)
        if len(self._waiting) >= AT_ONCE:
            self._full.set()

    def _send(self) -> None:
        stopping = False
        while not stopping:
            self._full.wait(INTERVAL_SECONDS)
            self._full.clear()
            stopping = self._stopping
            while self._waiting:
                self._send_some()

    def _send_some(self) -> None:
        count = min(AT_ONCE, len(self._waiting))
        some = [self._waiting.popleft() for _ in range(count)]
        taken = False
        try:
            taken = self._exporter.export(some) is SpanExportResult.SUCCESS
        finally:  # also when it is ended meanwhile
            if not taken:
                self._lose(count)
        if taken and self._losing:
            self._losing = False
            log.info("The collector takes spans again; %d were lost", self.dropped)

    def _lose(self, count: int) -> None:
        self.dropped += count
        if count and not self._losing:
            self._losing = True
            log.warning("Spans are lost: the collector does not take them, or too late")
