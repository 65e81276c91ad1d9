"""What only a proxy has to fear: its own doors as a target, and hostile pages."""

from collections.abc import Iterator

import pytest

from tests.conftest import StartMspc
from tests.support.process import MspcProcess, serving
from tests.support.target import Target
from tests.support.waiting import eventually

SPELLINGS = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001"),
    *("0.0.0.0", "0", "localhost", "LOCALHOST", "localhost.", "127.8.8.8"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]"),
)


@pytest.fixture(name="mspc", scope="module")
def _mspc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MspcProcess]:
    with serving(tmp_path_factory.mktemp("dangers") / "mspc") as process:
        yield process


def test_a_call_to_its_own_door_is_not_accepted(mspc: MspcProcess) -> None:
    taken = []
    for host in SPELLINGS:
        url = f"http://{host}:{mspc.admin_port}/v1/stats"
        answer = mspc.post({"url": url})
        batch = mspc.post({"calls": [{"url": url}]}, path="/v1/calls:batch")
        if answer.status != 400 or "id" in batch.json["calls"][0]:
            taken.append(host)
    assert taken == []


def test_a_call_to_its_own_door_is_not_made(mspc_process: StartMspc) -> None:
    """Nobody reads it when it is accepted: it is refused when it is dialled."""
    mspc = mspc_process({"FAST_PUBLISH": "1"})
    for host in SPELLINGS:
        url = f"http://{host}:{mspc.admin_port}/v1/stats"
        assert mspc.post({"url": url, "requeue": False}).status == 200
    mspc.wait_for_states(dead=len(SPELLINGS))
    dead = mspc.admin("GET", "/v1/calls?state=dead&limit=100").json["calls"]
    assert len(dead) == len(SPELLINGS)
    assert {call["last_attempt"]["status"] for call in dead} == {None}


def test_a_redirect_there_is_not_followed(mspc: MspcProcess, target: Target) -> None:
    place = f"http://127.0.0.1:{mspc.admin_port}/v1/stats"
    target.answer("/there", status=302, headers={"Location": place})
    call_id = mspc.post({"url": target.url("/there"), "requeue": False}).json["id"]
    path = f"/v1/calls/{call_id}"
    eventually(lambda: mspc.get(path).json.get("last_attempt"))
    told = mspc.get(path).json["last_attempt"]
    assert (told["status"], told["error"]) == (302, "bad_status")
    assert len(target.hits) == 1


def test_a_hostile_page_gets_nothing(mspc: MspcProcess) -> None:
    """It has no key, but it may be in the browser of somebody who has one."""
    port = mspc.admin_port
    foreign = (
        ({"Host": f"evil.test:{port}"}, "foreign_host"),  # its name leads here now
        ({"Host": f"127.0.0.1.evil.test:{port}"}, "foreign_host"),
        ({"Sec-Fetch-Site": "cross-site"}, "cross_site"),
        ({"Sec-Fetch-Site": "same-site"}, "cross_site"),
        ({"Origin": "http://evil.test"}, "cross_site"),
        ({"Origin": f"http://localhost:{port + 1}"}, "cross_site"),
        ({"Origin": "null"}, "cross_site"),
    )
    for headers, code in foreign:
        plan = {"action": "delete", "all": True, "filter": {}}
        answer = mspc.admin("POST", "/v1/bulk", plan, headers)
        assert (answer.status, answer.json["code"]) == (403, code), headers
        assert "access-control-allow-origin" not in answer.headers
        if code == "foreign_host":
            for path in ("/v1/stats", "/v1/calls", "/", "/login", "/metrics"):
                assert mspc.admin("GET", path, headers=headers).status == 403, path
    assert mspc.admin("GET", "/v1/bulk").json["jobs"] == []
    preflight = {
        "Origin": "http://evil.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = mspc.admin("OPTIONS", "/v1/bulk", headers=preflight, key="")
    assert answer.status >= 400
    assert "access-control-allow-origin" not in answer.headers
