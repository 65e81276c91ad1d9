"""What mspc says of itself, also while RabbitMQ comes and goes."""

from tests.conftest import StartMspc
from tests.support.broker_door import Door
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker
from tests.support.target import Target
from tests.support.waiting import eventually


def check(mspc: MspcProcess, path: str, status: int) -> str:
    """Checks a GET, and HEAD beside it; the message."""
    response = mspc.get(path)
    assert response.status == status
    assert response.headers["content-type"] == "application/json; charset=UTF-8"
    told = {"error", "message"} if status == 200 else {"error", "message", "code"}
    assert set(response.json) == told
    assert response.json["error"] is (status != 200)
    head = mspc.request("HEAD", path)
    assert (head.status, head.body) == (status, b"")
    return str(response.json["message"])


def test_health(mspc: MspcProcess) -> None:
    assert check(mspc, "/health/live", 200) == "Alive"
    assert check(mspc, "/health/ready", 200) == "Ready"


def test_ready_while_rabbitmq_is_there(
    rabbitmq: Broker, queue_name: str, target: Target, mspc_process: StartMspc
) -> None:
    door = Door(rabbitmq)
    settings = {
        **rabbitmq.settings(queue_name),
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": str(door.port),
    }
    mspc = mspc_process(settings, wait=False)
    call = {"url": target.url("/away")}

    def is_refused() -> None:
        assert str(door.port) in check(mspc, "/health/ready", 503)
        assert check(mspc, "/health/live", 200) == "Alive"
        response = mspc.post(call)
        assert response.status == 503
        assert response.json["error"] is True
        assert int(response.headers["retry-after"]) > 0

    mspc.wait_for_log("RabbitMQ .* is away")
    is_refused()

    door.open()
    try:
        mspc.wait_ready()
        accepted = {mspc.post(call).json["id"]}
        target.wait_for(1)
    finally:
        door.shut()
    eventually(lambda: mspc.get("/health/ready").status == 503)
    is_refused()

    door.open()
    try:
        mspc.wait_ready()
        sentinel = mspc.post(call).json["id"]
        mspc.wait_for_log(f"{sentinel} .*: done$")
        mspc.terminate()
        assert mspc.wait() == 0
    finally:
        door.shut()
    # The calls that were refused have not been stored all the same. (The first one may
    # have come twice: its acknowledgement found the door shut.)
    made = {hit.headers["idempotency-key"] for hit in target.hits}
    assert made == accepted | {sentinel}
