"""Requests of calls that were accepted a moment ago."""

from collections import deque
from itertools import count

import pytest

from mspc.calls import accepted
from mspc.calls.accepted import Accepted
from mspc.calls.call import Call, Request

REQUEST = Request("http", "service.test", 80, "/")
NOW = 1_700_000_000.0


def called(number: int, payload: bytes = b"{}", now: float = NOW) -> Call:
    """The call that was accepted `number` milliseconds after `now`."""
    return Call(payload, id=f"call-{number}", accepted_at=now + number / 1000)


def capacity() -> int:
    """How many calls are remembered at once."""
    requests = Accepted()
    for number in count():
        requests.remember(called(number), REQUEST)
        if number not in (0, 1) and len(requests._requests) <= number:
            return number
    raise AssertionError


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


def test_those_that_are_needed_next_are_kept() -> None:
    requests = Accepted()
    most = capacity()
    assert most > 1000
    calls = [called(number) for number in range(3 * most)]
    for call in calls:
        requests.remember(call, REQUEST)
    found = [requests.take(call) is REQUEST for call in calls]
    assert found == [True] * most + [False] * 2 * most


@pytest.mark.parametrize("ahead", [1.05, 1.5, 2.0])
def test_most_are_read_once_while_more_wait_than_are_remembered(ahead: float) -> None:
    """Calls come as fast as they go, and always wait behind so many others."""
    requests = Accepted()
    waiting: deque[Call] = deque()
    found = 0
    most = capacity()
    rounds = 5 * most
    for number in range(rounds):
        call = called(number)
        requests.remember(call, REQUEST)
        waiting.append(call)
        if len(waiting) > ahead * most:
            found += requests.take(waiting.popleft()) is REQUEST
    taken = rounds - len(waiting)
    assert found > 0.9 * taken / ahead


@pytest.mark.parametrize("clock", [0.0, 86_400.0])
def test_what_other_instances_are_given_makes_room(clock: float) -> None:
    """Of two instances on one queue each is given half of what either accepts.

    The other one's clock may be wrong.
    """
    requests = Accepted()
    most = capacity()
    seconds = accepted.OUT_OF_ORDER_SECONDS * 1000
    found = 0
    for number in range(8 * most):
        call = called(int(number * seconds / most))
        call = Call(b"{}", id=f"{number}", accepted_at=call.accepted_at)
        requests.remember(call, REQUEST)
        if number % 2:
            found += requests.take(call) is REQUEST
        else:
            requests.take(Call(b"{}", accepted_at=call.accepted_at + clock))
    assert found > 3.6 * most


def test_what_was_not_stored_makes_room() -> None:
    requests = Accepted()
    for number in range(3 * capacity()):
        call = called(number)
        requests.remember(call, REQUEST)
        requests.forget(call)
    requests.remember(called(-1), REQUEST)
    assert requests.take(called(-1)) is REQUEST


def test_their_size_is_bounded() -> None:
    requests = Accepted()
    payload = b"x" * accepted.LARGEST_BYTES
    for number in range(1000):
        requests.remember(called(number, payload), REQUEST)
    held = sum(len(call.payload) for call, _ in requests._requests.values())
    assert held < accepted.REMEMBERED_BYTES / 2


def test_a_large_one_is_not_remembered() -> None:
    requests = Accepted()
    call = Call(b"x" * (accepted.LARGEST_BYTES + 1))
    requests.remember(call, REQUEST)
    assert requests.take(call) is None


def test_taking_gives_back_all_the_room() -> None:
    requests = Accepted()
    for number in range(10):
        requests.remember(called(number, b"x" * number), REQUEST)
        requests.remember(called(number, b"x" * number), REQUEST)
    for number in range(10):
        requests.take(called(number, b"x" * number))
    assert requests._left == accepted.REMEMBERED_BYTES
