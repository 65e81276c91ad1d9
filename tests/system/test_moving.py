"""From the embedded queue to RabbitMQ while both run: `mspc export`, `mspc import`."""

import json
import os
import subprocess
import sys

from tests.conftest import StartMspc
from tests.support.process import SCRIPT, MspcProcess
from tests.support.rabbitmq import Broker
from tests.support.target import Target
from tests.support.waiting import eventually

LONG = {"REQUEUE_FAILED_AFTER_MILLISECONDS": "3600000", "BREAKER_FAILURES": "0"}
DELAYED, FAILED, DEAD = 600, 20, 5  # more than a batch of the import


def command(mspc: MspcProcess, *words: str) -> str:
    """What `mspc` prints that asks this one."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *words],
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "MSPC_URL": f"http://127.0.0.1:{mspc.admin_port}",
            "MSPC_KEY_FILE": str(mspc.data_dir / "admin.key"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def states(mspc: MspcProcess) -> dict[str, int]:
    told: dict[str, int] = mspc.admin("GET", "/v1/stats").json["states"]
    return told


def labels(mspc: MspcProcess) -> set[str]:
    calls = mspc.admin("GET", "/v1/calls?limit=1000").json["calls"]
    return {label for call in calls for label in call["labels"]}


def test_all_open_calls_arrive(
    rabbitmq: Broker, queue_name: str, mspc_process: StartMspc, target: Target
) -> None:
    target.answer("/fails", status=500, times=FAILED)
    target.answer("/dies", status=500)
    old = mspc_process(LONG)
    new = mspc_process({**rabbitmq.settings(queue_name), **LONG})
    calls: list[dict[str, object]] = [
        {"url": target.url("/delayed"), "delay": "1h", "labels": [f"delayed-{n}"]}
        for n in range(DELAYED)
    ]
    for some in (calls[: DELAYED // 2], calls[DELAYED // 2 :]):
        assert old.post({"calls": some}, path="/v1/calls:batch").status == 202
    for n in range(FAILED):
        old.post({"url": target.url("/fails"), "labels": [f"failed-{n}"]})
    for _ in range(DEAD):
        old.post({"url": target.url("/dies"), "requeue": False, "labels": ["dead"]})
    wait = DELAYED + FAILED
    eventually(lambda: (states(old)["waiting"], states(old)["dead"]) == (wait, DEAD))

    export = old.directory / "calls.jsonl"
    export.write_text(command(old, "export"))
    lines = list(map(json.loads, export.read_text().splitlines()))
    assert len(lines) == DELAYED + FAILED + DEAD
    taken = command(new, "import", str(export))
    assert taken.startswith(f"accepted\t{DELAYED + FAILED}\nfailed\t0\n")
    target.wait_for(2 * FAILED, "/fails")
    eventually(lambda: states(new)["succeeded"] == FAILED)
    assert states(new)["waiting"] == DELAYED
    assert labels(new) == labels(old) - {"dead"}
