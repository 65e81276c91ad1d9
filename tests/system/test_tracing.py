"""A trace goes through mspc to the service, and each attempt may be a span of it."""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartMspc
from tests.support.broker_door import Door
from tests.support.collector import Collector
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker
from tests.support.target import Hit, Target
from tests.support.waiting import eventually
from tests.system.conftest import QueueUnderTest, StartOnQueue
from tests.system.test_moving import command

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
TRACE = {"traceparent": PARENT, "tracestate": 'rojo=1,congo="\\ 2'}


def trace_of(hit: Hit) -> dict[str, str]:
    return {name: hit.headers[name] for name in TRACE if name in hit.headers}


def test_every_attempt_has_it(mspc: MspcProcess, target: Target) -> None:
    target.answer("/traced", status=503, times=2)
    target.answer("/traced", status=200)
    assert mspc.post({"url": target.url("/traced")}, TRACE).status == 202
    hits = target.wait_for(3, "/traced")
    assert [trace_of(hit) for hit in hits] == [TRACE] * 3


def test_in_a_batch(mspc: MspcProcess, target: Target) -> None:
    calls = [
        {"url": target.url("/both")},
        {"url": target.url("/both"), "headers": {"TRACEPARENT": OTHER}},
        {"url": target.url("/both"), "traceparent": OTHER},
    ]
    answer = mspc.post({"calls": calls}, TRACE, path="/v1/calls:batch")
    assert answer.status == 202
    traces = [trace_of(hit) for hit in target.wait_for(3, "/both")]
    assert sorted(traces, key=len) == [
        {"traceparent": OTHER},
        {"traceparent": OTHER},
        TRACE,
    ]


def test_without_one_nothing_is_added(mspc: MspcProcess, target: Target) -> None:
    mspc.post({"url": target.url("/plain")})
    mspc.post({"url": target.url("/plain")}, {"traceparent": "00-broken"})
    for hit in target.wait_for(2, "/plain"):
        assert trace_of(hit) == {}


def test_it_survives_a_kill_and_a_dead_letter(
    start: StartOnQueue, queue: QueueUnderTest, target: Target
) -> None:
    mspc = start()
    target.answer("/later", status=500)
    mspc.post({"url": target.url("/later"), "delay": 2, "max_attempts": 1}, TRACE)
    mspc.kill()
    mspc.restart()
    (hit,) = target.wait_for(1, "/later")
    assert trace_of(hit) == TRACE
    mspc.wait_for_log("a dead letter$")
    queue.replay(mspc)
    assert trace_of(target.wait_for(2, "/later")[1]) == TRACE


def test_unread(start: StartOnQueue, target: Target) -> None:
    mspc = start(FAST_PUBLISH="1")
    mspc.post({"url": target.url("/unread")}, TRACE)
    (hit,) = target.wait_for(1, "/unread")
    assert trace_of(hit) == TRACE


@pytest.fixture
def door(rabbitmq: Broker) -> Iterator[Door]:
    door = Door(rabbitmq)
    yield door
    door.shut()


def test_it_waits_in_the_spool(
    rabbitmq: Broker,
    queue_name: str,
    target: Target,
    mspc_process: StartMspc,
    door: Door,
) -> None:
    settings = {**rabbitmq.settings(queue_name), "SPOOL": "1"}
    settings |= {"QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": str(door.port)}
    mspc = mspc_process(settings, wait=False)
    mspc.wait_for_log("RabbitMQ .* is away")
    assert mspc.post({"url": target.url("/spooled")}, TRACE).status == 202
    mspc.wait_for_log("Calls are spooled from now on")
    door.open()
    (hit,) = target.wait_for(1, "/spooled")
    assert trace_of(hit) == TRACE


def test_it_is_exported_and_imported(
    rabbitmq: Broker, queue_name: str, mspc_process: StartMspc, target: Target
) -> None:
    old = mspc_process({"REQUEUE_FAILED_AFTER_MILLISECONDS": "3600000"})
    new = mspc_process(rabbitmq.settings(queue_name))
    target.answer("/moved", status=500, times=1)
    target.answer("/moved", status=200)
    old.post({"url": target.url("/moved")}, TRACE)
    target.wait_for(1, "/moved")
    eventually(lambda: json.loads(command(old, "export"))["call"]["attempts"] == 1)
    export = old.directory / "calls.jsonl"
    export.write_text(command(old, "export"))
    assert command(new, "import", str(export)).startswith("accepted\t1\n")
    assert trace_of(target.wait_for(2, "/moved")[1]) == TRACE


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    collector.start()
    yield collector
    collector.stop()


def spans_to(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}


def test_each_attempt_is_a_span_and_the_services_parent(
    start: StartOnQueue, target: Target, collector: Collector
) -> None:
    mspc = start(**spans_to(collector))
    target.answer("/spans", status=503, times=1)
    target.answer("/spans", status=200)
    url = target.url("/spans")
    call_id = mspc.post({"url": f"{url}?api_key=hidden"}, TRACE).json["id"]
    hits = target.wait_for(2, "/spans")
    spans = collector.wait_for(2)
    _, trace, parent, _ = PARENT.split("-")
    assert [trace_of(hit) for hit in hits] == [
        TRACE | {"traceparent": f"00-{trace}-{span.id}-01"} for span in spans
    ]
    assert {(one.trace, one.parent, one.name) for one in spans} == {
        (trace, parent, "GET")
    }
    common = {
        "http.request.method": "GET",
        "url.full": f"{url}?api_key=***",
        "server.address": "127.0.0.1",
        "server.port": int(url.split(":")[2].split("/")[0]),
        "mspc.call.id": call_id,
    }
    assert [one.attributes for one in spans] == [
        common | {"http.response.status_code": 503, "error.type": "503"},
        common | {"http.response.status_code": 200, "http.request.resend_count": 1},
    ]
    assert {one.service for one in spans} == {"mspc"}


def test_a_kill_keeps_the_parent(
    start: StartOnQueue, target: Target, collector: Collector
) -> None:
    mspc = start(**spans_to(collector), OTEL_SERVICE_NAME="calls")
    mspc.post({"url": target.url("/killed"), "delay": 2}, TRACE)
    root = mspc.post({"url": target.url("/killed"), "delay": 2}).json["id"]
    mspc.kill()
    mspc.restart()
    target.wait_for(2, "/killed")
    spans = {str(one.attributes["mspc.call.id"]): one for one in collector.wait_for(2)}
    assert spans.pop(root).parent == ""
    (child,) = spans.values()
    assert child.parent == PARENT.split("-")[2]
    assert child.service == "calls"


def test_what_the_caller_has_set_is_sent(
    start: StartOnQueue, target: Target, collector: Collector
) -> None:
    mspc = start(**spans_to(collector))
    own = {"traceparent": OTHER[:-1] + "1"}
    mspc.post({"url": target.url("/own"), "headers": own}, TRACE)
    (hit,) = target.wait_for(1, "/own")
    (span,) = collector.wait_for(1)
    assert trace_of(hit) == own
    assert [span.trace, span.parent] == OTHER.split("-")[1:3]


def test_spans_are_handed_over_at_the_end(
    start: StartOnQueue, target: Target, collector: Collector
) -> None:
    mspc = start(**spans_to(collector))
    for _ in range(5):
        mspc.post({"url": target.url("/end")})
    target.wait_for(5, "/end")
    mspc.terminate()
    assert mspc.wait() == 0
    assert len(collector.wait_for(5, timeout=0)) == 5


def test_a_collector_that_hangs_is_in_nobodys_way(
    mspc_process: StartMspc, target: Target, collector: Collector
) -> None:
    mspc = mspc_process(spans_to(collector))
    collector.hang()
    mspc.post({"url": target.url("/hangs")})
    eventually(lambda: collector.requests == 1)
    steps = [time.monotonic()]
    for _ in range(200):
        assert mspc.post({"url": target.url("/hangs")}).status == 202
        steps.append(time.monotonic())
    target.wait_for(201, "/hangs")
    steps.append(time.monotonic())
    longest = max(after - before for before, after in itertools.pairwise(steps))
    assert longest < 8  # an export alone waits for 10 s
    begun = time.monotonic()
    mspc.terminate()
    assert mspc.wait() == 0
    assert time.monotonic() - begun < 8
    mspc.wait_for_log("WARNING .* spans were lost since the start")


def metrics_of(mspc: MspcProcess) -> str:
    return mspc.admin("GET", "/metrics").body.decode()


def test_a_collector_that_is_down_is_told_once(
    mspc_process: StartMspc, target: Target, collector: Collector
) -> None:
    collector.stop()
    mspc = mspc_process(spans_to(collector) | {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    for number in range(1, 4):
        mspc.post({"url": target.url("/down")})
        target.wait_for(number, "/down")
        lost = f"mspc_spans_dropped_total {number}.0\n"
        eventually(lambda lost=lost: lost in metrics_of(mspc))  # type: ignore[misc]
    mspc.terminate()
    assert mspc.wait() == 0
    mspc.wait_for_log("WARNING Spans are lost")
    assert len(mspc.output.split("Spans are lost")) == 2
    assert mspc.output.count("spans batch") == 1


def test_without_the_sdk_it_says_what_to_install(
    mspc_process: StartMspc, tmp_path: Path
) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()  # in front of the real one
    settings = {
        "PYTHONPATH": str(tmp_path),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }
    mspc = mspc_process(settings, wait=False)
    assert mspc.wait() == 2
    told = "OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry's SDK: pip install"
    assert f"{told} 'mspc[tracing]'." in mspc.output
    assert "Traceback" not in mspc.output
