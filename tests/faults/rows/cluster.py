"""Three RabbitMQ nodes, one of which dies."""

import re
import time

import gevent

from tests.faults.ledger import fail_first
from tests.faults.nodes import Node
from tests.faults.rows import QUORUM, QUORUM4, Run, in_flight, row
from tests.support.rabbitmq import START_SECONDS
from tests.support.waiting import eventually

NODES = 3
LONGEST_STALL_SECONDS = 15.0


@row(
    21,
    "the leader's node of three killed, two instances",
    queues=(QUORUM, QUORUM4),
    everywhere=True,
    bound=in_flight,
    recover_within=LONGEST_STALL_SECONDS,
)
def leader_killed(run: Run) -> None:
    run.ledger.behave(fail_first(1, every=10))
    begin = time.monotonic()
    nodes = run.cluster(NODES)
    run.remark(f"{NODES} nodes within {time.monotonic() - begin:.0f} s")
    addresses = [f"{node.host}:{node.port}" for node in nodes]
    for shift in (0, 1):
        hosts = ",".join(addresses[shift:] + addresses[:shift])
        run.service(broker=nodes[0], QUEUE_HOST=hosts)
    run.load(rate=100)
    for _ in range(2 if run.quick else 6):
        gevent.sleep(run.random.uniform(2, 4))
        leader = leader_of(run, nodes)
        with run.recovering(), run.fault(settles_within=LONGEST_STALL_SECONDS):
            leader.kill()
        gevent.sleep(2)
        with run.recovering(), run.fault(settles_within=LONGEST_STALL_SECONDS):
            leader.start()
        eventually(lambda: all_online(run, nodes), START_SECONDS)
    run.drain()


@row(
    21,
    "the leader's node of three killed before the first call",
    queues=(QUORUM, QUORUM4),
    everywhere=True,
    bound=in_flight,
    recover_within=LONGEST_STALL_SECONDS,
)
def leader_killed_early(run: Run) -> None:
    """On a channel that has published nothing yet, RabbitMQ 3.10 asks the dead node.

    It refuses what is published there until that node is back, while the queue has had
    another leader for long: see `enqueue` in its rabbit_fifo_client.
    """
    nodes = run.cluster(NODES)
    declaring = run.service(broker=nodes[0])
    declaring.terminate()
    declaring.wait()
    leader = leader_of(run, nodes)
    other = next(node for node in nodes if node is not leader)
    service = run.service(broker=other)
    with run.recovering(service), run.fault(settles_within=LONGEST_STALL_SECONDS):
        leader.kill()
    run.drain()


def leader_of(run: Run, nodes: list[Node]) -> Node:
    """The node that leads the main queue."""
    name = told(run, nodes, "leader")
    leaders = [node for node in nodes if node.name == name]
    assert leaders, f"no node is the leader {name!r}"
    return leaders[0]


def all_online(run: Run, nodes: list[Node]) -> bool:
    """Whether every member of the main queue is there again."""
    online = told(run, nodes, "online")
    return all(node.name in online for node in nodes)


def told(run: Run, nodes: list[Node], column: str) -> str:
    """What RabbitMQ says about the main queue; empty when it says nothing yet."""
    printed = nodes[0].ctl("list_queues", "name", column)
    found = re.search(rf"^{re.escape(run.queue_name)}\s+(.+)$", printed, re.MULTILINE)
    return found[1].strip() if found else ""
