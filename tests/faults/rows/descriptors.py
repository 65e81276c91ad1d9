"""File descriptors: more than select() can watch, and none left."""

import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent

from tests.faults.ledger import Answer
from tests.faults.proxy import ChaosProxy
from tests.faults.rows import BROKERS, QUORUM, SQLITE, Run, Service, in_flight, row

IDLE_CLIENTS = 900
MORE_CLIENTS = 60  # they take the numbers that the broken links leave
HANGING_CALLS = 220
CONSUMERS = 600  # a service that has not answered gets three in eight
HANG_SECONDS = 45.0
SELECTABLE = 1024
KEEP_ALIVE_SECONDS = 15.0
_REQUEST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class IdleClients:
    """Connections that ask for the health now and then, so that they are kept."""

    def __init__(self, service: Service) -> None:
        self.answered = 0
        self._port = service.http_port
        self._clients: list[gevent.Greenlet[..., None]] = []

    def open(self, count: int) -> None:
        """Opens `count` more and waits until they were answered."""
        answered = self.answered + count
        self._clients += [gevent.spawn(self._stay) for _ in range(count)]
        with gevent.Timeout(20, False):  # type: ignore[arg-type]
            while self.answered < answered:
                gevent.sleep(0.05)

    def spawn(self, count: int) -> None:
        """Opens `count` more; nobody waits for them."""
        self._clients += [gevent.spawn(self._stay) for _ in range(count)]

    def close(self) -> None:
        gevent.killall(self._clients)

    def _stay(self) -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self._port), 60) as connection,
        ):
            first = True
            while True:
                connection.sendall(_REQUEST)
                if not connection.recv(65_536):
                    return
                self.answered += first
                first = False
                gevent.sleep(KEEP_ALIVE_SECONDS)


@contextmanager
def idle_clients(service: Service) -> Iterator[IdleClients]:
    clients = IdleClients(service)
    try:
        yield clients
    finally:
        clients.close()


@row(
    23,
    "more than 1100 sockets open, broker restarted",
    queues=BROKERS,
    recover_within=30.0,
)
def many_sockets(run: Run) -> None:
    """The new links get numbers that select() cannot watch."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        run.cannot("fewer than 4096 file descriptors are allowed")
    run.consumers = CONSUMERS
    node = run.node
    hanging = {f"load0-{n}" for n in range(1, HANGING_CALLS + 1)}
    run.ledger.behave(
        lambda call_id, _: Answer(delay=HANG_SECONDS if call_id in hanging else 0)
    )
    service = run.service(FORWARD_TIMEOUT_SECONDS="100")
    with idle_clients(service) as clients:
        run.load(rate=200, count=HANGING_CALLS, properties=run.elsewhere()).join()
        clients.open(IDLE_CLIENTS)
        for _ in range(100):
            if len(run.ledger.attempts) >= HANGING_CALLS:
                break
            gevent.sleep(0.1)
        before = service.descriptors()
        run.expect(before > 1100, f"only {before} descriptors are open")
        with run.recovering(), run.fault(settles_within=HANG_SECONDS):
            node.stop()
            service.wait_for_log("is away", count=2)
            clients.open(MORE_CLIENTS)
            node.start()
        links = link_descriptors(service, node.port)
        run.expect(
            links and max(links) >= SELECTABLE,
            f"the new links have the numbers {links}: select() could watch them",
        )
        run.remark(f"{before} descriptors, the new links have {sorted(links)}")
        run.drain(HANG_SECONDS + 30)


def link_descriptors(service: Service, port: int) -> list[int]:
    """The numbers of the connections to `port`."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        text = Path(f"/proc/{service.pid}/net/{table}").read_text()
        for line in text.splitlines()[1:]:
            fields = line.split()
            if int(fields[2].rpartition(":")[2], 16) == port and fields[3] == "01":
                inodes.add(f"socket:[{fields[9]}]")
    directory = Path(f"/proc/{service.pid}/fd")
    found = []
    for entry in directory.iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(entry) in inodes:
                found.append(int(entry.name))
    return found


@row(24, "out of file descriptors", queues=(SQLITE, QUORUM), bound=in_flight)
def no_descriptors(run: Run) -> None:
    proxy = None if run.queue == SQLITE else run.proxy()
    service = run.service(through=proxy)
    run.load(rate=30, connections=8)
    gevent.sleep(1)
    links = proxy.accepted if proxy else 0
    limit = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
    for n in range(1 if run.quick else 4):
        warned = service.output.count("No connection can be accepted")
        with idle_clients(service) as clients, run.recovering(), run.fault():
            few = service.descriptors() + 5
            resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (few, limit[1]))
            clients.spawn(300)
            gevent.sleep(3 if run.quick else 6)
            run.expect(service.running, "mspc has ended")
            cpu = _cpu_share(service)
            run.expect(cpu < 0.7, f"mspc turns round: {cpu:.0%} of a core")
            clients.close()
            resource.prlimit(service.pid, resource.RLIMIT_NOFILE, limit)
        now = service.output.count("No connection can be accepted")
        if n == 0:
            run.expect(now == warned + 1, f"{now - warned} warnings of a full table")
        run.remark(f"{few} descriptors: {cpu:.0%} of a core")
    if proxy is not None:
        again = proxy.accepted - links
        run.expect(not again, f"{again} broker links were opened again")
        _cut_without_descriptors(run, service, proxy)
    run.drain()


def _cut_without_descriptors(run: Run, service: Service, proxy: ChaosProxy) -> None:
    """The broker link breaks while there is no descriptor for a new one."""
    limit = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
    with (
        idle_clients(service) as clients,
        run.recovering(),
        run.fault(settles_within=10),
    ):
        few = service.descriptors() + 1
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (few, limit[1]))
        clients.spawn(300)
        gevent.sleep(1)
        proxy.cut()
        gevent.sleep(3)
        run.expect(service.running, "mspc has ended")
        clients.close()
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, limit)


def _cpu_share(service: Service) -> float:
    """Of one core, during a second."""

    def ticks() -> int:
        fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2]
        user, system = fields.split()[11:13]
        return int(user) + int(system)

    start = ticks()
    gevent.sleep(1)
    return (ticks() - start) / os.sysconf("SC_CLK_TCK")
