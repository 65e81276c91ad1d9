"""RabbitMQ: what waits lies there, not in our memory."""

import json

import pytest
from gevent.pool import Pool

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker, RabbitNode
from tests.support.target import Target
from tests.support.waiting import eventually

LARGEST_RESIDENT_BYTES = 200e6
MB = 1_000_000
# If all were held, that would be twice as much.
CALLS = 400
LARGE = '"' + "x" * MB + '"'


def post_large(mspc: MspcProcess, url: str, count: int) -> None:
    call = json.dumps({"url": url, "method": "POST", "body": LARGE}).encode()
    statuses = Pool(4).map(lambda _: mspc.post(call).status, range(count))
    assert set(statuses) == {202}


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_large_calls_that_wait_for_a_hanging_service(
    rabbitmq: Broker,
    queue_name: str,
    target: Target,
    mspc_process: StartMspc,
    queue_type: str,
) -> None:
    target.fault = "hang"
    settings = {
        **rabbitmq.settings(queue_name),
        "QUEUE_TYPE": queue_type,
        "FORWARD_TIMEOUT_SECONDS": "600",
        "SHUTDOWN_TIMEOUT_SECONDS": "0",
    }
    mspc = mspc_process(settings)
    post_large(mspc, target.url("/large"), CALLS)
    assert mspc.peak_memory < LARGEST_RESIDENT_BYTES
    mspc.terminate()
    assert mspc.wait() == 0
    hanging = target.connections
    mspc.restart()
    # One service has half of the room for large calls.
    eventually(lambda: target.connections >= hanging + 10)
    assert mspc.peak_memory < LARGEST_RESIDENT_BYTES


def test_large_calls_that_fail_are_made_when_the_service_is_back(
    rabbitmq: Broker, queue_name: str, target: Target, mspc_process: StartMspc
) -> None:
    """They wait in a retry queue: what is not due must not keep out what is."""
    target.answer("/large", status=503, times=400)
    settings = {
        **rabbitmq.settings(queue_name),
        "REQUEUE_FAILED_AFTER_MILLISECONDS": "3000",
        "BREAKER_FAILURES": "0",  # each of them waits in the retry queue
    }
    mspc = mspc_process(settings)
    post_large(mspc, target.url("/large"), 200)
    target.wait_for(300)  # the second round has begun
    small = mspc.post({"url": target.url("/small")})
    mspc.wait_for_log(f"{small.json['id']} .*: done")
    mspc.wait_for_log("POST .*: done", 60, count=200)
    assert mspc.peak_memory < LARGEST_RESIDENT_BYTES


def test_large_calls_over_connections_that_are_lost(
    rabbitmq_node: RabbitNode, queue_name: str, target: Target, mspc_process: StartMspc
) -> None:
    """What came on a connection that is gone is not kept besides what comes again."""
    target.fault = "hang"
    settings = {
        **rabbitmq_node.settings(queue_name),
        "QUEUE_NUMBER_OF_CONSUMERS": "10",
        "FORWARD_TIMEOUT_SECONDS": "600",
    }
    mspc = mspc_process(settings)
    post_large(mspc, target.url("/large"), 200)
    for number in range(2, 7):
        rabbitmq_node.close_connections("maintenance")
        mspc.wait_for_log(r"\(consume\): connected", 30, count=number)
        eventually(lambda: rabbitmq_node.ready(queue_name) <= 200 - 20)
    assert mspc.peak_memory < LARGEST_RESIDENT_BYTES


def test_messages_of_16_mb_from_another_producer(
    rabbitmq: Broker, queue_name: str, target: Target, mspc_process: StartMspc
) -> None:
    mspc = mspc_process(rabbitmq.settings(queue_name))
    payload = json.dumps({"url": target.url("/huge"), "body": '"%s"' % ("x" * 15 * MB)})
    with rabbitmq.connect() as connection, connection.channel() as channel:
        channel.confirm_deliveries()
        for _ in range(12):
            channel.basic.publish(payload.encode(), queue_name)
    mspc.wait_for_log("/huge .*: done", 60, count=12)
    # One at a time: in the message, in the call, in what is sent.
    assert mspc.peak_memory < LARGEST_RESIDENT_BYTES
