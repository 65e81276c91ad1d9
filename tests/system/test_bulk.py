"""What is done to many calls at once, and a crash in the middle."""

import time
from collections import Counter
from typing import Any
from urllib.parse import quote

from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import StartOnQueue

DEAD, WANTED = 1500, 1000
CONSUMERS = 20
# As always after a kill: of each consumer an attempt, and an ack that RabbitMQ had not
# read. It reads them later where the machine is busy.
MOST_TWICE = 2 * CONSUMERS
BATCH = 500
LIMIT = 800  # of the wanted ones


def bury(mspc: MspcProcess, target: Target, count: int) -> list[str]:
    """So many calls that fail once and are dead then; their ids."""
    target.answer(status=500, times=count)
    ids = []
    for _ in range(0, count, BATCH):
        calls = [{"url": target.url("/x"), "requeue": False}] * BATCH
        answer = mspc.post({"calls": calls}, path="/v1/calls:batch")
        ids += [item["id"] for item in answer.json["calls"]]
    return ids


def dead(mspc: MspcProcess) -> int:
    return int(mspc.admin("GET", "/v1/stats").json["states"]["dead"])


def made_again(target: Target) -> Counter[str]:
    """How often each call was, after it was dead."""
    return Counter(hit.headers["idempotency-key"] for hit in target.hits[WANTED:])


def job(mspc: MspcProcess, job_id: str) -> dict[str, Any]:
    answer = mspc.admin("GET", f"/v1/bulk/{job_id}")
    found: dict[str, Any] = answer.json if answer.status == 200 else {}
    return found


def test_dead_letters_of_one_destination_go_again_each_once(
    start: StartOnQueue, target: Target, second_target: Target
) -> None:
    """With a kill -9 in the middle: what was done before it counts, and is not done
    again.
    """
    mspc = start(QUEUE_NUMBER_OF_CONSUMERS=str(CONSUMERS), BREAKER_FAILURES="0")
    wanted = bury(mspc, target, WANTED)
    bury(mspc, second_target, DEAD - WANTED)
    eventually(lambda: dead(mspc) == DEAD, timeout=60)
    place = f"http://127.0.0.1:{target.port}"
    body = {
        "action": "retry",
        "filter": {"destination": place, "state": ["dead"]},
        "per_second": 1000,
        "limit": LIMIT,
        "reason": "it is back",
    }
    begun = time.monotonic()
    answer = mspc.admin("POST", "/v1/bulk", body)
    assert answer.status == 202
    target.wait_for(WANTED + WANTED // 3)
    mspc.kill()
    mspc.restart()
    job_id = answer.json["id"]
    eventually(lambda: job(mspc, job_id).get("status") == "done", timeout=60)
    eventually(lambda: dead(mspc) == DEAD - LIMIT, timeout=30)
    eventually(lambda: len(made_again(target)) == LIMIT)
    made = made_again(target)
    print(f"{time.monotonic() - begun:.1f} s, {sum(made.values()) - LIMIT} twice")
    assert made.keys() <= set(wanted)
    assert sum(made.values()) <= LIMIT + MOST_TWICE
    assert len(second_target.hits) == DEAD - WANTED
    told = job(mspc, job_id)
    assert (told["matched"], told["done"], told["failed"]) == (LIMIT, LIMIT, 0)


def test_calls_sent_by_mistake_are_cancelled(
    start: StartOnQueue, target: Target, second_target: Target
) -> None:
    mspc = start()
    place = f"http://127.0.0.1:{target.port}"
    path = f"/v1/destinations/{quote(place, safe='')}/pause"
    assert mspc.admin("POST", path, {}).status == 200
    for number in range(50):
        mspc.post({"url": target.url(f"/{number}")})
    body = {"action": "cancel", "filter": {"destination": place}}
    plan = mspc.admin("POST", "/v1/bulk/plan", body).json
    assert (plan["matched"], plan["more"]) == (50, False)
    begun = mspc.admin("POST", "/v1/bulk", body)
    eventually(lambda: job(mspc, begun.json["id"]).get("status") == "done")
    assert mspc.admin("POST", path.replace("/pause", "/resume"), {}).status == 200
    mspc.post({"url": second_target.url("/x")})
    second_target.wait_for(1)
    assert not target.hits
    states = mspc.admin("GET", "/v1/stats").json["states"]
    assert states["cancelled"] == 50
