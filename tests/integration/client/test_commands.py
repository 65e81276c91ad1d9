"""Every command over a real connection: what it asks, prints and ends with."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from mspc.client.connection import Connection
from mspc.client.main import main
from tests.integration.client.conftest import KEY, OperatorsDoor
from tests.support.children import free_port

CALL = {
    "id": "c1",
    "state": "waiting",
    "method": "GET",
    "url": "http://a/",
    "attempts": 1,
}
JOB = {
    "id": "j1",
    "action": "retry",
    "status": "done",
    "matched": 1,
    "done": 1,
    "failed": 0,
}
DONE = {"error": False, "message": "Done", "destination": "https://a:443"}
PLACE = "/v1/destinations/https%3A%2F%2Fa%3A443"


def run(*arguments: str, root: Path = Path("/nowhere")) -> int:
    return main(root, arguments)


# The command, what is asked, and a line of what is printed.
COMMANDS: list[tuple[str, str, str, dict[str, list[str]], Any, Any, str]] = [
    ("calls list", "GET", "/v1/calls", {"limit": ["100"]}, None,
     {"calls": [CALL], "next_cursor": None}, "c1\twaiting\tGET\thttp://a/\t1"),
    ("calls list --state dead --state waiting", "GET", "/v1/calls",
     {"limit": ["100"], "state": ["dead", "waiting"]}, None,
     {"calls": [], "next_cursor": None}, ""),
    ("calls show c1", "GET", "/v1/calls/c1", {}, None, CALL, "state\twaiting"),
    ("calls show c1 --body", "GET", "/v1/calls/c1", {"include": ["body"]}, None,
     {**CALL, "body": "text"}, "\ntext"),
    ("calls curl c1", "GET", "/v1/calls/c1/curl", {}, None,
     b"curl -X GET http://a/\n", "curl -X GET http://a/"),
    ("calls curl c1 --reveal", "GET", "/v1/calls/c1/curl", {"reveal": ["1"]}, None,
     b"curl -X GET http://a/\n", "curl -X GET http://a/"),
    ("calls cancel c1", "DELETE", "/v1/calls/c1", {}, None, DONE, "c1"),
    ("calls cancel c1 --reason x", "DELETE", "/v1/calls/c1", {"reason": ["x"]}, None,
     DONE, "c1"),
    ("calls retry c1", "POST", "/v1/calls/c1/retry", {}, {"reason": ""}, DONE, "c1"),
    ("dead groups", "GET", "/v1/dead/groups", {}, None,
     {"groups": [{"count": 2, "destination": "http://a:80", "reason": "max_age"}]},
     "2\thttp://a:80\tmax_age"),
    ("dead list", "GET", "/v1/calls", {"limit": ["100"], "state": ["dead"]}, None,
     {"calls": [CALL], "next_cursor": None}, "c1\twaiting"),
    ("dead retry c1", "POST", "/v1/calls/c1/retry", {}, {"reason": ""}, DONE, "c1"),
    ("dead delete c1 --yes", "POST", "/v1/bulk", {},
     {"action": "delete", "ids": ["c1"]}, JOB, "j1\tretry\tdone"),
    ("destinations list", "GET", "/v1/destinations", {}, None,
     {"destinations": [{"destination": "https://a:443", "state": "paused",
                        "rates": {"5m": {"attempts": 0, "succeeded": 0},
                                  "60m": {"attempts": 9, "succeeded": 6}},
                        "limits": {"rate": 5, "period": "1s", "parallelism": 2}},
                       {"destination": "https://b:443",
                        "rates": {"5m": {"attempts": 62, "succeeded": 62}}}]},
     "https://a:443\tpaused\t-\t-\t-\t-\t0\t66%\t-\t5/1s, 2 at once\n"
     "https://b:443\t-\t-\t-\t-\t-\t12.4\t100%\t-\t-\n"),
    ("destinations show https://a", "GET", PLACE, {}, None,
     {"destination": "https://a:443", "limits": None}, "limits\t-"),
    ("destinations pause https://a", "POST", f"{PLACE}/pause", {}, {}, DONE,
     "message\tDone"),
    ("destinations pause https://a --until 2030-01-01T00:00:00Z --reason x", "POST",
     f"{PLACE}/pause", {}, {"until": "2030-01-01T00:00:00Z", "reason": "x"}, DONE,
     "message\tDone"),
    ("destinations resume https://a", "POST", f"{PLACE}/resume", {}, {}, DONE,
     "message\tDone"),
    ("destinations limit https://a --rate 5/s --parallelism 2", "PUT",
     f"{PLACE}/limits", {}, {"rate": 5, "period": "1s", "parallelism": 2}, DONE,
     "message\tDone"),
    ("destinations unlimit https://a", "DELETE", f"{PLACE}/limits", {}, None, DONE,
     "message\tDone"),
    ("bulk list", "GET", "/v1/bulk", {}, None, {"jobs": [JOB]}, "j1\tretry\tdone\t1"),
    ("bulk show j1", "GET", "/v1/bulk/j1", {}, None, JOB, "status\tdone"),
    ("bulk stop j1", "DELETE", "/v1/bulk/j1", {}, None, JOB, "status\tdone"),
    ("decisions", "GET", "/v1/decisions", {"limit": ["100"]}, None,
     {"decisions": [{"at": "T", "who": "admin", "kind": "paused",
                     "targets": ["https://a:443"], "reason": "", "details": {}}]},
     "T\tadmin\tpaused\thttps://a:443\t-\t-"),
    ("decisions --of c1 --limit 5", "GET", "/v1/decisions",
     {"limit": ["5"], "target": ["c1"]}, None, {"decisions": []}, ""),
    ("decisions --kind retried --kind paused", "GET", "/v1/decisions",
     {"limit": ["100"], "kind": ["retried", "paused"]}, None,
     {"decisions": [{"at": "T", "who": "admin", "kind": "retried",
                     "targets": ["c1", "c2", "c3"], "reason": "",
                     "details": {"ids": ["c1", "c2"], "limit": 9}}]},
     'T\tadmin\tretried\tc1 and 2 more\t-\t{"limit": 9, "ids": 2}'),
    ("stats", "GET", "/v1/stats", {}, None,
     {"ready": True, "states": {"queued": 3}, "minutes": {"accepted": [1]}},
     "states.queued\t3"),
    ("send http://a/ -d x", "POST", "/v1/calls", {},
     {"url": "http://a/", "method": "POST", "body": "x"}, {"id": "c1"}, "c1"),
    ("export", "GET", "/v1/export", {}, None,
     b'{"call":{"id":"c1"},"payload":"1"}\n{"call":{"id":"c2"},"payload":"2"}\n',
     '{"call":{"id":"c2"},"payload":"2"}'),
    ("export --state dead", "GET", "/v1/export", {"state": ["dead"]}, None, b"", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "method", "path", "query", "body", "answer", "printed"),
    COMMANDS,
    ids=[row[0] for row in COMMANDS],
)
def test_a_command(
    door: OperatorsDoor,
    capsys: pytest.CaptureFixture[str],
    line: str,
    method: str,
    path: str,
    query: dict[str, list[str]],
    body: Any,
    answer: Any,
    printed: str,
) -> None:
    door.answer(method, path, answer)
    assert run(*line.split()) == 0
    (asked,) = door.asked
    assert (asked.method, asked.path) == (method, path)
    assert (asked.query, asked.body) == (query, body)
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    out, err = capsys.readouterr()
    assert printed in out
    assert err == ""


def test_a_pause_that_ends(door: OperatorsDoor) -> None:
    door.answer("POST", f"{PLACE}/pause", DONE)
    assert run("destinations", "pause", "https://a", "--for", "1h") == 0
    assert door.asked[0].body["until"].endswith("Z")


def test_a_job_from_plan_to_end(
    door: OperatorsDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"matched": 1, "more": False, "sample": ["c1"]}
    door.answer("POST", "/v1/bulk/plan", plan)
    door.answer("GET", "/v1/calls/c1", CALL)
    door.answer("POST", "/v1/bulk", JOB, status=202)
    assert run("dead", "retry", "--all", "--yes", "--jsonl") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == JOB
    assert err == "1 to retry.\n    c1 waiting GET http://a/\n"


NOTHING = {"matched": 0, "more": False, "sample": []}
OFF = {"error": True, "message": "JOURNAL is 0.", "code": "journal_off"}


@pytest.mark.parametrize(("status", "answer"), [(200, NOTHING), (501, OFF)])
def test_a_link(
    door: OperatorsDoor, capsys: pytest.CaptureFixture[str], status: int, answer: Any
) -> None:
    door.answer("POST", "/v1/bulk/plan", answer, status=status)
    assert run("pages") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{door.url}/login?once=")
    assert err == ""


@pytest.mark.parametrize(("status", "told"), [(403, "Because."), (401, "MSPC_KEY")])
def test_no_link_that_lets_nobody_in(
    door: OperatorsDoor, capsys: pytest.CaptureFixture[str], status: int, told: str
) -> None:
    refusal = {"error": True, "message": "Because.", "code": "read_only"}
    door.answer("POST", "/v1/bulk/plan", refusal, status=status)
    assert run("pages") == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


def test_an_import(
    door: OperatorsDoor, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = {"call": {"state": "queued"}, "payload": '{"url": "http://a/"}'}
    file = tmp_path / "export"
    file.write_text(f"{json.dumps(line)}\n" * 2)
    items = [{"id": "n"}, {"message": "No room."}]
    door.answer("POST", "/v1/calls:batch", {"calls": items}, status=202)
    assert run("import", str(file)) == 1
    assert door.asked[0].body == {"calls": [{"url": "http://a/"}] * 2}
    out, err = capsys.readouterr()
    assert out == "accepted\t1\nfailed\t1\nleft_out\t0\n"
    assert err == "Line 2: No room.\n"


def test_an_import_of_what_cannot_be_read(
    door: OperatorsDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", "/proc/self/mem") == 1
    told = capsys.readouterr().err
    assert "/proc/self/mem cannot be read: Input/output error." in told
    assert "output cannot be written" not in told


# What goes wrong


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "told"),
    [
        (400, "invalid_properties", 1, "Because."),
        (409, "in_flight", 1, "Because."),
        (501, "journal_off", 1, "Because."),
        (503, "queue_unavailable", 1, "Because."),
        (404, "no_such_call", 3, "Because."),
        (
            401,
            "unauthorized",
            4,
            "it does not take the key from MSPC_KEY. The key is ADMIN_KEY",
        ),
        (403, "read_only", 4, "Because."),
        (404, "not_found", 5, "MSPC_URL must be the address"),
    ],
)
def test_a_no(
    door: OperatorsDoor,
    capsys: pytest.CaptureFixture[str],
    status: int,
    code: str,
    exit_code: int,
    told: str,
) -> None:
    refusal = {"error": True, "message": "Because.", "code": code}
    door.answer("GET", "/v1/calls/c1", refusal, status=status)
    assert run("calls", "show", "c1") == exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"<html>", "answers 200, but not as mspc does"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 3\r\n\r\nbad", "answers 502, but not"),
        (b"HTTP/1.1 302 X\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "did not answer to"),
        (b"HTTP/no", "or not in HTTP"),
        (b"HTTP/1.1 500 Bad\r\nContent-Length: 2\r\n\r\n[]", "answers 500, but not"),
    ],
)
def test_whoever_answers_is_no_mspc(
    door: OperatorsDoor,
    capsys: pytest.CaptureFixture[str],
    answer: bytes,
    told: str,
) -> None:
    door.answer("GET", "/v1/stats", answer)
    assert run("stats") == 5
    assert told in capsys.readouterr().err


def test_an_export_that_breaks_off(
    door: OperatorsDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    begun = b'e\r\n{"call":{"id"\n\r\n5\r\n'
    door.answer("GET", "/v1/export", head + begun)
    assert run("export") == 5
    out, err = capsys.readouterr()
    assert out.startswith('{"call":{"id"')
    assert "did not answer to the end" in err


def test_nobody_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MSPC_KEY", KEY)
    for url, told in (
        (f"http://127.0.0.1:{free_port()}", "Connection refused"),
        ("http://name.invalid", "gives no answer"),
    ):
        monkeypatch.setenv("MSPC_URL", url)
        assert run("stats") == 5
        assert told in capsys.readouterr().err


def test_tls_where_there_is_none(
    door: OperatorsDoor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MSPC_URL", door.url.replace("http:", "https:"))
    assert run("stats") == 5
    told = capsys.readouterr().err
    assert "gives no answer: it does not speak TLS. Is MSPC_URL to begin" in told


@pytest.mark.parametrize(
    "words",
    [
        *("calls show", "calls curl", "calls retry", "calls cancel", "dead retry"),
        *("dead delete --yes", "bulk show", "bulk stop", "destinations show"),
        *("destinations pause", "destinations unlimit", "decisions --of"),
    ],
)
def test_a_variable_that_nobody_has_set(
    door: OperatorsDoor, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert run(*words.split(), "") == 2
    assert "is empty: which is it?" in capsys.readouterr().err
    assert door.asked == []


def test_somebody_who_hangs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Connection.__init__, "__defaults__", (0.1,))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("MSPC_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("MSPC_KEY", KEY)
        assert run("stats") == 5
    assert "timed out" in capsys.readouterr().err


# The settings


def test_the_key_that_mspc_made(
    door: OperatorsDoor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MSPC_KEY")
    monkeypatch.delenv("MSPC_URL")
    data = tmp_path / "data"
    data.mkdir()
    (data / "admin.key").write_text("made-by-mspc\n")
    port = door.url.rpartition(":")[2]
    (tmp_path / "env.yml").write_text(f"ADMIN_PORT: {port}\nADMIN_PREFIX: /ops\n")
    door.answer("GET", "/ops/v1/stats", {})
    assert run("stats", root=tmp_path) == 0
    assert door.asked[0].headers["authorization"] == "Bearer made-by-mspc"


SECRETS = "AUTHORIZATION_KEY: hush\nADMIN_KEY: hushhushhushhush\nREAD_KEY: ''\n"


def test_the_settings_and_where_they_come_from(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "other.yml"
    file.write_text(f"{SECRETS}HTTP_PORT: 8108\nLOG_LEVEL: debug\n")
    monkeypatch.setenv("LOG_LEVEL", "error")
    assert run("config", "show", "--config", str(file), root=tmp_path) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert f"HTTP_PORT\t8108\t{file}" in lines
    assert "LOG_LEVEL\terror\tenvironment" in lines
    assert "HTTPS_PORT\t8009\tdefault" in lines
    assert f"AUTHORIZATION_KEY\t********\t{file}" in lines
    assert "READ_KEY\t-\tdefault" in lines
    assert "RABBITMQ_DEFAULT_PASS\t********\tdefault" in lines
    assert "hush" not in out + err


def test_settings_with_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "env.yml").write_text("HTTP_PORT: 0\nLOG_LEVL: x\n")
    for command in (("config", "show"), ("authorize",)):
        assert run(*command, root=tmp_path) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "HTTP_PORT must be" in err
        assert "'LOG_LEVL' is not a setting" in err


def test_the_header_of_a_caller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("authorize", root=tmp_path) == 1
    assert "AUTHORIZATION_KEY is empty" in capsys.readouterr().err
    (tmp_path / "env.yml").write_text("AUTHORIZATION_KEY: hush\n")
    assert run("authorize", root=tmp_path) == 0
    name, _, value = capsys.readouterr().out.strip().partition(": ")
    assert name == "X-Authorization"
    assert len(value) > 80


@pytest.mark.parametrize(
    "line",
    [
        *("calls show {}", "calls show --json {}", "calls retry c1 {}"),
        *("destinations show {}", "destinations pause https://a --reason {}"),
        *("destinations unlimit https://a --reason {}", "decisions --of {}"),
        *("calls list --url-prefix {}", "dead retry --label {} --yes"),
        *("bulk show {}", "decisions --kind paused --kind {}"),
        *("send http://a/ --header N:{}", "send http://a/ --data x --label {}"),
    ],
)
def test_an_argument_that_is_no_text(
    door: OperatorsDoor, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert run(*line.format("J\udcf6rg").split()) == 2
    assert r"J\xf6rg' of the command line is not UTF-8" in capsys.readouterr().err
    assert door.asked == []


def test_files_and_bodies_may_be_any_bytes(
    door: OperatorsDoor, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    door.answer("POST", "/v1/calls", {"id": "c1"})
    assert run("send", "http://a/", "--data", "J\udcf6rg") == 0
    assert door.asked[0].body["body_base64"] == "SvZyZw=="
    name = f"{tmp_path}/J\udcf6rg"
    Path(name).write_bytes(b"x")
    assert run("send", "http://a/", "--data", f"@{name}") == 0
    assert door.asked[1].body["body"] == "x"
    assert run("import", name) == 1
    assert "Line 1: It is no call" in capsys.readouterr().err
    assert run("--config", f"{name}.none", "config", "show") == 2
    assert r"J\udcf6rg.none" in capsys.readouterr().err


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        *("", "foo", "calls", "calls show", "send", "dead list --state dead"),
        *("calls cancel --state in_flight", "calls retry --state in_flight"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(*line.split())
        assert ended.value.code == 2
        assert "usage: mspc" in capsys.readouterr().err
