"""How much of the disk a call takes, as docs/operations.md says."""

import json

import pytest

from tests.conftest import StartMspc
from tests.support.documents import table
from tests.support.process import MspcProcess

CALLS = 1000
BATCH = 100
BODIES = {"none": 0, "1 kB": 1000, "10 kB": 10_000}


def documented() -> dict[str, tuple[float, float]]:
    """By body: kB in the queue, and in the journal."""
    rows = table("docs/operations.md", "### How much memory and disk it takes")
    return {body: (float(queue), float(journal)) for body, queue, journal in rows}


def sizes(mspc: MspcProcess) -> list[float]:
    """kB of the queue and the journal, after a stop."""
    mspc.terminate()
    assert mspc.wait() == 0
    paths = [mspc.data_dir / name for name in ("queue.db", "journal.db")]
    assert not any(path.with_name(f"{path.name}-wal").exists() for path in paths)
    return [path.stat().st_size / 1000 for path in paths]


def test_every_size_is_measured() -> None:
    assert documented().keys() == BODIES.keys()


@pytest.mark.parametrize("body", BODIES)
def test_a_call_takes_as_much_as_its_page_says(
    mspc_process: StartMspc, body: str
) -> None:
    mspc = mspc_process()
    empty = sizes(mspc)
    mspc.restart()
    call = {
        "url": "https://api.myservicedomain.tld/orders/12345",
        "method": "POST",
        "headers": {"Content-Type": "application/json"},
        "body": "x" * BODIES[body],
        "delay": "1h",
    }
    payload = json.dumps({"calls": [call] * BATCH}).encode()
    for _ in range(0, CALLS, BATCH):
        answer = mspc.request("POST", "/v1/calls:batch", payload)
        assert answer.status == 202
        assert answer.json["error"] is False
    mspc.wait_for_states(waiting=CALLS)
    grown = [
        (now - before) / CALLS for now, before in zip(sizes(mspc), empty, strict=True)
    ]
    assert grown == pytest.approx(documented()[body], rel=0.2)
