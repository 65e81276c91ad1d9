"""The trace of whoever sends a call goes on to the service."""

import json
from collections.abc import Iterator

import pytest

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker
from tests.support.target import Hit, Target
from tests.support.waiting import eventually
from tests.system.conftest import QueueUnderTest, StartOnQueue
from tests.system.test_health import Door
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
