"""Connecting to any of several addresses: real sockets, dead ones among them."""

import socket
import time
from collections.abc import Iterator

import gevent
import pytest
from urllib3.connection import HTTPConnection

from mspc.calls.networks import NetworkRules
from mspc.errors import NoConnection
from mspc.forwarding import racing
from mspc.forwarding.dialer import Dialer
from mspc.forwarding.names import Names, Place
from mspc.forwarding.racing import Race, in_order
from tests.support.children import free_port
from tests.support.open_sockets import open_sockets

LONG = 60.0  # a timeout that does not run out
SHORT = 0.4  # one that does
PROMPT = 10.0

DEAD, DEAD_TOO, HEALTHY = "127.0.0.9", "127.0.0.8", "127.0.0.30"


def place(address: str, port: int) -> Place:
    if ":" in address:
        return socket.AF_INET6, (address, port, 0, 0)
    return socket.AF_INET, (address, port)


class Listeners:
    """On one port of several addresses: those that answer, and those that do not."""

    def __init__(self) -> None:
        self.port = free_port()
        self._sockets: list[socket.socket] = []

    def open(self, address: str, backlog: int = 9) -> socket.socket:
        family = place(address, 0)[0]
        listener = socket.socket(family)
        self._sockets.append(listener)
        listener.bind((address, self.port))
        listener.listen(backlog)
        return listener

    def dead(self, address: str) -> socket.socket:
        """Its backlog is full: the kernel answers no SYN any more."""
        listener = self.open(address, 0)
        for _ in range(3):
            waiting = socket.socket(listener.family)
            waiting.setblocking(False)
            waiting.connect_ex((address, self.port))
            self._sockets.append(waiting)
        return listener

    def places(self, *addresses: str) -> list[Place]:
        return [place(address, self.port) for address in addresses]

    def close(self) -> None:
        for one in self._sockets:
            one.close()


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    listeners = Listeners()
    yield listeners
    listeners.close()


@pytest.fixture(autouse=True)
def no_socket_is_left() -> Iterator[None]:
    before = open_sockets()
    yield
    assert open_sockets() <= before


def winner(places: list[Place], timeout: float = LONG) -> str:
    sock, (_, address) = Race(places, timeout).run()
    with sock:
        assert sock.getpeername()[:2] == address[:2]
    return str(address[0])


def failure(places: list[Place], timeout: float) -> str:
    with pytest.raises(NoConnection) as caught:
        Race(places, timeout).run()
    return str(caught.value)


@pytest.mark.parametrize("dead", [[DEAD], ["::1"], [DEAD, DEAD_TOO, "::1"]])
def test_a_dead_address_costs_little(listeners: Listeners, dead: list[str]) -> None:
    listeners.open(HEALTHY)
    for address in dead:
        listeners.dead(address)
    began = time.monotonic()
    assert winner(listeners.places(*dead, HEALTHY)) == HEALTHY
    assert time.monotonic() - began < PROMPT


@pytest.mark.parametrize(
    "refusing", [[DEAD], ["::1", DEAD], ["::1", DEAD, DEAD_TOO, "127.0.0.7"]]
)
def test_the_next_one_is_due_at_once_when_one_refuses(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch, refusing: list[str]
) -> None:
    monkeypatch.setattr(racing, "NEXT_AFTER_SECONDS", LONG)
    listeners.open(HEALTHY)
    assert winner(listeners.places(*refusing, HEALTHY), PROMPT) == HEALTHY


def test_the_next_one_is_due_at_once_when_one_that_was_pending_fails(
    listeners: Listeners,
) -> None:
    listeners.dead(DEAD)
    listeners.open(HEALTHY)
    # The kernel gives up after the first SYN that is not answered: ETIMEDOUT.
    hurry = [(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1)]
    sock, won = Race(listeners.places(DEAD, HEALTHY), LONG, hurry).run()
    sock.close()
    assert won[1][0] == HEALTHY
    with pytest.raises(NoConnection, match="Connection timed out"):
        Race(listeners.places(DEAD), LONG, hurry).run()


def test_a_family_that_the_kernel_lacks_does_not_end_the_search(
    listeners: Listeners,
) -> None:
    listeners.open(HEALTHY)
    lacking: Place = (socket.AF_ASH, ("::1", listeners.port, 0, 0))
    assert winner([lacking, *listeners.places(HEALTHY)]) == HEALTHY
    assert "not supported" in failure([lacking], LONG)


def test_an_address_without_a_route_does_not_end_the_search(
    listeners: Listeners,
) -> None:
    listeners.open(HEALTHY)
    broadcast = place("255.255.255.255", listeners.port)
    assert winner([broadcast, *listeners.places(HEALTHY)]) == HEALTHY


def test_the_first_may_still_win_when_others_were_begun(listeners: Listeners) -> None:
    listener = listeners.dead(DEAD)
    listeners.dead(DEAD_TOO)
    race = gevent.spawn(winner, listeners.places(DEAD, DEAD_TOO))
    gevent.sleep(racing.NEXT_AFTER_SECONDS)
    listener.settimeout(PROMPT)
    for _ in range(2):  # room for the next SYN, which the kernel sends again
        listener.accept()[0].close()
    assert race.get(timeout=PROMPT) == DEAD


def test_all_of_them_share_one_timeout(listeners: Listeners) -> None:
    for address in (DEAD, DEAD_TOO, "::1"):
        listeners.dead(address)
    began = time.monotonic()
    said = failure(listeners.places(DEAD, DEAD_TOO), SHORT)
    assert said == f"no connection in time: no answer ({DEAD}, {DEAD_TOO})"
    assert failure(listeners.places("::1"), SHORT) == "no connection in time: no answer"
    assert time.monotonic() - began < PROMPT


def test_why_each_of_them_failed(listeners: Listeners) -> None:
    listeners.dead(DEAD)
    assert failure(listeners.places(HEALTHY), LONG) == (
        "no connection: Connection refused"
    )
    said = failure(listeners.places(DEAD, "::1", HEALTHY), SHORT)
    assert said == (
        f"no connection: Connection refused (::1, {HEALTHY}); no answer ({DEAD})"
    )
    many = listeners.places(*[f"127.0.1.{n}" for n in range(1, 99)])
    assert len(failure(many, LONG)) < 200


def test_a_deadline_from_outside_passes_through(listeners: Listeners) -> None:
    for address in (DEAD, DEAD_TOO):
        listeners.dead(address)
    for places in (listeners.places(DEAD), listeners.places(DEAD, DEAD_TOO)):
        with pytest.raises(gevent.Timeout), gevent.Timeout(SHORT):
            Race(places, LONG).run()


def test_what_worked_last_is_first(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners.dead(DEAD)
    listeners.open(HEALTHY)
    found = tuple(place(address, 0) for address in (DEAD, HEALTHY))
    dialer = Dialer(NetworkRules(), Names(lambda _: found))
    asked = HTTPConnection("two.test", listeners.port, timeout=LONG)
    dialer.dial(asked).close()
    # It would never come to the second one.
    monkeypatch.setattr(racing, "NEXT_AFTER_SECONDS", LONG)
    sock = dialer.dial(asked)
    assert sock.getpeername()[0] == HEALTHY
    assert sock.gettimeout() == LONG
    sock.close()


def test_the_families_take_turns() -> None:
    a4, b4, c4 = (place(f"192.0.2.{n}", 1) for n in range(3))
    a6, b6 = (place(f"2001:db8::{n}", 1) for n in range(2))
    assert in_order([a6, b6, a4, b4, c4], None) == [a6, a4, b6, b4, c4]
    assert in_order([a6, b6, a4, b4, c4], b4) == [b4, a6, a4, b6, c4]
    assert in_order([a4, a4, b4], b4) == [b4, a4]
    assert in_order([a4, b4], a6) == [a4, b4], "it has another address now"
