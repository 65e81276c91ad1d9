"""What the journal knows after a crash of the real service."""

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
    path = f"/v1/calls?state=queued&label=late&limit={CALLS}"
    assert len(mspc.admin("GET", path).json["calls"]) == CALLS
    states = mspc.admin("GET", "/v1/stats").json["states"]
    assert states["queued"] == CALLS + 1
