"""What operators decide about calls and destinations, with time passing for real."""

from functools import partial
from itertools import combinations
from urllib.parse import quote

from tests.support.process import MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually

# A service that fails some times in a row is asked again at once nevertheless.
SHARED_SETTINGS = {"BREAKER_FAILURES": "0"}
RATE = 5  # a second
AT_ONCE_SECONDS = 3.0  # on a busy machine
SEEN_LATE_SECONDS = 0.5  # how late the target writes down what it was sent


def destination(target: Target, verb: str) -> str:
    place = quote(f"http://127.0.0.1:{target.port}", safe="")
    return f"/v1/destinations/{place}/{verb}"


def is_in(mspc: MspcProcess, call_id: str, state: str) -> bool:
    answer = mspc.admin("GET", f"/v1/calls/{call_id}")
    return answer.status == 200 and answer.json["state"] == state


def accepted(mspc: MspcProcess, call: object) -> str:
    answer = mspc.post(call)
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def test_a_revived_call_is_made_at_once_and_ages_anew(
    mspc: MspcProcess, target: Target
) -> None:
    target.answer(status=500)
    url = target.url
    delayed = accepted(mspc, {"url": url("/delayed"), "delay": "4s", "requeue": False})
    aged = accepted(mspc, {"url": url("/aged"), "max_age": "2s"})
    for call_id in (delayed, aged):
        eventually(partial(is_in, mspc, call_id, "dead"))
    assert mspc.admin("GET", f"/v1/calls/{aged}").json["reason"] == "max_age"
    for call_id, path in ((delayed, "/delayed"), (aged, "/aged")):
        before = len(target.hits_of(path))
        assert mspc.admin("POST", f"/v1/calls/{call_id}/retry").status == 200
        target.wait_for(before + 1, path, timeout=AT_ONCE_SECONDS)
        assert target.hits_of(path)[-1].headers["idempotency-key"] == call_id
    first_life = len(target.hits_of("/aged")) - 1
    target.wait_for(first_life + 2, "/aged")  # it may fail once more
    eventually(partial(is_in, mspc, aged, "dead"))


def test_a_call_with_a_delay_waits_and_can_be_made_now(
    mspc: MspcProcess, target: Target
) -> None:
    call_id = accepted(mspc, {"url": target.url("/soon"), "delay": "1h"})
    assert is_in(mspc, call_id, "waiting")
    retry = f"/v1/calls/{call_id}/retry"
    answer = mspc.admin("POST", retry, {"delay": "30m"})
    if answer.status == 409:
        assert answer.json["code"] == "waits_in_rabbitmq"
        return
    due = mspc.admin("GET", f"/v1/calls/{call_id}").json["next_attempt_at"]
    assert mspc.admin("POST", retry).status == 200
    target.wait_for(1, "/soon")
    assert mspc.admin("GET", f"/v1/calls/{call_id}").json["next_attempt_at"] != due
    eventually(partial(is_in, mspc, call_id, "succeeded"))


def test_paused_calls_do_not_age(
    mspc: MspcProcess, target: Target, second_target: Target
) -> None:
    assert mspc.admin("POST", destination(target, "pause"), {}).status == 200
    call_id = accepted(mspc, {"url": target.url("/x"), "max_age": "1s"})
    accepted(mspc, {"url": second_target.url("/clock"), "delay": "2s"})
    second_target.wait_for(1)
    assert mspc.admin("GET", f"/v1/calls/{call_id}").json["held"] == "paused"
    assert not target.hits
    assert mspc.admin("POST", destination(target, "resume"), {}).status == 200
    target.wait_for(1)
    eventually(partial(is_in, mspc, call_id, "succeeded"))


def test_a_rate_is_kept(mspc: MspcProcess, target: Target) -> None:
    limits = {"rate": RATE, "period": "1s"}
    assert mspc.admin("PUT", destination(target, "limits"), limits).status == 200
    calls = {"calls": [{"url": target.url("/")}] * (4 * RATE)}
    assert mspc.post(calls, path="/v1/calls:batch").status == 202
    came = [hit.at for hit in target.wait_for(4 * RATE)]
    # A token bucket: after a stall as many as in a second may come at once, wherever it
    # falls, so each window has a bound of its own.
    for first, second in combinations(range(len(came)), 2):
        seconds = came[second] - came[first] + SEEN_LATE_SECONDS
        assert second - first + 1 <= RATE + RATE * seconds
    rate = (3 * RATE - 1) / (came[-1] - came[RATE])
    assert rate >= 0.8 * RATE
    print(f"{rate:.2f} a second")
    assert mspc.admin("DELETE", destination(target, "limits")).status == 200
    assert mspc.post(calls, path="/v1/calls:batch").status == 202
    target.wait_for(8 * RATE, timeout=AT_ONCE_SECONDS)
