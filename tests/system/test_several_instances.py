"""Instances on one RabbitMQ: what one is told, all know and obey."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker
from tests.support.target import Target
from tests.support.waiting import eventually

LONG = "3600000"
Start = Callable[..., MspcProcess]


@pytest.fixture
def start(rabbitmq: Broker, queue_name: str, mspc_process: StartMspc) -> Start:
    def start(**settings: str) -> MspcProcess:
        return mspc_process({**rabbitmq.settings(queue_name), **settings})

    return start


def state_of(mspc: MspcProcess, call_id: str) -> str:
    answer = mspc.admin("GET", f"/v1/calls/{call_id}")
    return str(answer.json["state"]) if answer.status == 200 else "unknown"


def is_in(mspc: MspcProcess, call_id: str, state: str) -> bool:
    return state_of(mspc, call_id) == state


def destination_of(target: Target) -> str:
    return f"http://127.0.0.1:{target.port}"


def standing_of(mspc: MspcProcess, target: Target) -> str:
    path = f"/v1/destinations/{quote(destination_of(target), safe='')}"
    answer = mspc.admin("GET", path)  # 404 when there is nothing to tell of it
    return str(answer.json["state"]) if answer.status == 200 else "ok"


def steer(mspc: MspcProcess, target: Target, verb: str) -> int:
    path = f"/v1/destinations/{quote(destination_of(target), safe='')}/{verb}"
    return mspc.admin("POST", path, {"reason": "tests"}).status


def test_a_call_is_told_by_both(start: Start, target: Target) -> None:
    one, other = start(), start()
    ids = [one.post({"url": target.url("/x")}).json["id"] for _ in range(20)]
    target.wait_for(len(ids))
    for mspc in (one, other):
        for call_id in ids:
            eventually(partial(is_in, mspc, call_id, "succeeded"))
        assert mspc.admin("GET", "/v1/stats").json["scope"] == "all"
    made = [mspc.output.count("done") for mspc in (one, other)]
    assert all(made), f"one of them made none: {made}"


def test_a_pause_holds_on_both_also_after_both_restart(
    start: Start, target: Target
) -> None:
    one, other = start(), start()
    assert steer(one, target, "pause") == 200
    eventually(lambda: standing_of(other, target) == "paused")
    for mspc in (one, other):
        mspc.terminate()
        assert mspc.wait() == 0
        mspc.restart()
    assert standing_of(one, target) == standing_of(other, target) == "paused"
    call_id = other.post({"url": target.url("/x")}).json["id"]
    eventually(lambda: state_of(one, call_id) == "queued")
    assert not target.hits
    assert steer(other, target, "resume") == 200
    target.wait_for(1)
    eventually(lambda: standing_of(one, target) == "ok")
    eventually(lambda: state_of(one, call_id) == "succeeded")


def test_what_one_cancels_is_made_by_none(start: Start, target: Target) -> None:
    one, other = start(), start()
    assert steer(one, target, "pause") == 200
    eventually(lambda: standing_of(other, target) == "paused")
    gone, left = (one.post({"url": target.url(p)}).json["id"] for p in ("/gone", "/x"))
    eventually(lambda: state_of(other, gone) == "queued")
    assert other.admin("DELETE", f"/v1/calls/{gone}").status == 200
    eventually(lambda: state_of(one, gone) == "cancelled")
    # Whoever has forgotten it by then reads it again.
    one.terminate()
    assert one.wait() == 0
    one.restart()
    assert steer(one, target, "resume") == 200
    target.wait_for(1, "/x")
    eventually(lambda: state_of(other, left) == "succeeded")
    assert not target.hits_of("/gone")


def test_both_list_what_was_decided(start: Start, target: Target) -> None:
    one, other = start(), start()
    steer(one, target, "pause")
    steer(other, target, "resume")

    def agrees(mspc: MspcProcess) -> bool:
        told = mspc.admin("GET", "/v1/decisions").json["decisions"]
        return [decision["kind"] for decision in told] == ["resumed", "paused"]

    for mspc in (one, other):
        eventually(partial(agrees, mspc))


def test_a_new_instance_knows_what_was_before(
    start: Start, target: Target, tmp_path: Path
) -> None:
    one = start()
    call_id = one.post({"url": target.url("/x")}).json["id"]
    target.wait_for(1)
    other = start()
    eventually(lambda: state_of(other, call_id) == "succeeded")
