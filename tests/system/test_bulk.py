"""What is done to many calls at once, and a crash in the middle."""

from collections import Counter
from urllib.parse import quote

import pytest

from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.conftest import StartOnQueue

DEAD, WANTED = 600, 200


@pytest.fixture
def second_target(target: Target) -> Target:
    """Another destination."""
    other = Target()
    other.start()
    return other


def bury(mspc: MspcProcess, target: Target, count: int) -> list[str]:
    """So many dead letters, one for each path; their ids."""
    connection = mspc.connect()
    ids = []
    try:
        for number in range(count):
            call = f'{{"url": "{target.url(f"/{number}")}", "requeue": false}}'
            connection.request("POST", "/", call)
            answer = connection.getresponse()
            assert answer.status == 202
            ids.append(answer.read().decode().rpartition('"id": "')[2][:32])
    finally:
        connection.close()
    return ids


def dead(mspc: MspcProcess) -> int:
    return int(mspc.admin("GET", "/v1/stats").json["states"]["dead"])


def job(mspc: MspcProcess, job_id: str) -> dict[str, object]:
    answer = mspc.admin("GET", f"/v1/bulk/{job_id}")
    found: dict[str, object] = answer.json if answer.status == 200 else {}
    return found


def test_dead_letters_of_one_destination_go_again_each_once(
    start: StartOnQueue, target: Target, second_target: Target
) -> None:
    """With a kill -9 in the middle."""
    target.answer(status=500, times=WANTED)
    second_target.answer(status=500)
    mspc = start(QUEUE_NUMBER_OF_CONSUMERS="100", BREAKER_FAILURES="0")
    wanted = bury(mspc, target, WANTED)
    bury(mspc, second_target, DEAD - WANTED)
    eventually(lambda: dead(mspc) == DEAD)
    before = {one: len(one.hits) for one in (target, second_target)}
    target.answer(status=200)
    place = f"http://127.0.0.1:{target.port}"
    body = {
        "action": "retry",
        "filter": {"destination": place, "state": ["dead"]},
        "per_second": 100,
        "reason": "it is back",
    }
    begun = mspc.admin("POST", "/v1/bulk", body)
    assert begun.status == 202
    target.wait_for(before[target] + WANTED // 4)
    mspc.kill()
    mspc.restart()
    job_id = begun.json["id"]
    eventually(lambda: job(mspc, job_id).get("status") == "done", timeout=60)
    eventually(lambda: dead(mspc) == DEAD - WANTED, timeout=30)
    made = Counter(hit.headers["idempotency-key"] for hit in target.hits)
    assert set(made) == set(wanted)
    twice = [call_id for call_id, count in made.items() if count > 2]
    # What was in flight when it was killed is made again, as always.
    assert len(twice) <= 100
    assert sum(made.values()) - WANTED - len(wanted) <= 100
    assert len(second_target.hits) == before[second_target]


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
