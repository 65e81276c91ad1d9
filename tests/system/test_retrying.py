"""What happens after a failed attempt."""

import itertools
import time

import pytest

from tests.support.process import MspcProcess
from tests.support.target import Fault, Hit, Target
from tests.support.waiting import eventually
from tests.system.conftest import RETRY_SECONDS, QueueUnderTest, StartOnQueue

TOLERANCE_SECONDS = 0.05  # both clocks are read some time after the event
SLACK_SECONDS = 1.5  # for a machine that is busy with other tests


def gaps(hits: list[Hit]) -> list[float]:
    return [later.at - sooner.at for sooner, later in itertools.pairwise(hits)]


def test_a_call_is_made_until_it_succeeds(mspc: MspcProcess, target: Target) -> None:
    for status in (400, 404, 503):
        target.answer("/until", status=status, times=1)
    target.answer("/until", status=204)
    call = {"url": target.url("/until"), "method": "POST", "body": '{"a": "ž"}'}
    call_id = mspc.post(call).json["id"]
    mspc.wait_for_log(f"INFO {call_id} POST .*/until -> 204 in .*: done$")

    hits = target.hits_of("/until")
    assert len(hits) == 4
    assert min(gaps(hits)) >= RETRY_SECONDS - TOLERANCE_SECONDS
    assert max(gaps(hits)) <= RETRY_SECONDS + SLACK_SECONDS
    # The same request each time, but for its number.
    numbers = [hit.headers["mspc-attempt"] for hit in hits]
    assert numbers == ["1", "2", "3", "4"]
    requests = {
        (
            hit.method,
            hit.path,
            hit.body,
            *sorted(hit.headers.items() - {("mspc-attempt", n)}),
        )
        for hit, n in zip(hits, numbers, strict=True)
    }
    assert len(requests) == 1
    assert hits[0].headers["idempotency-key"] == call_id


def test_any_2xx_is_a_success(mspc: MspcProcess, target: Target) -> None:
    for status in (200, 201, 202, 204, 206, 299):
        target.answer(f"/{status}", status=status)
        mspc.post({"url": target.url(f"/{status}")})
        mspc.wait_for_log(f"{target.url()}{status} -> {status} in .*: done$")
    # Had one of them failed, it would have come again before this one did.
    target.answer("/last", status=500, times=1)
    mspc.post({"url": target.url("/last")})
    target.wait_for(2, "/last")
    assert len(target.hits) == 6 + 2


def test_a_redirect_is_not_followed(mspc: MspcProcess, target: Target) -> None:
    statuses = (301, 302, 303, 307, 308)
    for status in statuses:
        old, new = f"/old{status}", f"/new{status}"
        target.answer(old, status=status, headers={"Location": new}, times=1)
        mspc.post({"url": target.url(old), "method": "POST", "body": "[1]"})
    for status in statuses:
        mspc.wait_for_log(f"WARNING .*/old{status} -> {status} .*not followed")
        hits = target.wait_for(2, f"/old{status}")
        assert [(hit.method, hit.body) for hit in hits] == [("POST", b"[1]")] * 2
    assert len(target.hits) == 2 * len(statuses)  # and none at the new places


def test_a_target_that_is_down_gets_the_call_when_it_is_up(
    mspc: MspcProcess, target: Target
) -> None:
    target.stop()
    call_id = mspc.post({"url": target.url("/down")}).json["id"]
    mspc.wait_for_log(f"WARNING {call_id} .* -> no connection: .*attempt 2 failed")
    target.start()
    started = time.monotonic()
    (hit,) = target.wait_for(1, "/down")
    assert hit.at - started <= RETRY_SECONDS + SLACK_SECONDS
    assert hit.headers["idempotency-key"] == call_id


@pytest.mark.parametrize("fault", ["reset", "garbage"])
def test_a_target_that_breaks_the_connection(
    mspc: MspcProcess, target: Target, fault: Fault
) -> None:
    target.fault = fault
    call_id = mspc.post({"url": target.url("/broken")}).json["id"]
    mspc.wait_for_log(f"WARNING {call_id} .*attempt 1 failed, the next in 0.7 s$")
    target.fault = None
    mspc.wait_for_log(f"INFO {call_id} .* -> 200 .*: done$")


def test_a_target_that_does_not_answer(start: StartOnQueue, target: Target) -> None:
    mspc = start(FORWARD_TIMEOUT_SECONDS="0.5")
    target.answer("/silent", delay=30, times=1)
    call_id = mspc.post({"url": target.url("/silent")}).json["id"]
    mspc.wait_for_log(f"WARNING {call_id} .* -> no answer within 0.5 s in .*failed")
    first, second = target.wait_for(2, "/silent")
    assert second.at - first.at >= 0.5 + RETRY_SECONDS - TOLERANCE_SECONDS


def test_without_requeue_there_is_one_attempt(
    mspc: MspcProcess, shared_queue: QueueUnderTest, target: Target
) -> None:
    target.answer("/once", status=500)
    target.answer("/sentinel", status=500, times=1)
    call_id = mspc.post({"url": target.url("/once"), "requeue": False}).json["id"]
    mspc.wait_for_log(f"ERROR {call_id} GET .*/once -> 500 in .*: a dead letter$")

    # This one fails later and is made again: the other one would have been before it.
    mspc.post({"url": target.url("/sentinel")})
    target.wait_for(2, "/sentinel")
    assert len(target.hits_of("/once")) == 1
    if shared_queue.broker is not None:
        eventually(lambda: shared_queue.dead_letters(mspc) >= 1)


def test_a_dead_letter_is_kept(
    start: StartOnQueue, queue: QueueUnderTest, target: Target
) -> None:
    mspc = start()
    target.answer("/good", status=200)
    target.answer("/bad", status=500)
    mspc.post({"url": target.url("/good"), "requeue": False})
    mspc.wait_for_log("/good -> 200 in .*: done$")
    mspc.post({"url": target.url("/bad"), "requeue": False})
    mspc.wait_for_log("/bad -> 500 in .*: a dead letter$")
    eventually(lambda: queue.dead_letters(mspc) == 1)
    assert len(target.hits_of("/bad")) == 1


def test_a_slow_target_delays_no_other(mspc: MspcProcess, target: Target) -> None:
    target.answer("/slow", delay=4)
    target.answer("/fast", status=500, times=1)
    for _ in range(20):
        mspc.post({"url": target.url("/slow"), "requeue": False})
    target.wait_for(20, "/slow")
    call_id = mspc.post({"url": target.url("/fast")}).json["id"]
    # A failed attempt, its wait and the next one, all while the slow ones are open.
    mspc.wait_for_log(f"INFO {call_id} .*/fast -> 200 in .*: done$")
    assert f"{target.url('/slow')} -> " not in mspc.output


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_dead_letter_tells_how_it_died_also_after_a_replay(
    start: StartOnQueue, queue: QueueUnderTest, target: Target, size: int
) -> None:
    """Put back as the README says, it fails again: two attempts, and the last error."""
    mspc = start()
    target.answer("/bad", status=500, times=1)
    target.answer("/bad", status=404)
    body = f'"{"x" * size}"'
    call = {"url": target.url("/bad"), "method": "POST", "body": body}
    mspc.post({**call, "requeue": False})
    for attempts, status in ((1, 500), (2, 404)):
        mspc.wait_for_log(f"/bad -> {status} in .*: a dead letter$")
        eventually(lambda: queue.dead_letters(mspc) == 1)
        told = queue.replay(mspc)
        assert told.pop("died_at") == pytest.approx(time.time(), abs=300)
        assert told == {
            "attempts": attempts,
            "last_error": str(status),
            "reason": f"failed, and requeue is false: {status}",
        }
    target.wait_for(3, "/bad")
    for hit in target.hits_of("/bad"):
        assert hit.body == body.encode()
