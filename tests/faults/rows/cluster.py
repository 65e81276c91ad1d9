"""Three RabbitMQ nodes, one of which dies."""

import re
import time
from pathlib import Path

import gevent

from tests.faults.ledger import fail_first
from tests.faults.rows import QUORUM, Run, in_flight, row
from tests.support.rabbitmq import START_SECONDS, RabbitNode, unique_name
from tests.support.waiting import eventually

NODES = 3
LONGEST_STALL_SECONDS = 15.0
COOKIE = "of-the-fault-tests"


class ClusterNode(RabbitNode):
    """A node that shares the first one's epmd."""

    def __init__(self, directory: Path, first: "ClusterNode | None") -> None:
        super().__init__(directory)
        self._first = first
        if first is not None:
            self._epmd_port = first._epmd_port

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        cookie = self.directory / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(COOKIE)
            cookie.chmod(0o400)
        super().start()

    def join(self, other: "ClusterNode") -> None:
        self.ctl("stop_app")
        self.ctl("join_cluster", other.name)
        self.ctl("start_app")

    def _start_epmd(self) -> None:
        if self._first is None:
            super()._start_epmd()


@row(
    21,
    "the leader's node of three killed, two instances",
    queues=(QUORUM,),
    bound=in_flight,
    recover_within=LONGEST_STALL_SECONDS,
)
def leader_killed(run: Run) -> None:
    if RabbitNode.program() is None:
        run.cannot("no rabbitmq-server")
    first = ClusterNode(run.directory / unique_name("node"), None)
    nodes = [first]
    nodes += [
        ClusterNode(run.directory / unique_name("node"), first)
        for _ in range(NODES - 1)
    ]
    try:
        begin = time.monotonic()
        for node in nodes:
            node.start()
            if node is not first:
                node.join(first)
        run.remark(f"{NODES} nodes within {time.monotonic() - begin:.0f} s")
        _kill_leaders(run, nodes)
        for service in run.services:
            service.terminate()
            service.wait()
    finally:
        for node in reversed(nodes):
            if node.running:
                node.signal(9)
            node.stop()


def _kill_leaders(run: Run, nodes: list[ClusterNode]) -> None:
    run.ledger.behave(fail_first(1, every=10))
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


def leader_of(run: Run, nodes: list[ClusterNode]) -> ClusterNode:
    printed = nodes[0].ctl("list_queues", "name", "leader")
    found = re.search(rf"^{re.escape(run.queue_name)}\s+(\S+)$", printed, re.MULTILINE)
    assert found, f"no leader in {printed!r}"
    return next(node for node in nodes if node.name == found.group(1))


def all_online(run: Run, nodes: list[ClusterNode]) -> bool:
    """Whether every member of the main queue is there again."""
    printed = nodes[0].ctl("list_queues", "name", "online")
    found = re.search(rf"^{re.escape(run.queue_name)}\s+(.+)$", printed, re.MULTILINE)
    return found is not None and all(node.name in found.group(1) for node in nodes)
