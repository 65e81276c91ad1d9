"""SIGKILL: what was answered with 202 is made after the restart."""

import random
import signal

import gevent
from gevent.pool import Pool

from tests.support.process import MspcProcess
from tests.support.target import Hit, Target
from tests.support.waiting import eventually
from tests.system.conftest import StartOnQueue

SEED = 20_170_401
CALLS = 200
CLIENTS = 20


def wait_for_all(target: Target, ids: list[str]) -> None:
    """Waits until each of the calls has come; others may, and some may come twice."""

    def missing() -> set[str]:
        return set(ids) - {hit.headers["idempotency-key"] for hit in target.hits}

    while missing():
        target.wait_for(len(target.hits) + 1)


def test_killed_right_after_the_answer(start: StartOnQueue, target: Target) -> None:
    mspc = start()
    target.stop()
    call = {"url": target.url("/right-after"), "method": "POST", "body": '{"a": "ž"}'}
    response = mspc.post(call)
    mspc.kill()
    assert response.status == 202

    target.start()
    mspc.restart()
    (hit,) = target.wait_for(1)
    assert (hit.method, hit.path) == ("POST", "/right-after")
    assert hit.body == '{"a": "ž"}'.encode()
    assert hit.headers["idempotency-key"] == response.json["id"]


def test_killed_during_the_attempt(start: StartOnQueue, target: Target) -> None:
    mspc = start()
    target.fault = "hang"
    call_id = mspc.post({"url": target.url("/during")}).json["id"]
    target.wait_for(1)
    mspc.kill()

    target.fault = None
    mspc.restart()
    hits = target.wait_for(2)
    assert [hit.headers["idempotency-key"] for hit in hits] == [call_id] * 2
    mspc.wait_for_log(f"INFO {call_id} .* -> 200 in .*: done$")


def test_killed_while_a_call_waits(start: StartOnQueue, target: Target) -> None:
    """The rest of the delay survives: the next attempt comes neither early nor late.

    RabbitMQ may not have read yet that the first one is over, and hands it out again.
    """
    delay = 3.0
    mspc = start(REQUEUE_FAILED_AFTER_MILLISECONDS=str(int(delay * 1000)))
    target.answer("/waits", status=500, times=3)
    call_id = mspc.post({"url": target.url("/waits")}).json["id"]
    mspc.wait_for_log(f"WARNING {call_id} .*attempt 1 failed, the next in 3 s$")
    # It is stored before its wait begins; when a later call is done, so is that.
    sentinel = mspc.post({"url": target.url("/sentinel")}).json["id"]
    mspc.wait_for_log(f"{sentinel} .*: done$")
    mspc.kill()
    assert len(target.hits_of("/waits")) == 1

    mspc.restart()
    eventually(lambda: hits_of_attempt(target, "2"))
    (first, *_) = hits_of_attempt(target, "1")
    (second, *_) = hits_of_attempt(target, "2")
    assert delay - 0.05 <= second.at - first.at <= delay + 2
    assert second.headers["idempotency-key"] == call_id


def hits_of_attempt(target: Target, number: str) -> list[Hit]:
    hits = target.hits_of("/waits")
    return [hit for hit in hits if hit.headers["mspc-attempt"] == number]


def accept_until(mspc: MspcProcess, target: Target, enough: int) -> list[str]:
    """Kills `mspc` when `enough` of many concurrent calls are accepted; all their ids.

    An answer that is on its way when the kill comes counts as well.
    """
    ids: list[str] = []

    def accept(number: int) -> None:
        try:
            response = mspc.post({"url": target.url(f"/{number}")})
        except OSError:  # it has been killed
            return
        assert response.status == 202
        ids.append(response.json["id"])
        if len(ids) == enough:
            mspc.signal(signal.SIGKILL)

    clients = Pool(CLIENTS)
    posts = [clients.spawn(accept, number) for number in range(CALLS)]
    gevent.joinall(posts, raise_error=True)
    mspc.kill()
    return ids


def test_killed_among_many_calls(start: StartOnQueue, target: Target) -> None:
    print(f"seed {SEED}")
    moment = random.Random(SEED)
    mspc = start()
    target.stop()  # so that no call is made before the kill: they wait or are new
    ids = accept_until(mspc, target, moment.randint(CALLS // 4, CALLS - CLIENTS))
    assert target.hits == []

    target.start()
    mspc.restart()
    wait_for_all(target, ids)


def test_killed_again_and_again(start: StartOnQueue, target: Target) -> None:
    """Calls arrive, fail and succeed while mspc is killed: none of them is lost."""
    print(f"seed {SEED}")
    moment = random.Random(SEED)
    mspc = start()
    target.answer(status=503, times=CALLS // 2)
    ids: list[str] = []
    for _ in range(3):
        ids += accept_until(mspc, target, moment.randint(1, CALLS // 4))
        mspc.restart()
    wait_for_all(target, ids)
