"""The spool beside a real RabbitMQ that goes away and comes back."""

from pathlib import Path

import pytest

from mspc.calls.call import Call
from mspc.queues import spooled
from mspc.queues.amqp import largest
from mspc.queues.opening import open_queue
from mspc.settings.config import AmqpConfig
from tests.conftest import StartMspc
from tests.support.opened import Opened
from tests.support.rabbitmq import RabbitNode
from tests.support.target import Target
from tests.support.waiting import eventually

AS_INSTALLED = 134_217_728


def test_every_call_is_accepted_and_made_while_rabbitmq_stops_and_starts(
    rabbitmq_node: RabbitNode,
    queue_name: str,
    target: Target,
    mspc_process: StartMspc,
) -> None:
    settings = {**rabbitmq_node.settings(queue_name), "SPOOL": "1"}
    mspc = mspc_process(settings)
    accepted: set[str] = set()

    def post(count: int) -> None:
        for _ in range(count):
            response = mspc.post({"url": target.url("/kept")})
            assert response.status == 202, response.json
            accepted.add(response.json["id"])

    post(10)
    rabbitmq_node.stop_app()
    mspc.wait_for_log(r"RabbitMQ \(publish\) is away")
    post(50)
    mspc.wait_for_log("Calls are spooled from now on: .*RabbitMQ")
    rabbitmq_node.start_app()
    post(10)
    mspc.wait_for_log("The spool is empty again")
    mspc.wait_ready()
    post(10)

    def made() -> set[str]:
        return {hit.headers["idempotency-key"] for hit in target.hits}

    eventually(lambda: made() == accepted, timeout=30)


def test_a_spool_of_an_earlier_run_reaches_rabbitmq(
    rabbitmq_node: RabbitNode, queue_name: str, tmp_path: Path
) -> None:
    config = AmqpConfig(
        hosts=((rabbitmq_node.host, rabbitmq_node.port),),
        name=queue_name,
        queue_type="classic",
        prefetch=20,
        spool=tmp_path / "spool.db",
    )
    calls = {call.id: call for call in (Call(b"%d" % n) for n in range(30))}
    rabbitmq_node.stop_app()
    queue = open_queue(config)
    queue.start(lambda error: None)
    for call in calls.values():
        queue.put(call)
    queue.close()
    rabbitmq_node.start_app()
    opened = Opened(open_queue(config))
    try:
        for _ in range(len(calls)):
            delivery = opened.take()
            call = calls.pop(delivery.call.id)
            assert delivery.call.payload == call.payload
            assert abs(delivery.call.accepted_at - call.accepted_at) < 0.001
            assert delivery.call.attempts == 0
            delivery.ack()
        opened.expect_nothing()
        eventually(lambda: opened.queue.remark() is None)
    finally:
        opened.close()


def test_calls_that_are_too_large_for_rabbitmq_keep_no_others_in_the_spool(
    rabbitmq_node: RabbitNode,
    queue_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (spooled, largest):
        monkeypatch.setattr(module, "BELIEVED_SECONDS", 2.0)
    config = AmqpConfig(
        hosts=((rabbitmq_node.host, rabbitmq_node.port),),
        name=queue_name,
        queue_type="classic",
        spool=tmp_path / "spool.db",
    )
    allow(rabbitmq_node, 5_000)
    opened = Opened(open_queue(config))
    queue = opened.queue
    try:
        large = {call.id for call in (Call(b"x" * 5_001) for _ in range(120))}
        for one in large:
            queue.put(Call(b"x" * 5_001, one))
        queue._spool.put(Call(b"small"))  # type: ignore[attr-defined]
        delivery = opened.take()
        assert delivery.call.payload == b"small"
        delivery.ack()
        eventually(lambda: queue.spooled() == len(large))
        assert queue.problem() is None
        allow(rabbitmq_node, AS_INSTALLED)  # which the next channel finds
        while large:
            delivery = opened.take()
            large.remove(delivery.call.id)
            assert not delivery.call.waited  # a delay that it asks for is not over
            delivery.ack()
        eventually(lambda: queue.remark() is None)
        opened.expect_nothing()
    finally:
        allow(rabbitmq_node, AS_INSTALLED)
        opened.close()


def allow(node: RabbitNode, octets: int) -> None:
    """Channels that are opened from now on take messages of so many."""
    node.eval(f"application:set_env(rabbit, max_message_size, {octets}).")
