"""RabbitMQ: no client is refused because a link to the broker is being made."""

import http.client
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import gevent
import pytest

from tests.conftest import StartMspc
from tests.support.broker_door import Door
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker, RabbitNode
from tests.support.target import Target
from tests.support.waiting import eventually

CLIENTS = 4
PAUSE_SECONDS = 0.05  # more are held while a link is being made, however many come
END_SECONDS = 65  # a client waits for 30 s to be connected, and for 30 s to be answered
RESTARTS = 1  # of each; `make faults` restarts and cuts by the dozen


@dataclass
class Clients:
    """What became of a stream of calls.

    Attributes:
        answers: the status of each that was answered.
        refusals: what the others than 202 were told.
        slowest: the longest that one waited for its answer, in seconds.
        ids: of those that were accepted.
    """

    answers: list[int] = field(default_factory=list)
    refusals: list[object] = field(default_factory=list)
    slowest: float = 0.0
    ids: set[str] = field(default_factory=set)

    def accepted(self) -> int:
        return self.answers.count(202)


@contextmanager
def posting(mspc: MspcProcess, url: str) -> Iterator[Clients]:
    """Clients that post one call after the other; a closed port is tried again."""
    clients = Clients()
    enough = False

    def post() -> None:
        while not enough:
            began = time.monotonic()
            try:
                response = mspc.post({"url": url})
            except (OSError, http.client.HTTPException):
                gevent.sleep(PAUSE_SECONDS)
                continue  # the port is closed: a balancer tries another instance
            clients.answers.append(response.status)
            clients.slowest = max(clients.slowest, time.monotonic() - began)
            if response.status == 202:
                clients.ids.add(response.json["id"])
            else:
                clients.refusals.append((response.status, response.json))
            gevent.sleep(PAUSE_SECONDS)

    # No threads: one that hung would hold up the end of the whole run.
    greenlets = [gevent.spawn(post) for _ in range(CLIENTS)]
    try:
        yield clients
    finally:
        enough = True
        gevent.joinall(greenlets, END_SECONDS)
        hanging = [client for client in greenlets if not client.dead]
        gevent.killall(hanging)
    assert not hanging, "a client has no answer"
    gevent.joinall(greenlets, raise_error=True)


def more(clients: Clients, count: int = 50) -> None:
    """Waits until `count` more calls have been accepted."""
    already = clients.accepted()
    eventually(lambda: clients.accepted() >= already + count, 40)


def made(target: Target) -> set[str]:
    return {hit.headers["idempotency-key"] for hit in target.hits}


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_refuses_no_call(
    rabbitmq: Broker,
    queue_name: str,
    target: Target,
    mspc_process: StartMspc,
    queue_type: str,
    end: int,
) -> None:
    settings = {**rabbitmq.settings(queue_name), "QUEUE_TYPE": queue_type}
    one, other = mspc_process(settings), mspc_process(settings)
    with (
        posting(one, target.url("/made")) as ones,
        posting(other, target.url("/made")) as others,
    ):
        for _ in range(RESTARTS):
            for mspc, clients in ((one, ones), (other, others)):
                more(clients)
                mspc.signal(end)
                mspc.wait()
                mspc.start()
                more(clients)
    assert (ones.refusals, others.refusals) == ([], [])
    eventually(lambda: made(target) >= ones.ids | others.ids, 40)


def test_a_first_start_refuses_no_call(
    rabbitmq: Broker, queue_name: str, target: Target, mspc_process: StartMspc
) -> None:
    """A new quorum queue takes no call for its first second."""
    mspc = mspc_process(rabbitmq.settings(queue_name), wait=False)
    with posting(mspc, target.url("/made")) as clients:
        more(clients)
    assert clients.refusals == []


def test_connections_that_are_closed_refuse_no_call(
    rabbitmq_node: RabbitNode, queue_name: str, target: Target, mspc_process: StartMspc
) -> None:
    mspc = mspc_process(rabbitmq_node.settings(queue_name))
    with posting(mspc, target.url("/made")) as clients:
        for _ in range(RESTARTS):
            more(clients)
            rabbitmq_node.close_connections("maintenance")
            more(clients)
    assert clients.refusals == []
    eventually(lambda: made(target) >= clients.ids, 40)


def test_a_failover_to_another_host_refuses_no_call(
    rabbitmq: Broker, queue_name: str, target: Target, mspc_process: StartMspc
) -> None:
    doors = Door(rabbitmq), Door(rabbitmq)
    hosts = ",".join(f"127.0.0.1:{door.port}" for door in doors)
    doors[0].open()
    settings = {**rabbitmq.settings(queue_name), "QUEUE_HOST": hosts}
    try:
        mspc = mspc_process(settings)
        with posting(mspc, target.url("/made")) as clients:
            for _ in range(RESTARTS):
                for opened, shut in (doors, doors[::-1]):
                    more(clients)
                    shut.open()
                    opened.shut()
                    more(clients)
        assert clients.refusals == []
        # While there is a way to the broker.
        eventually(lambda: made(target) >= clients.ids, 40)
    finally:
        for door in doors:
            door.shut()


def test_a_broker_restart_refuses_no_call_once_it_is_back(
    rabbitmq_node: RabbitNode, queue_name: str, target: Target, mspc_process: StartMspc
) -> None:
    mspc = mspc_process(rabbitmq_node.settings(queue_name))
    with posting(mspc, target.url("/made")) as clients:
        more(clients)
        rabbitmq_node.stop_app()
        eventually(lambda: 503 in clients.answers)
        rabbitmq_node.start_app()
        mspc.wait_for_log(r"\(publish\): connected", 30, count=2)
        more(clients, 1)
        refused = clients.answers.count(503)
        more(clients)
    assert clients.answers.count(503) == refused
    assert clients.slowest < 20
    eventually(lambda: made(target) >= clients.ids, 40)


@pytest.mark.parametrize("spool", ["0", "1"])
def test_a_broker_that_is_away_does_not_keep_the_port_shut(
    rabbitmq: Broker, queue_name: str, mspc_process: StartMspc, spool: str
) -> None:
    door = Door(rabbitmq)  # shut
    settings = {**rabbitmq.settings(queue_name), "QUEUE_PORT": str(door.port)}
    mspc = mspc_process({**settings, "SPOOL": spool}, wait=False)
    mspc.wait_for_log("Listening on")
    with posting(mspc, "http://service.test/") as clients:
        eventually(lambda: len(clients.answers) >= 3 * CLIENTS)
    assert set(clients.answers) == {202 if spool == "1" else 503}
    # Those of the first seconds wait, for the link may be about to be made; with a
    # spool nobody has to.
    assert clients.slowest < 10
