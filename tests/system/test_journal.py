"""What the journal knows after a crash of the real service, and when it is new."""

import signal
import sqlite3
from contextlib import closing
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import StartOnQueue

# More than the queue's recovery looks at in one step.
CALLS = 120
CUT_SHORT = {"MSPC_CRASH_AT": "decision_reached:1"}


def known(mspc: MspcProcess) -> set[str]:
    listed = mspc.admin("GET", "/v1/calls?limit=1000").json["calls"]
    return {call["id"] for call in listed}


def test_calls_that_the_journal_lost_are_told_again(
    mspc_process: StartMspc, target: Target
) -> None:
    mspc = mspc_process()
    early = mspc.post({"url": target.url("/early"), "delay": "1h"}).json["id"]
    assert known(mspc) == {early}  # written before it is told
    call = {"url": target.url("/late"), "delay": "1h", "labels": ["late"]}
    batch = mspc.post({"calls": [call] * CALLS}, path="/v1/calls:batch")
    late = {item["id"] for item in batch.json["calls"]}
    mspc.kill()
    mspc.restart()
    eventually(lambda: known(mspc) == {early, *late})
    path = f"/v1/calls?state=waiting&label=late&limit={CALLS}"
    assert len(mspc.admin("GET", path).json["calls"]) == CALLS
    states = mspc.admin("GET", "/v1/stats").json["states"]
    assert states["waiting"] == CALLS + 1


def test_dead_letters_are_told_again_when_the_journal_is_lost(
    mspc_process: StartMspc, target: Target
) -> None:
    target.answer("/gone", status=404)
    mspc = mspc_process({"PERMANENT_STATUSES": "404"})
    call = {"url": target.url("/gone"), "labels": ["gone"]}
    call_id = mspc.post(call).json["id"]

    def groups() -> list[Any]:
        return list(mspc.admin("GET", "/v1/dead/groups").json["groups"])

    eventually(groups)
    (before,) = groups()
    mspc.kill()
    for file in mspc.data_dir.glob("journal.db*"):
        file.unlink()
    mspc.restart()
    eventually(groups)
    (after,) = groups()
    kept = ("reason", "destination", "count", "latest_id")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    dead = mspc.admin("GET", f"/v1/calls/{call_id}").json
    assert (dead["state"], dead["labels"], dead["attempts"]) == ("dead", ["gone"], 1)
    assert "404" in dead["last_attempt"]["text"]


def test_of_a_damaged_call_it_is_told_that_it_is_a_dead_letter(
    mspc_process: StartMspc, target: Target
) -> None:
    """At once, and without what the damage says of it."""
    mspc = mspc_process()
    call = {"url": target.url("/damaged"), "delay": "1h", "labels": ["kept"]}
    call_id = mspc.post(call).json["id"]
    before = mspc.admin("GET", f"/v1/calls/{call_id}").json
    mspc.terminate()
    mspc.wait()
    with closing(sqlite3.connect(mspc.data_dir / "queue.db")) as db, db:
        db.execute("UPDATE waiting SET payload = CAST('?' AS BLOB), due = 0")
    mspc.restart()
    mspc.wait_for_log(f"ERROR {call_id} is damaged, now a dead letter: its checksum")
    mspc.wait_for_state(call_id, "dead")
    (group,) = mspc.admin("GET", "/v1/dead/groups").json["groups"]
    assert (group["reason"], group["count"]) == ("damaged", 1)
    assert group["destination"] == before["destination"]
    dead = mspc.admin("GET", f"/v1/calls/{call_id}").json
    assert (dead["state"], dead["reason"], dead["attempts"]) == ("dead", "damaged", 0)
    kept = ("url", "destination", "labels", "created_at")
    assert {name: dead[name] for name in kept} == {name: before[name] for name in kept}
    assert target.hits_of() == []


def test_a_cancel_that_is_cut_short_is_told_as_what_it_is(
    mspc_process: StartMspc, target: Target
) -> None:
    """Killed when the queue had forgotten the call, and before the journal knew."""
    mspc = mspc_process(CUT_SHORT)
    call_id = mspc.post({"url": target.url("/late"), "delay": "1h"}).json["id"]
    with pytest.raises((OSError, HTTPException)):
        mspc.request("DELETE", f"/v1/calls/{call_id}")
    restarted(mspc)
    eventually(lambda: mspc.get(f"/v1/calls/{call_id}").json["state"] != "waiting")
    call = mspc.admin("GET", f"/v1/calls/{call_id}").json
    assert (call["state"], call["attempts"]) == ("cancelled", 0)
    assert decided(mspc, call_id) == [("cancelled", "calls")]
    assert mspc.request("DELETE", f"/v1/calls/{call_id}").status == 200
    assert target.hits == []


def test_a_retry_that_is_cut_short_is_told_as_what_it_is(
    start: StartOnQueue, target: Target
) -> None:
    """Killed when the queue had it again, and before the journal knew. A pause keeps
    it from being attempted, which would tell as well.
    """
    target.answer("/x", status=404, times=1)
    mspc = start(PERMANENT_STATUSES="404", **CUT_SHORT)
    call_id = mspc.post({"url": target.url("/x")}).json["id"]

    def state() -> str:
        return str(mspc.admin("GET", f"/v1/calls/{call_id}").json.get("state"))

    eventually(lambda: state() == "dead")
    place = quote(f"http://127.0.0.1:{target.port}", safe="")
    assert mspc.admin("POST", f"/v1/destinations/{place}/pause", {}).status == 200
    with pytest.raises((OSError, HTTPException)):
        mspc.admin("POST", f"/v1/calls/{call_id}/retry", {"reason": "mended"})
    restarted(mspc)
    eventually(lambda: state() == "queued")
    assert decided(mspc, call_id) == [("retried", "admin")]
    assert mspc.admin("POST", f"/v1/destinations/{place}/resume", {}).status == 200
    eventually(lambda: state() == "succeeded")
    assert len(target.hits) == 2


def restarted(mspc: MspcProcess) -> None:
    """After it was killed at its crash point, without one."""
    assert mspc.wait() == -signal.SIGKILL
    del mspc.settings["MSPC_CRASH_AT"]
    mspc.restart()


def decided(mspc: MspcProcess, call_id: str) -> list[tuple[str, str]]:
    """What was decided about a call, and by whom."""
    told = mspc.admin("GET", f"/v1/decisions?target={call_id}").json["decisions"]
    return [(one["kind"], one["who"]) for one in told]
