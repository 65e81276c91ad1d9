"""What a running mspc tells Prometheus of its store, on each queue."""

import re

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import StartOnQueue


def told(mspc: MspcProcess, name: str, operation: str) -> float:
    """A sample; 0 when there is none."""
    text = mspc.admin("GET", "/metrics").body.decode()
    sample = re.escape(f'{name}{{operation="{operation}"}}')
    found = re.search(rf"^{sample} (\S+)$", text, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


def test_commits_and_confirms(
    start: StartOnQueue, queue_kind: str, target: Target
) -> None:
    mspc = start()
    mine, others = ("commit", "confirm")
    if queue_kind == "rabbitmq":
        mine, others = others, mine
    seconds = "mspc_store_operation_seconds"
    before = told(mspc, f"{seconds}_count", mine)
    mspc.post({"url": target.url("/")})
    target.wait_for(1)
    assert told(mspc, f"{seconds}_count", mine) > before
    assert told(mspc, f"{seconds}_sum", mine) > 0
    assert told(mspc, f"{seconds}_count", others) == 0
    for operation in ("put", "ack", "retry", "bury"):
        assert told(mspc, "mspc_store_errors_total", operation) == 0


def test_what_rabbitmq_does_not_take(
    mspc_process: StartMspc, rabbitmq: Broker, queue_name: str, target: Target
) -> None:
    settings = {**rabbitmq.settings(queue_name), "QUEUE_PORT": "1", "SPOOL": "1"}
    mspc = mspc_process(settings, wait=False)
    mspc.wait_for_log("RabbitMQ .* is away")
    assert mspc.post({"url": target.url("/")}).status == 202
    eventually(lambda: told(mspc, "mspc_store_errors_total", "put") >= 1)
    assert told(mspc, "mspc_store_operation_seconds_count", "commit") >= 1
    text = mspc.admin("GET", "/metrics").body.decode()
    assert "\nmspc_spool_calls 1.0\n" in text
