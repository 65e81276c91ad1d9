"""Looking names up: the silent ones hold up nobody else."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original

from mspc.errors import NoConnection
from mspc.forwarding import names as module
from mspc.forwarding.names import LATELY_SECONDS, LEFT_ALONE_SECONDS, Names, Place
from tests.support.waiting import eventually

SILENT = "name servers are silent"
SOON = 0.05  # a timeout that runs out
PROMPT = 10.0  # one that does not

NXDOMAIN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
SERVFAIL = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def place(address: str) -> Place:
    return socket.AF_INET, (address, 0)


@dataclass
class NameServers:
    """In place of getaddrinfo, which blocks a thread until there is an answer.

    Attributes:
        answers: by name; a name without is silent until `end()`.
        asked: the names in the order of their lookups.
    """

    answers: dict[str, str | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self._ended: Any = get_original("threading", "Event")()

    def look_up(self, host: str) -> tuple[Place, ...] | Exception:
        self.asked.append(host)
        if host not in self.answers:
            self._ended.wait(60)
        answer = self.answers.get(host, SERVFAIL)
        return answer if isinstance(answer, Exception) else (place(answer),)

    def end(self) -> None:
        """Ends the lookups that are waiting."""
        self._ended.set()


@pytest.fixture
def servers() -> Iterator[NameServers]:
    servers = NameServers({"good.test": "192.0.2.1"})
    yield servers
    servers.end()


@pytest.fixture
def names(servers: NameServers, monkeypatch: pytest.MonkeyPatch) -> Names:
    for seats in ("KNOWN", "SILENT", "OTHERS"):
        monkeypatch.setattr(module, f"SEATS_OF_{seats}", 2)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", SOON)
    return Names(servers.look_up, lambda: servers.now)


def failing(names: Names, host: str, timeout: float = SOON) -> str:
    with pytest.raises(NoConnection) as caught:
        names.places(host, timeout)
    assert str(caught.value).startswith("the host name cannot be resolved: ")
    return str(caught.value)


def at_once(*jobs: Callable[[], object]) -> None:
    gevent.joinall([gevent.spawn(job) for job in jobs], raise_error=True)


def test_a_name_is_asked_for_each_time(names: Names, servers: NameServers) -> None:
    assert names.places("good.test", PROMPT) == (place("192.0.2.1"),)
    servers.answers["good.test"] = "192.0.2.2"
    assert names.places("good.test", PROMPT) == (place("192.0.2.2"),)


@pytest.mark.parametrize("failure", [NXDOMAIN, SERVFAIL, UnicodeError("too long")])
def test_a_name_without_an_address(
    names: Names, servers: NameServers, failure: Exception
) -> None:
    servers.answers["none.test"] = failure
    for _ in range(2):  # an error is an answer: the next call asks again
        assert str(getattr(failure, "strerror", failure)) in failing(
            names, "none.test", PROMPT
        )
    assert servers.asked == ["none.test"] * 2


def test_a_silent_name_has_one_lookup(names: Names, servers: NameServers) -> None:
    at_once(*[lambda: failing(names, "silent.test")] * 5)
    eventually(lambda: servers.asked == ["silent.test"])


def test_a_silent_name_is_left_alone_for_some_seconds(
    names: Names, servers: NameServers
) -> None:
    assert SILENT in failing(names, "silent.test")
    servers.end()
    eventually(lambda: not names._lookups)
    servers.answers["silent.test"] = "192.0.2.7"
    servers.now += LEFT_ALONE_SECONDS - 3
    assert "asked again in 3 s" in failing(names, "silent.test", PROMPT)
    servers.now += 3
    assert names.places("silent.test", PROMPT) == (place("192.0.2.7"),)


def test_a_late_answer_counts(names: Names, servers: NameServers) -> None:
    assert SILENT in failing(names, "late.test")
    servers.answers["late.test"] = "192.0.2.7"
    servers.end()
    eventually(lambda: not names._lookups)
    assert names.places("late.test", PROMPT) == (place("192.0.2.7"),)


def test_a_slow_error_is_silence_too(names: Names, servers: NameServers) -> None:
    waiting = gevent.spawn(failing, names, "slow.test", PROMPT)
    eventually(lambda: servers.asked)
    servers.now += 5
    servers.end()
    assert "Temporary failure" in waiting.get(timeout=PROMPT)
    assert SILENT in failing(names, "slow.test", PROMPT)


def test_names_that_answered_lately_never_wait_for_those_that_did_not(
    names: Names, servers: NameServers
) -> None:
    names.places("good.test", PROMPT)
    at_once(*[lambda n=n: failing(names, f"{n}.test") for n in range(9)])
    servers.now += LEFT_ALONE_SECONDS
    at_once(*[lambda n=n: failing(names, f"{n}.test") for n in range(20)])
    servers.answers["good.test"] = "192.0.2.2"
    assert names.places("good.test", PROMPT) == (place("192.0.2.2"),)


def test_new_names_do_not_wait_for_those_known_as_silent(
    names: Names, servers: NameServers
) -> None:
    for n in range(2):
        failing(names, f"{n}.test")
    servers.end()
    eventually(lambda: not names._lookups)
    servers.now += LEFT_ALONE_SECONDS
    servers._ended.clear()
    at_once(*[lambda n=n: failing(names, f"{n}.test") for n in range(2)])
    servers.answers["new.test"] = "192.0.2.3"
    assert names.places("new.test", PROMPT) == (place("192.0.2.3"),)


def test_new_names_do_not_wait_for_a_domain_of_silent_ones(
    names: Names, servers: NameServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEATS_OF_DOMAIN", 1)
    at_once(*[lambda n=n: failing(names, f"{n}.silent.test") for n in range(9)])
    # One of others, two of silent ones: their threads have begun, or do so now.
    eventually(lambda: len(servers.asked) == 3)
    servers.answers["new.elsewhere.test"] = "192.0.2.3"
    assert names.places("new.elsewhere.test", PROMPT) == (place("192.0.2.3"),)
    servers.end()
    eventually(lambda: not names._lookups)
    assert not names._domains


def test_a_thread_too_many_costs_no_seat(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("gevent.threadpool.ThreadPool.spawn", fail)
        for _ in range(9):
            with pytest.raises(RuntimeError):
                names.places("good.test", PROMPT)
    assert names.places("good.test", PROMPT) == (place("192.0.2.1"),)


def test_what_waits_for_a_seat_says_so(names: Names, servers: NameServers) -> None:
    failing(names, "1.test")
    failing(names, "2.test")
    assert "too many names" in failing(names, "3.test")
    assert "too many names" in failing(names, "3.test"), "it was never asked for"
    servers.answers["3.test"] = "192.0.2.3"
    servers.end()
    assert names.places("3.test", PROMPT) == (place("192.0.2.3"),)


def test_the_last_addresses_stand_in_for_silent_name_servers(
    names: Names, servers: NameServers
) -> None:
    for n in range(5):
        servers.answers[f"{n}.test"] = f"192.0.2.{n}"
        names.places(f"{n}.test", PROMPT)
    servers.answers.clear()
    for n in range(5):  # more than there are seats
        assert names.places(f"{n}.test", PROMPT) == (place(f"192.0.2.{n}"),)
    servers.now += LATELY_SECONDS
    assert "0.test" in servers.asked[5:]
    for n in range(5):
        failing(names, f"{n}.test")


def test_they_stand_in_for_a_passing_error_but_not_for_the_end_of_a_name(
    names: Names, servers: NameServers
) -> None:
    names.places("good.test", PROMPT)
    servers.answers["good.test"] = SERVFAIL
    assert names.places("good.test", PROMPT) == (place("192.0.2.1"),)
    servers.answers["good.test"] = NXDOMAIN
    failing(names, "good.test", PROMPT)
    servers.answers["good.test"] = SERVFAIL
    failing(names, "good.test", PROMPT)


def test_only_so_many_names_are_remembered(
    names: Names, servers: NameServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_NAMES", 3)
    for n in range(10):
        servers.answers[f"{n}.test"] = "192.0.2.1"
        names.places(f"{n}.test", PROMPT)
    assert [*names._names] == ["7.test", "8.test", "9.test"]


def test_a_deadline_from_outside_passes_through(
    names: Names, servers: NameServers
) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(SOON):
        names.places("silent.test", PROMPT)


def test_the_systems_own_resolver() -> None:
    found = Names().places("localhost", PROMPT)
    assert {address[0] for _, address in found} <= {"127.0.0.1", "::1"}
    assert failing(Names(), "nowhere.invalid", PROMPT)
    assert failing(Names(), "a" * 64 + ".test", PROMPT)
