"""SPOOL: calls are accepted while RabbitMQ is away, and made when it is back."""

from collections.abc import Iterator

import pytest

from tests.conftest import StartMspc
from tests.support.broker_door import Door
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker
from tests.support.target import Target
from tests.system.test_health import check


@pytest.fixture
def door(rabbitmq: Broker) -> Iterator[Door]:
    """RabbitMQ's, shut at first."""
    door = Door(rabbitmq)
    yield door
    door.shut()


def behind(door: Door, rabbitmq: Broker, queue_name: str) -> dict[str, str]:
    address = {"QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": str(door.port)}
    return {**rabbitmq.settings(queue_name), **address}


def test_calls_are_kept_until_rabbitmq_is_there(
    rabbitmq: Broker,
    queue_name: str,
    target: Target,
    mspc_process: StartMspc,
    door: Door,
) -> None:
    settings = {**behind(door, rabbitmq, queue_name), "SPOOL": "1"}
    mspc = mspc_process(settings, wait=False)
    mspc.wait_for_log("RabbitMQ .* is away")

    def spooled(count: int) -> None:
        message = check(mspc, "/health/ready", 503)
        assert f"Spooling is on, {count} calls are in the spool." in message
        assert check(mspc, "/health/live", 200) == "Alive"

    def post(mspc: MspcProcess) -> str:
        response = mspc.post({"url": target.url("/kept")})
        assert response.status == 202
        return str(response.json["id"])

    ids = {post(mspc) for _ in range(3)}
    mspc.wait_for_log("Calls are spooled from now on: RabbitMQ")
    spooled(3)

    mspc.kill()
    mspc.start()
    mspc.wait_for_log("3 calls are in the spool already")
    mspc.wait_for_log("RabbitMQ .* is away")
    spooled(3)
    ids.add(post(mspc))
    spooled(4)
    assert target.hits == []

    door.open()
    mspc.wait_for_log("The spool is empty again")
    mspc.wait_ready()
    assert check(mspc, "/health/ready", 200) == "Ready"
    ids.add(post(mspc))
    hits = target.wait_for(len(ids))
    assert {hit.headers["idempotency-key"] for hit in hits} == ids
    mspc.wait_for_log(": done$", count=len(ids))
    mspc.terminate()
    assert mspc.wait() == 0
    assert len(target.hits) == len(ids)


def test_without_a_spool_calls_are_refused(
    rabbitmq: Broker, queue_name: str, mspc_process: StartMspc, door: Door
) -> None:
    settings = {**behind(door, rabbitmq, queue_name), "SPOOL": "0"}
    mspc = mspc_process(settings, wait=False)
    mspc.wait_for_log("RabbitMQ .* is away")
    response = mspc.post({"url": "http://service.test/"})
    assert response.status == 503
    assert "RabbitMQ" in response.json["message"]
    assert "Spooling" not in check(mspc, "/health/ready", 503)
    assert not (mspc.data_dir / "spool.db").exists()
