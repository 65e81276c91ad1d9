"""Who may do what: every route of both doors, with every key, for real."""

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import StartMspc
from tests.support.authorizing import authorization
from tests.support.process import SCRIPT, MspcProcess, serving

CALLS = "a-key-of-those-who-send-calls"
READ = "a-key-that-may-only-look"
ADMIN = "a-key-that-may-do-everything"
HEALTH = ("/health/live", "/health/ready")
ON_THE_CALLS_PORT = (
    ("POST", "/"),
    ("POST", "/v1/calls"),
    ("POST", "/v1/calls:batch"),
    ("GET", "/v1/calls/x"),
    ("HEAD", "/v1/calls/x"),
    ("DELETE", "/v1/calls/x"),
)


CALLER = {"X-Authorization": authorization(CALLS)}


@pytest.fixture(name="mspc", scope="module")
def _mspc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MspcProcess]:
    keys = {"AUTHORIZATION_KEY": CALLS, "READ_KEY": READ, "ADMIN_KEY": ADMIN}
    with serving(tmp_path_factory.mktemp("rights") / "mspc", keys) as process:
        yield process


def routes(mspc: MspcProcess) -> Iterator[tuple[str, str]]:
    """Every method and path of the operators' door, names in paths filled in."""
    document = mspc.admin("GET", "/v1/openapi.json", key=READ).json
    for path, methods in document["paths"].items():
        for method in methods:
            yield method.upper(), re.sub(r"{\w+}", "x", path)


def may_look(method: str, path: str) -> bool:
    """Whether READ_KEY is enough; an export has the secrets of all calls."""
    return method == "GET" and path != "/v1/export"


def status(
    mspc: MspcProcess, method: str, path: str, headers: dict[str, str], port: int
) -> int:
    """Of an answer to a body that can do no harm."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = None if method in ("GET", "HEAD") else "[]"
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_operators_door(mspc: MspcProcess) -> None:
    table = list(routes(mspc))
    assert len(table) > 20
    wrong = []
    for method, path in table:
        expected = {
            None: {401},
            CALLS: {401},
            READ: {200, 400, 404} if may_look(method, path) else {403},
            ADMIN: {200, 202, 400, 404, 409, 422},
        }
        for key, allowed in expected.items():
            sent = {} if key is None else {"Authorization": f"Bearer {key}"}
            if key == CALLS:
                sent |= CALLER
            got = status(mspc, method, path, sent, mspc.admin_port)
            if got not in allowed:
                wrong.append((method, path, key, got))
    assert wrong == []


def test_secrets_are_shown_to_one_key_only(mspc: MspcProcess) -> None:
    call = {
        "url": "http://127.0.0.1:9/",
        "delay": "1h",
        "headers": {"X-Auth": "s3cr3t"},
    }
    answer = mspc.post(call, CALLER)
    path = f"/v1/calls/{answer.json['id']}"
    assert mspc.admin("GET", f"{path}/curl?reveal=1", key=READ).status == 403
    for asked in (path, f"{path}/curl", f"{path}?include=body", "/v1/calls"):
        shown = mspc.admin("GET", asked, key=ADMIN)
        assert shown.status == 200
        assert b"s3cr3t" not in shown.body
    assert b"s3cr3t" in mspc.admin("GET", f"{path}/curl?reveal=1", key=ADMIN).body
    (decided,) = mspc.admin("GET", "/v1/decisions", key=READ).json["decisions"]
    assert (decided["kind"], decided["who"]) == ("revealed", "admin")
    assert "s3cr3t" not in mspc.output


def test_the_calls_port(mspc: MspcProcess) -> None:
    wrong = []
    for method, path in ON_THE_CALLS_PORT:
        for key in ("", READ, ADMIN):
            for sent in (
                {"Authorization": f"Bearer {key}"},
                {"X-Authorization": authorization(key)},
            ):
                got = status(mspc, method, path, sent, mspc.http_port)
                if got != 401:
                    wrong.append((method, path, key, got))
        got = status(mspc, method, path, CALLER, mspc.http_port)
        if got not in (202, 400, 404, 422):
            wrong.append((method, path, CALLS, got))
    assert wrong == []
    for path in HEALTH:
        assert status(mspc, "GET", path, {}, mspc.http_port) == 200
    for path in ("/v1/stats", "/v1/openapi.json", "/v1/bulk", "/metrics", "/calls"):
        sent = CALLER | {"Authorization": f"Bearer {ADMIN}"}
        assert status(mspc, "GET", path, sent, mspc.http_port) == 404


def test_what_a_service_answers_is_not_told_to_callers(
    mspc_process: StartMspc,
) -> None:
    """A call to the calls' port of another mspc, or of any service in its network."""
    inner = mspc_process()
    mspc = mspc_process()
    url = f"http://127.0.0.1:{inner.http_port}/nothing-here?secret"
    answer = mspc.post({"url": url, "requeue": False})
    seen = mspc.wait_for_state(answer.json["id"], "dead")["last_attempt"]
    assert "message" in seen["answer"]
    path = f"/v1/calls/{answer.json['id']}"
    for method in ("GET", "HEAD"):
        told = mspc.request(method, path)
        assert told.status == 200
        assert b"message" not in told.body
        if told.body:
            last = json.loads(told.body)["last_attempt"]
            assert (last["status"], last["error"]) == (404, "bad_status")
            assert not {"text", "answer"} & set(last)


@pytest.mark.parametrize(("key", "code"), [(READ, 4), (ADMIN, 0), ("another-key", 4)])
def test_a_link_that_logs_in_needs_the_key_that_may_do_everything(
    mspc: MspcProcess, key: str, code: int
) -> None:
    told = subprocess.run(
        [sys.executable, SCRIPT, "pages"],
        env={
            "PATH": os.environ["PATH"],
            "MSPC_URL": f"http://127.0.0.1:{mspc.admin_port}",
            "MSPC_KEY": key,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert told.returncode == code, told.stderr
    assert ("/login?once=" in told.stdout) is (code == 0)
    assert ("needs ADMIN_KEY" in told.stderr) is (key == READ)
