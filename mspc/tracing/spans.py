"""A span of each attempt, in the words of OpenTelemetry's conventions for HTTP clients.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable

from msgspec.structs import replace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from mspc import __version__
from mspc.calls.call import Outcome, Request
from mspc.calls.headers import value_of
from mspc.calls.masks import masked_url
from mspc.calls.trace import Trace, read_trace
from mspc.calls.words import CANCELLED
from mspc.tracing.outbox import Outbox

# What the conventions call by its name; any other method is _OTHER.
METHODS = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"]
)
ONCE_PER_SECONDS = 60.0

Attempt = Callable[[Request, str, int], Outcome]


class Tracing:
    """Makes attempts, and spans of them, from start() to stop()."""

    def __init__(
        self, provider: TracerProvider, ids: "Ids", outbox: Outbox, attempt: Attempt
    ) -> None:
        """
        Args:
            provider: of spans, which go to the outbox when they end.
            ids: its generator.
            outbox: what hands them over.
            attempt: makes an attempt.
        """
        self._tracer = provider.get_tracer("mspc", __version__)
        self._ids = ids
        self._outbox = outbox
        self._attempt = attempt

    @property
    def dropped(self) -> int:
        """Spans that are lost, since the start."""
        return self._outbox.dropped

    def start(self) -> None:
        self._outbox.start()

    def stop(self) -> None:
        self._outbox.stop()

    def attempt(self, request: Request, call_id: str, number: int = 1) -> Outcome:
        """Makes an attempt, as Forwarder.attempt does, with a span around it.

        The service gets the span as its parent, unless the headers of the call name one
        themselves: then that is the span's parent, too.
        """
        own = value_of(request.headers, "traceparent")
        if own is None:
            policy = request.policy
            parent = read_trace(policy.traceparent, policy.tracestate)
        else:
            state = value_of(request.headers, "tracestate")
            parent = read_trace(own, state or "")
        span = self._begun(request, call_id, number, parent)
        if own is None and (span.is_recording() or parent is None):
            request = _within(request, span, parent)
        failure, told = CANCELLED, ""
        try:
            outcome = self._attempt(request, call_id, number)
            failure, told = _failure(outcome)
            if outcome.status is not None:
                span.set_attribute("http.response.status_code", outcome.status)
        finally:
            if failure:
                span.set_attribute("error.type", failure)
                span.set_status(Status(StatusCode.ERROR, told or None))
            span.end()
        return outcome

    def _begun(
        self, request: Request, call_id: str, number: int, parent: Trace | None
    ) -> Span:
        known = request.method in METHODS
        attributes: dict[str, str | int] = {
            "http.request.method": request.method if known else "_OTHER",
            "url.full": masked_url(request.url),
            "server.address": request.host,
            "server.port": request.port,
            "mspc.call.id": call_id,
        }
        if not known:
            attributes["http.request.method_original"] = request.method
        if number > 1:
            attributes["http.request.resend_count"] = number - 1
        self._ids.trace = trace_of(call_id)
        return self._tracer.start_span(
            request.method if known else "HTTP",
            _context(parent),
            SpanKind.CLIENT,
            attributes,
        )


class Ids(RandomIdGenerator):
    """Gives the next trace the id that it was told.

    Attributes:
        trace: that id. No greenlet is interrupted between the assignment and the span.
    """

    trace = 0

    def generate_trace_id(self) -> int:
        return self.trace


def trace_of(call_id: str) -> int:
    """The trace of a call that came without one: the same for each of its attempts.

    Not the id itself: samplers decide by the lower half, of which two bits of an id are
    always the same.
    """
    digest = hashlib.blake2b(call_id.encode(), digest_size=16).digest()
    return int.from_bytes(digest) or 1


def open_spans(endpoint: str, attempt: Attempt) -> Tracing:
    """See opening.py. What else OpenTelemetry's variables say, its SDK reads itself."""
    traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    to = None if os.environ.get(traces) else f"{endpoint.rstrip('/')}/v1/traces"
    logging.getLogger(OTLPSpanExporter.__module__).addFilter(Rarely())
    outbox = Outbox(OTLPSpanExporter(to))
    ids = Ids()
    named = Resource({"service.name": "mspc", "service.version": __version__})
    provider = TracerProvider(
        resource=Resource.create().merge(named).merge(OTELResourceDetector().detect()),
        id_generator=ids,
        shutdown_on_exit=False,
    )
    provider.add_span_processor(outbox)
    return Tracing(provider, ids, outbox, attempt)


class Rarely(logging.Filter):
    """Lets one line a minute through: a collector that is down says it all the time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + ONCE_PER_SECONDS
        return True


def _context(parent: Trace | None) -> Context:
    if parent is None:
        return Context()
    _, trace, span, flags = parent.parent.split("-")[:4]
    told = SpanContext(
        int(trace, 16),
        int(span, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([parent.state]) if parent.state else None,
    )
    return set_span_in_context(NonRecordingSpan(told), Context())


def _within(request: Request, span: Span, parent: Trace | None) -> Request:
    """The request, with the span as the parent of what the service does."""
    context = span.get_span_context()
    if not context.is_valid:  # OTEL_SDK_DISABLED
        return request
    ids = f"{context.trace_id:032x}-{context.span_id:016x}"
    policy = replace(
        request.policy,
        traceparent=f"00-{ids}-{context.trace_flags:02x}",
        tracestate="" if parent is None else parent.state,
    )
    return replace(request, policy=policy)


def _failure(outcome: Outcome) -> tuple[str, str]:
    """Its error.type, empty for none, and what to say where there is no answer."""
    if outcome.status is None:
        return outcome.word, outcome.error
    return (str(outcome.status) if outcome.status >= 400 else ""), ""
