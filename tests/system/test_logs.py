"""What is logged: each call and each attempt, and nothing that is secret."""

import json

import pytest

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import StartOnQueue

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def lines_of(mspc: MspcProcess, call_id: str) -> list[str]:
    return [line for line in mspc.output.splitlines() if call_id in line]


def test_one_line_per_accepted_call_and_per_attempt(
    start: StartOnQueue, target: Target
) -> None:
    mspc = start()
    target.answer("/l", status=500, times=2)
    call = {"url": target.url("/l?a=b"), "method": "POST", "body": "{}"}
    call_id = mspc.post(call).json["id"]
    url = rf"http://127\.0\.0\.1:{target.port}/l\?a=b"
    attempt = rf"{call_id} POST {url} ->"
    failed = "failed, the next in 0.7 s$"
    for expected in (
        rf"{TIME} INFO {call_id} accepted POST {url}$",
        rf"{TIME} WARNING {attempt} 500 in \d+ ms: attempt 1 {failed}",
        rf"{TIME} WARNING {attempt} 500 in \d+ ms: attempt 2 {failed}",
        rf"{TIME} INFO {attempt} 200 in \d+ ms: done$",
    ):
        mspc.wait_for_log(expected)
    assert len(lines_of(mspc, call_id)) == 4


def test_a_call_in_objects_for_who_collects_logs(
    start: StartOnQueue, target: Target
) -> None:
    mspc = start(LOG_FORMAT="json")
    target.answer("/l", status=500, times=1)
    call = {"url": target.url("/l?token=s"), "method": "POST", "labels": ["a", "b"]}
    call_id = mspc.post(call).json["id"]
    mspc.wait_for_log(f'"id": "{call_id}".*"next": "done"')
    told = [json.loads(line) for line in lines_of(mspc, call_id)]
    of_it = {
        "id": call_id,
        "method": "POST",
        "url": target.url("/l?token=***"),
        "labels": ["a", "b"],
    }
    assert [one["event"] for one in told] == ["accepted", "attempted", "attempted"]
    assert all(one.items() >= of_it.items() for one in told)
    assert [one["outcome"] for one in told[1:]] == ["500", "200"]
    assert all(0 < one["milliseconds"] < 10_000 for one in told[1:])
    assert [one["level"] for one in told] == ["INFO", "WARNING", "INFO"]
    mspc.terminate()
    assert mspc.wait() == 0
    assert all(json.loads(line) for line in mspc.log_file.read_text().splitlines())


def test_nothing_confidential_is_logged(start: StartOnQueue, target: Target) -> None:
    """Not even at LOG_LEVEL=debug, nor when a call fails or is refused."""
    mspc = start(LOG_LEVEL="debug")
    target.answer("/fails", status=500, body=b"secret of the answer", times=1)
    url = target.url("/fails").replace("://", "://secret-user:secret-password@")
    call = {
        "url": url,
        "method": "POST",
        "headers": {"X-Token": "secret-token", "Authorization": "Bearer secret"},
        "body": '{"card": "secret-number"}',
    }
    sent = {"Cookie": "secret-cookie"}
    call_id = mspc.post(call, sent).json["id"]
    assert mspc.post({**call, "requeue": "secret"}, sent).status == 400
    assert mspc.post({**call, "headers": {"X": "secret\n"}}, sent).status == 400
    assert mspc.post({**call, "body": "secret"}, sent).status == 400
    assert mspc.post(b'{"body": "secret', sent).status == 422
    mspc.wait_for_log(f"INFO {call_id} .* -> 200 in .*: done$")
    target.stop()
    lost = mspc.post({**call, "requeue": False}, sent).json["id"]
    mspc.wait_for_log(f"ERROR {lost} .*: a dead letter$")
    mspc.terminate()
    assert mspc.wait() == 0
    assert "secret" not in mspc.output
    assert "secret" not in mspc.log_file.read_text()


def test_passwords_are_not_logged(mspc_process: StartMspc) -> None:
    mspc = mspc_process(
        {
            "AUTHORIZATION_KEY": "secret-key",
            "RABBITMQ_DEFAULT_PASS": "secret-password",
            "LOG_LEVEL": "debug",
        }
    )
    mspc.terminate()
    assert mspc.wait() == 0
    assert "secret" not in mspc.output


def test_nothing_confidential_of_a_dead_letter_is_logged(
    mspc_process: StartMspc,
) -> None:
    mspc = mspc_process({"FAST_PUBLISH": "1", "LOG_LEVEL": "debug"})
    sent: tuple[dict[str, object], ...] = (
        {"body": "secret"},
        {"body": "<secret"},
        {"headers": {"X": "secret\n"}},
        {"headers": "secret"},
    )
    dead = ("http://secret:secret@a b/", "http://secret:secret@a:secret@127.0.0.1:0/")
    for properties in sent:
        mspc.post({"url": "http://127.0.0.1:1/", "requeue": False, **properties})
    for url in dead:
        mspc.post({"url": url})
    mspc.post(b'{"body": "secret')
    mspc.wait_for_log("ERROR .* is no call, now a dead letter", count=len(dead) + 1)
    mspc.wait_for_log("INFO .* is sent as far as it can be: ", count=len(sent))
    mspc.wait_for_log("ERROR .* in [0-9]+ ms: a dead letter", count=len(sent))
    assert "secret" not in mspc.output


def test_a_caller_cannot_forge_a_line(mspc_process: StartMspc) -> None:
    mspc = mspc_process({"FAST_PUBLISH": "1"})
    mspc.post(b'{"\\nINFO forged": 1, "\\u2028INFO forged": 2, "\\rINFO forged": 3}')
    mspc.wait_for_log("ERROR .* is no call, now a dead letter.*forged.*forged.*forged")
    assert [line for line in mspc.output.splitlines() if line.startswith("INFO")] == []


def test_the_log_file(mspc_process: StartMspc, target: Target) -> None:
    """The same lines as on standard output; it may be moved away at any time."""
    mspc = mspc_process({"FILE_LOG_ENABLED": "1"})

    def made() -> str:
        call_id = str(mspc.post({"url": target.url()}).json["id"])
        mspc.wait_for_log(f"INFO {call_id} .*: done$")
        return call_id

    first = made()
    eventually(lambda: mspc.log_file.read_text() == mspc.output)

    rotated = mspc.log_file.with_suffix(".1")
    mspc.log_file.rename(rotated)
    eventually(lambda: made() and mspc.log_file.exists())  # it looks twice a second
    second = made()
    eventually(lambda: mspc.log_file.read_text().count(second) == 2)
    assert rotated.read_text().count(first) == 2
    assert second not in rotated.read_text()
    assert first not in mspc.log_file.read_text()


@pytest.mark.parametrize("no", ["0", "false"])
def test_no_log_file(mspc_process: StartMspc, target: Target, no: str) -> None:
    mspc = mspc_process({"FILE_LOG_ENABLED": no})
    call_id = mspc.post({"url": target.url()}).json["id"]
    mspc.wait_for_log(f"INFO {call_id} .*: done$")
    assert not mspc.log_file.exists()
    assert not mspc.log_file.parent.exists()


def test_a_log_file_that_cannot_be_written_stops_nothing(
    mspc_process: StartMspc, target: Target
) -> None:
    mspc = mspc_process({"LOG_FILE": "/dev/null/mspc.log"})
    assert mspc.post({"url": target.url("/n")}).status == 202
    target.wait_for(1, "/n")
    mspc.wait_for_log("LOG_FILE: ")


@pytest.mark.parametrize(
    ("level", "levels"),
    [
        ("warning", {"WARNING", "ERROR"}),
        ("error", {"ERROR"}),
    ],
)
def test_the_level(
    mspc_process: StartMspc, target: Target, level: str, levels: set[str]
) -> None:
    mspc = mspc_process({"LOG_LEVEL": level})
    target.answer("/again", status=500, times=1)
    target.answer("/never", status=500)
    mspc.post({"url": target.url("/again")})
    target.wait_for(1, "/again")
    mspc.post({"url": target.url("/never"), "requeue": False})
    mspc.wait_for_log("ERROR .*/never -> 500 .*a dead letter$")
    assert {line.split()[1] for line in mspc.output.splitlines()} == levels
