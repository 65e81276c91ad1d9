"""The span of an attempt: whose child it is, what it says, what the service is sent."""

import logging
import subprocess
import sys
from collections.abc import Sequence

import gevent
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    TraceIdRatioBased,
)

from mspc.calls.call import Outcome, Request, new_call_id
from mspc.calls.policy import Policy
from mspc.calls.words import CONNECTION_REFUSED
from mspc.tracing import outbox as out
from mspc.tracing.outbox import Outbox
from mspc.tracing.spans import Ids, Rarely, Tracing, trace_of
from tests.support.clock import Clock
from tests.support.waiting import eventually

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
SAMPLED = 1
OK = Outcome(200, word="")


class Collector:
    """An exporter that keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.largest = 0
        self.takes = True
        self.closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.largest = max(self.largest, len(spans))
        if not self.takes:
            return SpanExportResult.FAILURE
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.closed = True


class Attempts:
    """What makes attempts: notes what it is to send, and gives `outcome`."""

    def __init__(self) -> None:
        self.outcome = OK
        self.sent: list[Request] = []

    def __call__(self, request: Request, call_id: str, number: int) -> Outcome:
        self.sent.append(request)
        return self.outcome


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def attempts() -> Attempts:
    return Attempts()


def tracing(
    collector: Collector, attempts: Attempts, sampler: object = None
) -> Tracing:
    ids, box = Ids(), Outbox(collector)
    provider = TracerProvider(
        sampler=sampler,  # type: ignore[arg-type]
        id_generator=ids,
        shutdown_on_exit=False,
    )
    provider.add_span_processor(box)
    return Tracing(provider, ids, box, attempts)


def hand_over(maker: Tracing) -> None:
    """All spans that have ended."""
    maker.start()
    gevent.sleep(0)  # it begins
    maker.stop()


def request(**more: object) -> Request:
    target = "/pay?token=secret&x=1"
    return Request("https", "s.test", 8443, target, method="POST", **more)  # type: ignore[arg-type]


def made(
    collector: Collector,
    attempts: Attempts,
    wanted: Request,
    call_id: str = "0" * 32,
    number: int = 1,
    sampler: object = None,
) -> ReadableSpan | None:
    """The span of an attempt, when there is one."""
    maker = tracing(collector, attempts, sampler)
    maker.attempt(wanted, call_id, number)
    hand_over(maker)
    return collector.spans[-1] if collector.spans else None


def test_what_it_says(collector: Collector, attempts: Attempts) -> None:
    span = made(collector, attempts, request(), number=3)
    assert span is not None
    assert span.name == "POST"
    assert span.kind.name == "CLIENT"
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "url.full": "https://s.test:8443/pay?token=***&x=1",
        "server.address": "s.test",
        "server.port": 8443,
        "mspc.call.id": "0" * 32,
        "http.request.resend_count": 2,
        "http.response.status_code": 200,
    }
    assert span.status.is_unset


@pytest.mark.parametrize(
    ("outcome", "failure", "told"),
    [
        (Outcome(503), "503", None),
        (Outcome(302), None, None),
        (
            Outcome(error="refused", word=CONNECTION_REFUSED),
            "connection_refused",
            "refused",
        ),
    ],
)
def test_why_it_failed(
    collector: Collector,
    attempts: Attempts,
    outcome: Outcome,
    failure: str | None,
    told: str | None,
) -> None:
    attempts.outcome = outcome
    span = made(collector, attempts, request())
    assert span is not None
    assert span.attributes is not None
    assert span.attributes.get("error.type") == failure
    assert span.attributes.get("http.response.status_code") == outcome.status
    assert span.status.status_code.name == ("ERROR" if failure else "UNSET")
    assert span.status.description == told


def test_of_an_attempt_that_is_cut_short(collector: Collector) -> None:
    def killed(request: Request, call_id: str, number: int) -> Outcome:
        raise gevent.GreenletExit

    maker = tracing(collector, killed)  # type: ignore[arg-type]
    with pytest.raises(gevent.GreenletExit):
        maker.attempt(request(), "a")
    hand_over(maker)
    (span,) = collector.spans
    assert (span.attributes or {})["error.type"] == "cancelled"


def test_an_odd_method(collector: Collector, attempts: Attempts) -> None:
    odd = Request("http", "s.test", 80, "/", method="PURGE")
    span = made(collector, attempts, odd)
    assert span is not None
    assert span.name == "HTTP"
    assert (span.attributes or {})["http.request.method"] == "_OTHER"
    assert (span.attributes or {})["http.request.method_original"] == "PURGE"


def test_it_stands_between_the_stored_parent_and_the_service(
    collector: Collector, attempts: Attempts
) -> None:
    stored = request(policy=Policy(traceparent=PARENT, tracestate="a=b"))
    span = made(collector, attempts, stored)
    assert span is not None
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SPAN
    assert f"{span.context.trace_id:032x}" == TRACE
    (sent,) = attempts.sent
    assert sent.policy.traceparent == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert sent.policy.tracestate == "a=b"


def test_what_the_callers_headers_say_is_sent_as_it_is(
    collector: Collector, attempts: Attempts
) -> None:
    said = request(headers=(("TraceParent", PARENT), ("X", "y")))
    span = made(collector, attempts, said)
    assert span is not None
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SPAN
    assert attempts.sent == [said]


def test_whatever_they_say(collector: Collector, attempts: Attempts) -> None:
    said = request(headers=(("traceparent", "nonsense"),))
    span = made(collector, attempts, said)
    assert span is not None
    assert span.parent is None
    assert attempts.sent == [said]


def test_without_a_parent_all_attempts_of_a_call_are_one_trace(
    collector: Collector, attempts: Attempts
) -> None:
    maker = tracing(collector, attempts)
    call_id, another = new_call_id(), new_call_id()
    for number in (1, 2):
        maker.attempt(request(), call_id, number)
    maker.attempt(request(), another)
    hand_over(maker)
    first, second, third = (span.context for span in collector.spans)
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.trace_id == second.trace_id == trace_of(call_id)
    assert first.span_id != second.span_id
    assert third.trace_id == trace_of(another)
    said = [sent.policy.traceparent for sent in attempts.sent]
    assert said[0].startswith(f"00-{first.trace_id:032x}-{first.span_id:016x}-")
    assert int(said[0][-2:], 16) & SAMPLED


def test_a_sampler_takes_its_share_of_the_traces() -> None:
    sampler = TraceIdRatioBased(0.25)
    decided = [
        sampler.should_sample(None, trace_of(new_call_id()), "POST").decision
        for _ in range(2000)
    ]
    taken = decided.count(Decision.RECORD_AND_SAMPLE)
    assert 400 < taken < 600


def test_what_is_not_sampled_is_no_span_and_says_so(
    collector: Collector, attempts: Attempts
) -> None:
    off = ParentBased(ALWAYS_OFF)
    assert made(collector, attempts, request(), sampler=off) is None
    unsampled = request(policy=Policy(traceparent=PARENT[:-1] + "0"))
    assert made(collector, attempts, unsampled, sampler=off) is None
    first, second = attempts.sent
    assert f"-{trace_of('0' * 32):032x}-" in first.policy.traceparent
    assert not int(first.policy.traceparent[-2:], 16) & SAMPLED
    assert second is unsampled


class TestOutbox:
    def test_hands_over_in_small_batches(
        self, collector: Collector, attempts: Attempts
    ) -> None:
        maker = tracing(collector, attempts)
        for _ in range(200):
            maker.attempt(request(), "a")
        hand_over(maker)
        assert len(collector.spans) == 200
        assert collector.largest == out.AT_ONCE
        assert collector.closed

    def test_has_a_bound_and_says_so_once(
        self,
        collector: Collector,
        attempts: Attempts,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(out, "MOST_WAITING", 10)
        maker = tracing(collector, attempts)
        for _ in range(15):
            maker.attempt(request(), "a")
        hand_over(maker)
        assert len(collector.spans) == 10
        told = [record.getMessage() for record in caplog.records]
        assert sum("Spans are lost" in one for one in told) == 1
        assert "5 spans were lost since the start" in told

    def test_stops_in_time_when_nobody_answers(
        self, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Silent(Collector):
            def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
                gevent.sleep(60)
                return SpanExportResult.SUCCESS

        monkeypatch.setattr(out, "STOP_SECONDS", 0.05)
        box = Outbox(Silent())
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(box)
        tracer = provider.get_tracer("test")
        for _ in range(100):
            tracer.start_span("one").end()
        box.start()
        gevent.sleep(0)
        with gevent.Timeout(5):
            box.stop()
        assert box.dropped == 100

    def test_tells_when_the_collector_is_back(
        self, collector: Collector, attempts: Attempts, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        collector.takes = False
        maker = tracing(collector, attempts)
        maker.start()
        for _ in range(out.AT_ONCE):
            maker.attempt(request(), "a")
        eventually(lambda: "Spans are lost" in caplog.text)
        collector.takes = True
        maker.attempt(request(), "a")
        maker.stop()
        assert f"takes spans again; {out.AT_ONCE} were lost" in caplog.text


def test_the_libraries_own_words_are_told_once_a_minute() -> None:
    clock = Clock()
    rarely = Rarely(clock)
    record = logging.LogRecord("a", logging.ERROR, "", 0, "down", None, None)
    assert [rarely.filter(record) for _ in range(3)] == [True, False, False]
    clock.now += 60
    assert rarely.filter(record)


def test_without_a_collector_nothing_of_it_is_loaded() -> None:
    program = (
        "import sys; import mspc.starting, mspc.service;"
        "from mspc.tracing.opening import open_tracing;"
        "assert open_tracing(None, len) is None;"
        "print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
