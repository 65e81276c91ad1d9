"""The spool beside a real RabbitMQ that goes away and comes back."""

from pathlib import Path

from mspc.calls.call import Call
from mspc.queues.opening import open_queue
from mspc.settings.config import AmqpConfig
from tests.conftest import StartMspc
from tests.support.opened import Opened
from tests.support.rabbitmq import RabbitNode
from tests.support.target import Target
from tests.support.waiting import eventually


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
