"""What a row of the fault matrix works with: a service, its load and its target."""

import random
import shutil
import signal
import tempfile
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import gevent
from gevent.event import Event

from tests.faults.checker import Interval, Sent, Verdict, check
from tests.faults.ledger import Ledger
from tests.faults.load import BODY_BYTES, CONNECTIONS, Client, Load, Log, Properties
from tests.faults.nodes import Node, Nodes, NotInjected
from tests.faults.proxy import ChaosProxy
from tests.faults.service import Service
from tests.support.rabbitmq import Broker, unique_name

CLASSIC, QUORUM, QUORUM4, SQLITE = "classic", "quorum", "quorum4", "sqlite"
BROKERS = (CLASSIC, QUORUM, QUORUM4)
ALL = (SQLITE, *BROKERS)

DELAY_SECONDS = 1.0
CONSUMERS = 20
RECOVERED_SECONDS = 60.0
_PROBE_EVERY_SECONDS = 0.1
_STOP_SECONDS = 60.0


class Run:
    """One row on one kind of queue.

    Attributes:
        queue: `sqlite`, `classic`, `quorum` (RabbitMQ 3.10) or `quorum4` (4.x).
        random: the only source of chance, so that the seed says what happens.
        quick: a short run, for `make test`.
        ledger: the target, listening.
        log: what every client of this run was told.
        delay: seconds between attempts, as the services are told.
        consumers: how many each service has.
        base: the target's URL that clients ask for; a proxy's port may stand there.
        forgiven: ids that the documentation allows to lose (a deleted queue).
        stored: ids that lie in the queue already, promised to nobody.
        bound: on duplicates, for all injections together; None for the row's own.
        directory: for files of the row's own; removed afterwards.
    """

    def __init__(self, queue: str, seed: str, nodes: Nodes, *, quick: bool) -> None:
        self.queue = queue
        self.seed = seed
        self.random = random.Random(seed)
        self.quick = quick
        self.ledger = Ledger()
        self.log = Log()
        self.delay = DELAY_SECONDS
        self.consumers = CONSUMERS
        self.bound: int | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="mspc-fault-"))
        self.queue_name = unique_name("fault")
        self.injections = 0
        self.recoveries: list[float] = []
        self.remarks: list[str] = []
        self.problems: list[str] = []
        self.services: list[Service] = []
        self.base = self.ledger.base
        self.forgiven: set[str] = set()
        self.stored: Container[str] = ()
        self._nodes = nodes
        self._broker: Broker | None = None
        self._interruptions: list[Interval] = []
        self._loads: list[Load] = []
        self._proxies: list[ChaosProxy] = []
        self._own: list[Node] = []
        self._probes = 0
        self._drained = 0
        self.ledger.listen()

    # The parts

    @property
    def broker(self) -> Broker:
        """The RabbitMQ of this kind of queue; shared, and running when a row begins."""
        assert self.queue in BROKERS, f"{self.queue} has no broker"
        if self._broker is None:
            self._broker = self._nodes.broker(self.queue)
        return self._broker

    @property
    def node(self) -> Node:
        """The same, as one that may be stopped, killed and configured.

        Raises:
            NotInjected: it is not ours.
        """
        broker = self.broker
        if not isinstance(broker, Node):
            self.cannot("the RabbitMQ is not ours to stop")
        return broker

    def fresh_node(self) -> Node:
        """A RabbitMQ for this row alone; give it to service(broker=...)."""
        node = self._nodes.fresh(self.queue)
        self._own.append(node)
        return node

    def cluster(self, count: int) -> list[Node]:
        """As many nodes for this row alone, one cluster."""
        nodes = self._nodes.cluster(self.queue, count)
        self._own += nodes
        return nodes

    def proxy(self, server: Broker | Ledger | None = None) -> ChaosProxy:
        """A proxy, started: before the broker, or before `server`.

        Give it to service(through=...); for the ledger, use its port in the urls.
        """
        server = server or self.broker
        amqp = isinstance(server, Broker)
        proxy = ChaosProxy("127.0.0.1", server.port, amqp=amqp)
        proxy.start()
        self._proxies.append(proxy)
        return proxy

    def service(
        self,
        *,
        through: ChaosProxy | None = None,
        broker: Broker | None = None,
        wait: bool = True,
        prefix: tuple[str, ...] = (),
        **settings: str,
    ) -> Service:
        """An mspc on this run's queue, started and ready.

        Args:
            through: reach the broker through this proxy.
            broker: another one than `self.broker`.
            wait: until it is ready.
            prefix: a command that becomes mspc, in a namespace of its own for example.
            settings: on top of the run's own; the spool is off unless SPOOL="1".
        """
        directory = self.directory / f"mspc-{len(self.services)}"
        own = self.settings(broker, through) | settings
        service = Service(directory, own, prefix)
        self.services.append(service)
        service.start()
        if wait:
            service.wait_ready()
        return service

    def settings(
        self, broker: Broker | None = None, through: ChaosProxy | None = None
    ) -> dict[str, str]:
        """The settings of a service of this run."""
        own = {
            "QUEUE_SCHEME": "sqlite",
            "SPOOL": "0",
            "FILE_LOG_ENABLED": "0",
            "QUEUE_NUMBER_OF_CONSUMERS": str(self.consumers),
            "REQUEUE_FAILED_AFTER_MILLISECONDS": str(round(self.delay * 1000)),
        }
        if self.queue != SQLITE:
            own |= (broker or self.broker).settings(self.queue_name)
            own["QUEUE_TYPE"] = "classic" if self.queue == CLASSIC else "quorum"
        if through is not None:
            own["QUEUE_HOST"], own["QUEUE_PORT"] = through.host, str(through.port)
        return own

    def client(self, *services: Service) -> Client:
        """For posts of the row's own; all services by turns unless some are named."""
        ports = [service.http_port for service in services or self.services]
        return Client(ports, self.base, self.log)

    def load(
        self,
        rate: float,
        seconds: float | None = None,
        count: int | None = None,
        *,
        services: Sequence[Service] = (),
        through: Client | None = None,
        size: int = BODY_BYTES,
        connections: int = CONNECTIONS,
        properties: Properties | None = None,
    ) -> Load:
        """Starts a load: for `seconds`, for `count` calls, or until stop().

        It goes to `services` by turns, all of them unless some are named; or wherever
        the client `through` sends it.
        """
        load = Load(
            through or self.client(*services),
            f"load{len(self._loads)}",
            rate,
            seconds=seconds,
            count=count,
            size=size,
            connections=connections,
            properties=properties,
        )
        self._loads.append(load)
        return load.start()

    def elsewhere(self) -> Properties:
        """To the same target by another name: calls that have a lane of their own."""
        return lambda id_: {"url": f"http://localhost:{self.ledger.port}/call/{id_}"}

    def post(
        self,
        *services: Service,
        timeout: float = 15.0,
        size: int = BODY_BYTES,
        properties: Mapping[str, object] | None = None,
    ) -> Sent:
        """Posts one call, with other `properties` on top, and returns what was said."""
        client = self.client(*services)
        try:
            return client.post(
                self._next_id(), size=size, timeout=timeout, properties=properties
            )
        finally:
            client.close()

    # What happens

    def injected(self, n: int = 1) -> None:
        """Counts `n` faults that happened just now."""
        self.injections += n
        now = time.monotonic()
        self._interruptions.append((now, now))

    @contextmanager
    def fault(self, settles_within: float = 2.0) -> Iterator[None]:
        """Counts one fault that lasts as long as the block.

        Calls attempted meanwhile, and `settles_within` seconds after it, may come
        again without waiting for the delay: their deliveries were not settled.
        """
        self.injections += 1
        start = time.monotonic()
        try:
            yield
        finally:
            self._interruptions.append((start, time.monotonic() + settles_within))

    @contextmanager
    def recovering(self, *services: Service) -> Iterator[None]:
        """Ends the fault in the block; then waits until a new call goes through.

        The clock runs from the end of the block to the delivery of a probe, posted
        every 0.1 s. Without a recovery within 60 s the row goes on, with a problem.
        """
        yield
        start = time.monotonic()
        probes: set[str] = set()
        client = self.client(*services)
        done = Event()

        def probe() -> None:
            while not done.wait(_PROBE_EVERY_SECONDS):
                probes.add(call_id := self._next_id())
                posts.append(gevent.spawn(client.post, call_id))

        posts: list[gevent.Greenlet[..., Sent]] = []
        prober = gevent.spawn(probe)
        recovered = self.ledger.wait_any_delivered(probes, RECOVERED_SECONDS)
        seconds = time.monotonic() - start
        done.set()
        prober.join()
        gevent.joinall(posts, timeout=20)
        client.close()
        self.recoveries.append(seconds if recovered else float("inf"))

    def drain(self, timeout: float = 60.0) -> bool:
        """Waits until all that was promised was answered 2xx; whether that was so.

        First ends the loads: endless ones are stopped, the others run to their end.
        Then waits, ten seconds at most, until nothing more comes.
        """
        for load in self._loads:
            if load.endless:
                load.stop()
        for load in self._loads:
            load.join()
        promised = self.log.ids("ok") - self.forgiven
        missing = self.ledger.wait_delivered(promised, timeout)
        self._drained = len(self.log.sent)
        self.ledger.quiet(self.delay + 0.5, 10 + self.delay)
        return not missing

    def remark(self, text: str) -> None:
        """For the table."""
        self.remarks.append(text)

    def expect(self, condition: object, problem: str) -> None:
        """The row fails with `problem` unless `condition`; it goes on, though."""
        if not condition:
            self.problems.append(problem)

    def cannot(self, reason: str) -> NoReturn:
        """Ends the row: the fault cannot be injected here."""
        raise NotInjected(reason)

    # The end

    def finish(self) -> Verdict:
        """Drains, ends every service in order, compares."""
        self.ledger.listen()
        running = any(service.running for service in self.services)
        if running and self._drained != len(self.log.sent):
            self.drain()
        for service in self.services:
            self._end(service)
        return check(
            self.log.sent.values(),
            self.ledger.hits,
            self.delay,
            self._interruptions,
            self.forgiven,
            self.stored,
        )

    def close(self) -> None:
        """Leaves nothing behind. Never raises for what a row has broken."""
        for load in self._loads:
            load.stop()
        for service in self.services:
            service.kill()
        for proxy in self._proxies:
            proxy.stop()
        self.ledger.refuse()
        for node in reversed(self._own):
            self._nodes.discard(node)
        if self._broker is not None:
            try:
                # Whatever this row has done to the node, it runs for the next one.
                self._nodes.broker(self.queue).delete_queues(self.queue_name)
            except Exception as exc:  # noqa: BLE001 - the next row has names of its own
                self.remark(f"its queues stay behind: {exc}")
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self, service: Service) -> None:
        service.look()
        if service.running:
            service.signal(signal.SIGCONT)
            service.terminate()
            code = service.wait(_STOP_SECONDS)
            self.expect(code == 0, f"mspc ended with exit code {code} at the end")
        self.problems += service.unexpected
        if "Traceback" in service.output and not service.tracebacks_allowed:
            where = service.output.index("Traceback")
            self.problems.append(
                f"mspc printed a traceback: {service.output[where : where + 2000]}"
            )

    def _next_id(self) -> str:
        self._probes += 1
        return f"probe-{self._probes}"
