"""Connections whose answers have not ended, while they are looked at."""

from typing import Any, cast

import gevent
import pytest

from mspc.calls.call import Request
from mspc.forwarding.connections import Connections
from mspc.forwarding.rest import State
from tests.support.beside import somebody_beside

REQUEST = Request("http", "service.test", 80, "/")
MANY = 20


class Endless:
    """One whose answer goes on; what is at hand of it takes milliseconds."""

    opened = 0.0
    until = 0.0
    half_sent = False
    usable = True

    def __init__(self, state: State) -> None:
        self.state = state
        self.looks = 0
        self.closed = False

    @property
    def lasting(self) -> bool:
        return self.state is State.COMING

    def look(self) -> State:
        self.looks += 1
        return self.state

    def close(self) -> None:
        self.state = State.USELESS
        self.closed = True


@pytest.fixture(params=[State.COMING, State.LEAVING])
def endless(request: pytest.FixtureRequest) -> list[Endless]:
    return [Endless(request.param) for _ in range(MANY)]


@pytest.fixture
def connections(endless: list[Endless]) -> Connections:
    nothing: Any = None
    kept = Connections(nothing, 1.0, nothing, 1.0, lambda: 0.0)
    for one in endless:
        kept.give_back(REQUEST, cast("Any", one))
    return kept


def test_others_have_their_turn_between_two_of_them(
    connections: Connections, endless: list[Endless]
) -> None:
    """A hundred such answers, of chunks of a byte, stopped everything for 8 s."""
    with somebody_beside() as other:
        connections.sweep()
    assert [one.looks for one in endless] == [1] * MANY
    assert other.turns >= MANY - 1


def test_they_may_be_closed_meanwhile(
    connections: Connections, endless: list[Endless]
) -> None:
    closing = gevent.spawn(connections.close)
    connections.sweep()
    closing.join()
    assert all(one.closed for one in endless)


def test_a_call_may_take_one_meanwhile(
    connections: Connections, endless: list[Endless]
) -> None:
    for one in endless:
        one.state = State.ENDED
    taken = [gevent.spawn(connections.kept, REQUEST.origin) for _ in endless]
    connections.sweep()
    gevent.joinall(taken)
    connections.sweep()
    given: list[Any] = [one.value for one in taken if one.value is not None]
    assert len(set(map(id, given))) == len(given)
    assert not any(one.closed for one in given)
