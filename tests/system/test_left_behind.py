"""Settings were changed, and calls lie in a file that nobody opens any more."""

import pytest

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker
from tests.support.target import Target
from tests.support.waiting import eventually

SLOW = {"REQUEUE_FAILED_AFTER_MILLISECONDS": "3600000"}


def fill(mspc: MspcProcess, target: Target) -> None:
    """A call that waits, and a dead letter."""
    target.answer("/", status=500)
    for requeue in (True, False):
        call = {"url": target.url("/"), "requeue": requeue}
        assert mspc.post(call).status == 202
    target.wait_for(2)

    def failed() -> bool:
        states = mspc.admin("GET", "/v1/stats").json["states"]
        return bool(states["waiting"] == states["dead"] == 1)

    eventually(failed)


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_from_the_embedded_queue_to_rabbitmq(
    rabbitmq: Broker,
    queue_name: str,
    mspc_process: StartMspc,
    target: Target,
    end: str,
) -> None:
    mspc = mspc_process(SLOW)
    fill(mspc, target)
    getattr(mspc, end)()
    mspc.wait()
    embedded = dict(mspc.settings)
    mspc.settings.update(rabbitmq.settings(queue_name))
    mspc.restart()
    mspc.wait_for_log(
        r"ERROR.* .*/queue\.db has 1 calls that nobody makes, and 1 dead letters, of"
        r" before QUEUE_SCHEME was amqp\. Set QUEUE_SCHEME: sqlite until"
    )
    mspc.terminate()
    assert mspc.wait() == 0
    assert not (mspc.data_dir / "spool.db").exists()
    mspc.settings.clear()
    mspc.settings.update(embedded)
    mspc.restart()
    mspc.wait_for_log(r"queue\.db is open: 0 calls to make, 1 waiting .* 1 dead")


@pytest.mark.parametrize("scheme", ["amqp", "sqlite"])
def test_a_spool_that_was_switched_off(
    rabbitmq: Broker,
    queue_name: str,
    mspc_process: StartMspc,
    target: Target,
    scheme: str,
) -> None:
    away = {**rabbitmq.settings(queue_name), "QUEUE_PORT": "1", "SPOOL": "1"}
    mspc = mspc_process({**SLOW, **away}, wait=False)
    mspc.wait_for_log("Listening on")
    for _ in range(3):
        assert mspc.post({"url": target.url("/")}).status == 202
    mspc.terminate()
    assert mspc.wait() == 0
    mspc.settings.clear()
    if scheme == "amqp":
        mspc.settings.update(rabbitmq.settings(queue_name))
    mspc.restart()
    mspc.wait_for_log(
        r"ERROR.* .*/spool\.db has 3 calls that nobody makes, .* they were accepted"
        r" while RabbitMQ was away\. Set .*SPOOL: 1 until they are handed over"
    )
    mspc.terminate()
    assert mspc.wait() == 0
    mspc.settings.update({**rabbitmq.settings(queue_name), "SPOOL": "1"})
    mspc.restart()
    target.wait_for(3)
