"""Bad targets beside healthy ones: calls are set aside, and mspc or its broker ends."""

import itertools
import resource
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from tests.faults.checker import Interval, Sent
from tests.faults.load import BODY_BYTES, TIMEOUT_SECONDS, Client
from tests.faults.rows import BROKERS, QUORUM, SQLITE, Run, Service, in_flight, row
from tests.support.children import free_port

MANY, QUICK = 1_000, 60
# What fails is heard of again within this, or hangs no longer.
DEADLINE = "5"  # seconds
PROMPT_SECONDS = 1.0
# Before a fault, and after its end: what was posted then may have waited for it.
NEAR_SECONDS = 3.0
# Calls that one end may leave twice because they were being set aside.
MOVING = 64
HEALTHY, BAD = "load0", "load1"


class Door:
    """An origin of its own: another port of the ledger, which may be shut or silent."""

    def __init__(self, run: Run) -> None:
        self.port = free_port()
        self.ids: set[str] = set()
        self._run = run
        self._silent = False
        self._server: StreamServer | None = None

    def open(self) -> None:
        """Answers as the ledger does; what was silent is cut."""
        self.shut()
        self._silent = False
        self._listen()

    def shut(self) -> None:
        """Cuts every connection and refuses new ones."""
        if self._server is not None:
            self._server.stop(timeout=0)
            self._server = None

    def hang(self) -> None:
        """Accepts, and never answers."""
        self.shut()
        self._silent = True
        self._listen()

    def url(self, call_id: str) -> str:
        self.ids.add(call_id)
        return f"http://127.0.0.1:{self.port}/call/{call_id}"

    def _listen(self) -> None:
        address = ("127.0.0.1", self.port)
        self._server = StreamServer(address, self._serve, spawn=Pool(), backlog=256)
        self._server.start()

    def _serve(self, connection: socket.socket, address: object) -> None:
        with connection, suppress(OSError):
            if not self._silent:
                self._run.ledger._serve(connection, address)
            while self._silent and connection.recv(65_536):
                pass


class Visitor(Client):
    """Posts calls to doors, by turns."""

    def __init__(
        self, run: Run, doors: Sequence[Door], services: Sequence[Service]
    ) -> None:
        ports = [service.http_port for service in services]
        super().__init__(ports, run.base, run.log)
        self._doors = itertools.cycle(doors)

    def post(
        self,
        call_id: str,
        *,
        size: int = BODY_BYTES,
        timeout: float = TIMEOUT_SECONDS,
        properties: Mapping[str, object] | None = None,
    ) -> Sent:
        more = {"url": next(self._doors).url(call_id), **(properties or {})}
        return super().post(call_id, size=size, timeout=timeout, properties=more)


@contextmanager
def doors(run: Run, count: int) -> Iterator[list[Door]]:
    """As many origins, open until the end of the block."""
    _allow_descriptors(count)
    made = [Door(run) for _ in range(count)]
    try:
        for door in made:
            door.open()
        yield made
    finally:
        for door in made:
            door.shut()


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + 1024
    if soft < wanted <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def expect_prompt(run: Run, away: Sequence[Interval] = ()) -> None:
    """99 % of the healthy calls were attempted soon, those near a fault left out."""
    first: dict[str, float] = {}
    for hit in run.ledger.hits:
        first.setdefault(hit.id, hit.at)
    waits = sorted(
        first.get(call.id, time.monotonic()) - call.at
        for call in run.log.sent.values()
        if call.id.startswith(f"{HEALTHY}-")
        and call.outcome == "ok"
        and not any(
            begin - NEAR_SECONDS <= call.at <= end + NEAR_SECONDS for begin, end in away
        )
    )
    run.expect(waits, "no healthy call was posted")
    if waits:
        slowest = waits[(len(waits) * 99 - 1) // 100]
        run.expect(slowest < PROMPT_SECONDS, f"healthy calls waited {slowest:.1f} s")
        run.remark(f"99 % of {len(waits)} healthy calls within {slowest:.2f} s")


@row(
    37,
    "a thousand origins, a tenth of them dead, flapping",
    queues=(SQLITE, QUORUM),
    bound=in_flight,
)
def flapping_origins(run: Run) -> None:
    count = QUICK if run.quick else MANY
    run.consumers = 200  # the default: half of the dead are silent all at once
    service = run.service(FORWARD_TIMEOUT_SECONDS=DEADLINE)
    with doors(run, count) as all_doors:
        bad, good = all_doors[: count // 10], all_doors[count // 10 :]
        run.load(rate=90, through=Visitor(run, good, [service]))
        run.load(rate=80, through=Visitor(run, bad, [service]))
        gevent.sleep(2)
        for _ in range(2 if run.quick else 10):
            flap(run, bad)
        run.remark(f"{count} origins, {len(bad)} of them flapping")
        run.drain()
    expect_prompt(run)


def flap(run: Run, bad: Sequence[Door]) -> None:
    """All of them are dead for a while, one half silent, the other refusing."""
    with run.fault():
        for number, door in enumerate(bad):
            door.hang() if number % 2 else door.shut()
        dead = time.monotonic()
        gevent.sleep(run.random.uniform(5.0, 7.0))
    back = time.monotonic()
    for door in bad:
        door.open()
    for door in (bad[0], bad[1]):
        # Those that it was given while it was dead.
        waiting = {
            call_id
            for call_id in door.ids - run.ledger.delivered
            if (call := run.log.sent.get(call_id)) is not None
            and call.outcome == "ok"
            and dead <= call.at <= back
        }
        if waiting:
            run.ledger.wait_any_delivered(waiting, 60)
            run.recoveries.append(time.monotonic() - back)
    gevent.sleep(run.random.uniform(1.0, 3.0))


def ends_while_aside(run: Run) -> int:
    """What was in flight may come again, and what was being set aside."""
    return in_flight(run) + MOVING * run.injections


@contextmanager
def half_bad(run: Run, *services: Service) -> Iterator[list[Interval]]:
    """Half of the calls go to a silent and to a refusing origin, until the end of the
    block; then these are back. Fill the list with the times of the faults.
    """
    away: list[Interval] = []
    with doors(run, 2) as (silent, refusing):
        silent.hang()
        refusing.shut()
        run.load(rate=50, services=services)
        run.load(rate=50, through=Visitor(run, (silent, refusing), services))
        gevent.sleep(float(DEADLINE) + 2)  # the first ones have failed
        yield away
        gevent.sleep(2 * NEAR_SECONDS)  # and these are not near a fault
        silent.open()
        refusing.open()
        run.drain(timeout=120)
    expect_prompt(run, away)


@row(
    37,
    "kill -9 while calls are set aside",
    queues=(SQLITE, *BROKERS),
    bound=ends_while_aside,
)
def kills_while_aside(run: Run) -> None:
    service = run.service(FORWARD_TIMEOUT_SECONDS=DEADLINE)
    with half_bad(run, service) as away:
        for _ in range(2 if run.quick else 15):
            gevent.sleep(run.random.uniform(0.5, 4.0))
            begin = time.monotonic()
            service.kill()
            run.injected()
            with run.recovering():
                service.restart()
            away.append((begin, time.monotonic()))


@row(
    37,
    "broker restarted while calls are set aside",
    queues=BROKERS,
    bound=ends_while_aside,
)
def broker_restarted_while_aside(run: Run) -> None:
    node = run.node
    service = run.service(FORWARD_TIMEOUT_SECONDS=DEADLINE)
    with half_bad(run, service) as away:
        for _ in range(1 if run.quick else 4):
            begin = time.monotonic()
            with run.recovering(), run.fault(settles_within=10.0):
                node.kill()
                gevent.sleep(run.random.uniform(0.0, 2.0))
                node.start()
            away.append((begin, time.monotonic()))
            gevent.sleep(run.random.uniform(2.0, 4.0))


@row(
    37,
    "connections lost while calls are set aside",
    queues=BROKERS,
    bound=ends_while_aside,
)
def connections_lost_while_aside(run: Run) -> None:
    proxy = run.proxy()
    service = run.service(through=proxy, FORWARD_TIMEOUT_SECONDS=DEADLINE)
    with half_bad(run, service) as away:
        for _ in range(2 if run.quick else 15):
            gevent.sleep(run.random.uniform(0.5, 3.0))
            begin = time.monotonic()
            with run.recovering(), run.fault():
                proxy.cut()
            away.append((begin, time.monotonic()))


@row(
    37,
    "two instances, one killed with calls set aside",
    queues=BROKERS,
    bound=ends_while_aside,
)
def one_of_two_killed_while_aside(run: Run) -> None:
    services = [run.service(FORWARD_TIMEOUT_SECONDS=DEADLINE) for _ in range(2)]
    with half_bad(run, *services) as away:
        for _ in range(2 if run.quick else 10):
            gevent.sleep(run.random.uniform(0.5, 3.0))
            victim, other = run.random.sample(services, 2)
            begin = time.monotonic()
            with run.fault():
                victim.kill()
            with run.recovering(other):
                pass
            victim.restart()
            away.append((begin, time.monotonic()))
