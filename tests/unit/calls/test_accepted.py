"""Requests of calls that were accepted a moment ago."""

from mspc.calls import accepted
from mspc.calls.accepted import Accepted
from mspc.calls.call import Call, Request

REQUEST = Request("http", "service.test", 80, "/")


def test_a_request_is_remembered_for_one_attempt() -> None:
    requests = Accepted()
    call = Call(b"{}")
    requests.remember(call, REQUEST)
    assert requests.take(Call(b"{}", id=call.id)) is REQUEST
    assert requests.take(call) is None


def test_another_call_with_the_same_id_is_not_taken_for_it() -> None:
    requests = Accepted()
    call = Call(b"{}")
    requests.remember(call, REQUEST)
    assert requests.take(Call(b"[]", id=call.id)) is None


def test_the_oldest_is_forgotten_first() -> None:
    requests = Accepted()
    calls = [Call(b"{}") for _ in range(accepted.REMEMBERED_CALLS + 1)]
    for call in calls:
        requests.remember(call, REQUEST)
    assert requests.take(calls[0]) is None
    assert requests.take(calls[1]) is REQUEST
    assert requests.take(calls[-1]) is REQUEST


def test_a_large_one_is_not_remembered() -> None:
    requests = Accepted()
    call = Call(b"x" * (accepted.LARGEST_BYTES + 1))
    requests.remember(call, REQUEST)
    assert requests.take(call) is None
