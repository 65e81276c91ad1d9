"""What the journal knows after a crash of the real service, and when it is new."""

import sqlite3
from contextlib import closing, suppress
from http.client import HTTPException
from typing import Any

import pytest

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually

# More than the queue's recovery looks at in one step.
CALLS = 120
TRIES = 20


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


def test_a_cancel_that_is_cut_short_is_told_as_what_it_is(
    mspc_process: StartMspc, target: Target
) -> None:
    """Killed when the queue had forgotten the call, and before the journal knew."""
    commits = 6
    for _ in range(TRIES):
        mspc = mspc_process({"MSPC_CRASH_AT": f"after_commit:{commits}"}, wait=False)
        call_id, answered = cancelled_until_killed(mspc, target)
        waits = call_id is not None and call_id in waiting(mspc)
        # How many commits a start takes differs.
        commits += -1 if answered else 1
        if call_id and not answered and not waits:
            break
    else:
        pytest.fail("it was never killed in between")
    mspc.settings.clear()
    mspc.restart()
    eventually(lambda: mspc.get(f"/v1/calls/{call_id}").json["state"] != "waiting")
    call = mspc.admin("GET", f"/v1/calls/{call_id}").json
    assert (call["state"], call["attempts"]) == ("cancelled", 0)
    told = mspc.admin("GET", f"/v1/decisions?target={call_id}").json["decisions"]
    assert [(one["kind"], one["who"]) for one in told] == [("cancelled", "calls")]
    assert mspc.request("DELETE", f"/v1/calls/{call_id}").status == 200
    assert target.hits == []


def cancelled_until_killed(
    mspc: MspcProcess, target: Target
) -> tuple[str | None, bool]:
    """The id of a call, once it is known, and whether its cancel was answered, too."""
    call_id, answered = None, False
    with suppress(OSError, HTTPException, AssertionError):
        mspc.wait_ready()
        call = {"url": target.url("/late"), "delay": "1h"}
        call_id = mspc.post(call).json["id"]
        answered = mspc.request("DELETE", f"/v1/calls/{call_id}").status == 200
    mspc.kill()
    return call_id, answered


def waiting(mspc: MspcProcess) -> set[str]:
    """Of a killed mspc, ids of calls that its queue has for later."""
    with closing(sqlite3.connect(mspc.data_dir / "queue.db")) as db:
        return {call_id for (call_id,) in db.execute("SELECT id FROM waiting")}
