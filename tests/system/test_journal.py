"""What the journal knows after a crash of the real service, and when it is new."""

from typing import Any

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually

# More than the queue's recovery looks at in one step.
CALLS = 120


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
