"""What is measured: mspc on each of its queues, and its peers, as processes."""

import http.client
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.processes import ROOT, Child, wait_until
from tests.support.children import free_port
from tests.support.rabbitmq import RabbitNode

START_SECONDS = 60.0
GREENLETS = 100
_SCRIPTS = Path(sys.executable).parent
_PEERS = "benchmarks.peers"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run of a subject happens.

    Attributes:
        directory: for its files; it outlives a restart.
        queue: the name of its queue on RabbitMQ.
        node: the RabbitMQ node, None for a subject that needs none.
        settings: more of them, for mspc only.
    """

    directory: Path
    port: int
    queue: str
    node: RabbitNode | None
    settings: dict[str, str]

    @property
    def broker(self) -> str:
        assert self.node is not None
        return f"amqp://guest:guest@{self.node.host}:{self.node.port}/%2F"


@dataclass(frozen=True, slots=True)
class Command:
    """One process of a subject."""

    name: str
    arguments: list[str]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that does the work.

    Attributes:
        queue: `sqlite`, `classic` or `quorum`.
        settings: how it is set up, for people to read.
    """

    key: str
    title: str
    product: str
    queue: str
    commands: Callable[[Place], list[Command]]
    settings: tuple[str, ...]

    @property
    def needs_node(self) -> bool:
        return self.queue != "sqlite"


class Service:
    """A subject that runs. A context manager: ready inside, ended after."""

    def __init__(self, subject: Subject, place: Place) -> None:
        self.subject = subject
        self.place = place
        self._children: list[Child] = []

    def __enter__(self) -> "Service":
        try:
            for command in self.subject.commands(self.place):
                log = self.place.directory / f"{command.name}.log"
                child = Child(command.arguments, log, command.environment)
                self._children.append(child)
            wait_until(self.ready, START_SECONDS, f"{self.subject.title} is ready")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.place.port}/"

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    def cpu_seconds(self) -> float:
        self.check()
        return measure.cpu_seconds(self.pids)

    def peak_rss(self) -> int:
        return measure.peak_rss(self.pids)

    def check(self) -> None:
        """Raises Failed when a process has ended."""
        for child in self._children:
            child.check()

    def ready(self) -> bool:
        self.check()
        client = http.client.HTTPConnection("127.0.0.1", self.place.port, timeout=5)
        try:
            client.request("GET", "/health/ready")
            return client.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            client.close()

    def stop(self) -> None:
        for child in self._children:
            child.stop()


def _mspc(queue: str) -> Subject:
    def commands(place: Place) -> list[Command]:
        settings = {
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(place.port),
            "DATA_DIR": str(place.directory / "data"),
            "FILE_LOG_ENABLED": "0",
            # One service alone gets half of them on the embedded queue.
            "QUEUE_NUMBER_OF_CONSUMERS": str(2 * GREENLETS),
            "MSPC_CONFIG": str(place.directory / "env.yml"),
        }
        (place.directory / "env.yml").touch()
        if place.node is not None:
            settings |= place.node.settings(place.queue) | {"QUEUE_TYPE": queue}
        arguments = [sys.executable, str(ROOT / "mspc.py")]
        return [Command("mspc", arguments, settings | place.settings)]

    scheme = "sqlite" if queue == "sqlite" else f"amqp, QUEUE_TYPE {queue}"
    return Subject(
        f"mspc-{queue}",
        f"mspc, {queue}",
        "mspc",
        queue,
        commands,
        (
            "one process: python mspc.py",
            f"QUEUE_SCHEME {scheme}",
            "QUEUE_NUMBER_OF_CONSUMERS 200 (the default)",
            "FILE_LOG_ENABLED 0: the log goes to standard output, a file here",
        ),
    )


def _peer(
    product: str,
    queue: str,
    worker: Callable[[str], list[str]],
    settings: tuple[str, ...],
) -> Subject:
    name = product.lower()
    module = f"{_PEERS}.{name}_tasks"

    def commands(place: Place) -> list[Command]:
        environment = {
            "BENCH_PORT": str(place.port),
            "BENCH_QUEUE": place.queue,
            "BENCH_FILE": str(place.directory / "queue.db"),
        }
        if place.node is not None:
            environment["BENCH_BROKER"] = place.broker
        front = [sys.executable, "-m", f"{_PEERS}.front", module]
        return [
            Command("worker", worker(module), environment),
            Command("front", front, environment),
        ]

    return Subject(name, product, product, queue, commands, settings)


def _celery(module: str) -> list[str]:
    pool = ["--pool", "gevent", "--concurrency", str(GREENLETS)]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app = [sys.executable, "-m", "celery", "--app", module, "worker"]
    return [*app, *pool, *quiet]


def _dramatiq(module: str) -> list[str]:
    script = str(_SCRIPTS / "dramatiq-gevent")
    size = ["--processes", "1", "--threads", str(GREENLETS)]
    return [script, module, *size, "--skip-logging"]


def _huey(module: str) -> list[str]:
    size = ["-k", "greenlet", "-w", str(GREENLETS), "--no-periodic", "--quiet"]
    return [sys.executable, "-m", f"{_PEERS}.huey_worker", f"{module}.huey", *size]


SUBJECTS = (
    _mspc("sqlite"),
    _peer(
        "Huey",
        "sqlite",
        _huey,
        (
            "worker: huey_consumer -k greenlet -w 100 --no-periodic --quiet, patched"
            " by gevent first",
            "SqliteHuey(fsync=True, results=False), WAL (its default)",
            "task(retries=1000000000, retry_delay=5)",
            "takes a task out of the file before it runs it, so a crash loses up to"
            " 100 calls; it has no acknowledgement that could come later",
        ),
    ),
    _mspc("classic"),
    _mspc("quorum"),
    _peer(
        "Celery",
        "classic",
        _celery,
        (
            "worker: celery worker --pool gevent --concurrency 100 --without-gossip"
            " --without-mingle --without-heartbeat",
            "broker_transport_options={'confirm_publish': True},"
            " broker_pool_limit=64 (its default of 10 would hold up 64 clients)",
            "task_acks_late, task_reject_on_worker_lost, task_ignore_result;"
            " worker_enable_remote_control=False",
            "worker_prefetch_multiplier=4 (its default): 400 tasks ahead",
            "retry(countdown=5), max_retries=None; a durable classic queue (its"
            " default)",
        ),
    ),
    _peer(
        "Dramatiq",
        "classic",
        _dramatiq,
        (
            "worker: dramatiq-gevent --processes 1 --threads 100 --skip-logging",
            "RabbitmqBroker(confirm_delivery=True), default middleware, prefetch 200"
            " (its default for 100 threads)",
            "front: 64 connections in a pool instead of one for each greenlet"
            " (dramatiq's issue 381)",
            "max_retries=None, min_backoff = max_backoff = 5 s; a durable classic"
            " queue (its only kind without a subclass)",
        ),
    ),
)


def choose(keys: list[str]) -> list[Subject]:
    """Those named, in order; all for none."""
    return [subject for subject in SUBJECTS if not keys or subject.key in keys]


def new_place(
    directory: Path,
    subject: Subject,
    node: RabbitNode | None,
    queue: str,
    settings: dict[str, str] | None = None,
) -> Place:
    directory.mkdir()
    node = node if subject.needs_node else None
    return Place(directory, free_port(), queue, node, settings or {})
