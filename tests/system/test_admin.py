"""The operators' door of the real service."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import pytest

from tests.conftest import StartMspc
from tests.support.children import free_port
from tests.support.process import SCRIPT, MspcProcess, Response, serving
from tests.support.target import Target
from tests.support.waiting import eventually

LONG = {"REQUEUE_FAILED_AFTER_MILLISECONDS": "3600000", "BREAKER_FAILURES": "0"}
READ = "a-key-that-may-only-look"


@pytest.fixture(name="mspc", scope="module")
def _mspc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MspcProcess]:
    """For tests that mind neither settings nor the calls of others."""
    with serving(tmp_path_factory.mktemp("admin") / "mspc") as process:
        yield process


def ask(
    mspc: MspcProcess,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
) -> Response:
    """An answer of the door; with the key that mspc has made unless told otherwise."""
    return mspc.admin(method, path, body, headers, key)


def state_of(mspc: MspcProcess, call_id: str) -> str:
    return str(ask(mspc, "GET", f"/v1/calls/{call_id}").json["state"])


def accepted(mspc: MspcProcess, call: object) -> str:
    answer = mspc.post(call)
    assert answer.status == 202
    return str(answer.json["id"])


def test_the_key_is_made_once(mspc_process: StartMspc) -> None:
    mspc = mspc_process()
    file = mspc.data_dir / "admin.key"
    key = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ask(mspc, "GET", "/v1/stats").status == 200
    assert key.strip() not in mspc.output
    mspc.terminate()
    assert mspc.wait() == 0
    mspc.restart()
    assert file.read_text() == key


def test_the_keys_of_the_settings(mspc_process: StartMspc) -> None:
    key = "a-key-that-may-do-everything"
    mspc = mspc_process({"ADMIN_KEY": key, "READ_KEY": READ})
    assert not (mspc.data_dir / "admin.key").exists()
    assert ask(mspc, "GET", "/v1/stats", key=key).status == 200
    assert ask(mspc, "GET", "/v1/stats", key=READ).status == 200
    assert ask(mspc, "DELETE", "/v1/calls/x", key=READ).status == 403
    assert ask(mspc, "GET", "/v1/stats", key="x" * 20).status == 401


def test_it_can_be_closed(mspc_process: StartMspc) -> None:
    mspc = mspc_process({"ADMIN": "0"})
    with pytest.raises(ConnectionRefusedError):
        ask(mspc, "GET", "/v1/stats", key=READ)


def test_a_second_instance_says_how_to_choose_another_port(
    mspc_process: StartMspc,
) -> None:
    first = mspc_process()
    second = mspc_process({"ADMIN_PORT": str(first.admin_port)}, wait=False)
    assert second.wait() == 2
    assert f"ADMIN_PORT: {first.admin_port} is in use" in second.output
    assert "ADMIN: 0 does without" in second.output
    assert first.running


def test_a_call_from_its_acceptance_to_its_retry(
    mspc_process: StartMspc, target: Target
) -> None:
    target.answer("/", status=500, body=b"the reason", times=1)
    mspc = mspc_process(LONG)
    call_id = accepted(mspc, {"url": target.url("/"), "labels": ["order-1"]})
    eventually(lambda: state_of(mspc, call_id) == "waiting")
    call = ask(mspc, "GET", f"/v1/calls/{call_id}").json
    assert call["last_attempt"]["status"] == 500
    assert call["last_attempt"]["error"] == "bad_status"
    assert call["last_attempt"]["answer"] == "the reason"
    told = mspc.get(f"/v1/calls/{call_id}")
    assert told.json["last_attempt"]["status"] == 500
    assert b"the reason" not in told.body
    listed = ask(mspc, "GET", "/v1/calls?state=waiting&label=order-1").json["calls"]
    assert [one["id"] for one in listed] == [call_id]
    assert ask(mspc, "POST", f"/v1/calls/{call_id}/retry").status == 200
    eventually(lambda: state_of(mspc, call_id) == "succeeded")
    assert len(target.hits) == 2
    answer = ask(mspc, "DELETE", f"/v1/calls/{call_id}")
    assert (answer.status, answer.json["code"]) == (409, "already_succeeded")


def test_a_caller_takes_its_call_back(mspc: MspcProcess, target: Target) -> None:
    call_id = accepted(mspc, {"url": target.url("/"), "delay": "1h"})
    for _ in range(2):
        assert mspc.request("DELETE", f"/v1/calls/{call_id}").status == 200
    assert mspc.get(f"/v1/calls/{call_id}").json["state"] == "cancelled"
    (decided, *_) = ask(mspc, "GET", f"/v1/decisions?target={call_id}").json[
        "decisions"
    ]
    assert (decided["kind"], decided["who"]) == ("cancelled", "calls")
    assert target.hits == []


def test_a_batch(mspc: MspcProcess, target: Target) -> None:
    calls: list[object] = [{"url": target.url(f"/{number}")} for number in range(100)]
    answer = mspc.post({"calls": [*calls, {"url": "x"}]}, path="/v1/calls:batch")
    assert (answer.status, answer.json["error"]) == (202, True)
    assert sum("id" in item for item in answer.json["calls"]) == 100
    target.wait_for(100)


def test_a_pause_and_its_end(mspc: MspcProcess, target: Target) -> None:
    key = quote(f"http://127.0.0.1:{target.port}", safe="")
    path = f"/v1/destinations/{key}"
    assert ask(mspc, "POST", f"{path}/pause", {"reason": "they move"}).status == 200
    call_id = accepted(mspc, {"url": target.url("/")})
    assert ask(mspc, "GET", f"/v1/calls/{call_id}").json["held"] == "paused"
    assert ask(mspc, "GET", path).json["state"] == "paused"
    assert ask(mspc, "POST", f"{path}/resume").status == 200
    target.wait_for(1)


def test_a_job_for_dead_letters(mspc_process: StartMspc, target: Target) -> None:
    target.answer("/", status=500, times=3)
    mspc = mspc_process()
    for _ in range(3):
        accepted(mspc, {"url": target.url("/"), "requeue": False})

    def dead() -> int:
        return int(ask(mspc, "GET", "/v1/stats").json["states"]["dead"])

    eventually(lambda: dead() == 3)
    (group,) = ask(mspc, "GET", "/v1/dead/groups").json["groups"]
    assert (group["count"], group["status"]) == (3, 500)
    wanted = {"action": "retry", "filter": {"state": ["dead"]}}
    assert ask(mspc, "POST", "/v1/bulk/plan", wanted).json["matched"] == 3
    job = ask(mspc, "POST", "/v1/bulk", {**wanted, "reason": "mended"})
    assert job.status == 202
    target.wait_for(6)
    eventually(lambda: dead() == 0)
    path = f"/v1/bulk/{job.json['id']}"
    eventually(lambda: ask(mspc, "GET", path).json["status"] == "done")


def test_an_export(mspc_process: StartMspc, target: Target) -> None:
    mspc = mspc_process()
    call = {"url": target.url("/"), "delay": "1h", "body": '"ž"'}
    ids = {accepted(mspc, call) for _ in range(3)}
    answer = ask(mspc, "GET", "/v1/export")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert {line["call"]["id"] for line in lines} == ids
    assert all(json.loads(line["payload"]) == call for line in lines)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.8.8.8", "0.0.0.0", "[::1]", "localhost", "[::ffff:7f00:1]"],
)
def test_no_call_is_taken_for_its_own_door(mspc: MspcProcess, host: str) -> None:
    answer = mspc.post({"url": f"http://{host}:{mspc.admin_port}/v1/stats"})
    assert answer.status == 400
    assert "operators' door" in answer.json["message"]


def test_a_name_that_leads_there_makes_a_dead_letter(mspc_process: StartMspc) -> None:
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        pytest.skip("this machine does not know its own name")
    mspc = mspc_process({"ADMIN_HOST": "0.0.0.0"})
    call_id = accepted(mspc, {"url": f"http://{name}:{mspc.admin_port}/v1/stats"})
    eventually(lambda: state_of(mspc, call_id) == "dead")
    call = ask(mspc, "GET", f"/v1/calls/{call_id}").json
    assert call["last_attempt"]["error"] == "denied_network"
    assert "operators' door" in call["last_attempt"]["text"]


def test_behind_a_prefix_and_from_elsewhere(mspc_process: StartMspc) -> None:
    mspc = mspc_process(
        {"ADMIN_PREFIX": "/mspc", "ADMIN_NAMES": "Ops.example.com, mspc-1."}
    )
    assert ask(mspc, "GET", "/mspc/v1/stats").status == 200
    assert ask(mspc, "GET", "/v1/stats").status == 200
    for name in ("ops.example.com", f"MSPC-1:{mspc.admin_port}"):
        assert ask(mspc, "GET", "/metrics", None, {"Host": name}).status == 200
        assert ask(mspc, "GET", "/login", None, {"Host": name}).status == 200
    for headers, code in (
        ({"Host": f"evil.test:{mspc.admin_port}"}, "foreign_host"),
        ({"Sec-Fetch-Site": "cross-site"}, "cross_site"),
        ({"Origin": f"http://127.0.0.1:{free_port()}"}, "cross_site"),
    ):
        answer = ask(mspc, "POST", "/v1/bulk/plan", {"action": "retry"}, headers)
        assert (answer.status, answer.json["code"]) == (403, code)


def test_a_link_of_the_command_line_logs_a_browser_in_once(mspc: MspcProcess) -> None:
    told = subprocess.run(
        [sys.executable, SCRIPT, "pages"],
        env={
            "PATH": os.environ["PATH"],
            "MSPC_URL": f"http://127.0.0.1:{mspc.admin_port}",
            "MSPC_KEY_FILE": str(mspc.data_dir / "admin.key"),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    path = "/" + told.stdout.strip().split("/", 3)[3]
    first = mspc.admin("GET", path, key="")
    assert first.status == 303
    cookie = first.headers["set-cookie"].partition(";")[0]
    assert mspc.admin("GET", "/calls", headers={"Cookie": cookie}, key="").status == 200
    assert "set-cookie" not in mspc.admin("GET", path, key="").headers
