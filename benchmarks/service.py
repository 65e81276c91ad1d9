"""What a subject is, where it runs, and how: its processes, ready inside `with`."""

import http.client
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.load import Entry, body
from benchmarks.postgres import Postgres
from benchmarks.processes import Child, wait_until
from tests.support.children import free_port
from tests.support.rabbitmq import RabbitNode

START_SECONDS = 60.0
# Calls of one service in flight at once, of every subject.
GREENLETS = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run of a subject happens.

    Attributes:
        directory: for its files; it outlives a restart.
        admin_port: of mspc's operators' door.
        queue: the name of its queue on RabbitMQ, or of its database.
        node: the RabbitMQ node, None for a subject that needs none.
        postgres: the same.
        settings: more of them, for mspc only.
    """

    directory: Path
    port: int
    admin_port: int
    queue: str
    node: RabbitNode | None
    postgres: Postgres | None
    settings: dict[str, str]

    @property
    def broker(self) -> str:
        assert self.node is not None
        return f"amqp://guest:guest@{self.node.host}:{self.node.port}/%2F"

    @property
    def database(self) -> str:
        assert self.postgres is not None
        return self.postgres.url(self.queue)

    @property
    def data(self) -> Path:
        """The DATA_DIR of mspc."""
        return self.directory / "data"

    @property
    def servers(self) -> list[int]:
        """The processes that keep its calls and are not its own."""
        used = (self.node, self.postgres)
        return [server.pid for server in used if server is not None]


@dataclass(frozen=True, slots=True)
class Command:
    """One process of a subject."""

    name: str
    arguments: list[str]
    environment: dict[str, str]


def _nothing(_: Place) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that does the work.

    Attributes:
        queue: `sqlite`, `classic`, `quorum` or `postgresql`.
        settings: how it is set up, for people to read.
        journal: whether it keeps what became of each call.
        path: where calls are posted to.
        body: how a call to a URL is written.
        ready: the path that answers 200 once calls are accepted.
        prepare: what is done then, before the first call.
    """

    key: str
    title: str
    product: str
    queue: str
    commands: Callable[[Place], list[Command]]
    settings: tuple[str, ...]
    journal: bool = False
    path: str = "/"
    body: Callable[[str], bytes] = body
    ready: str = "/health/ready"
    prepare: Callable[[Place], None] = _nothing

    @property
    def needs_node(self) -> bool:
        return self.queue in ("classic", "quorum")

    @property
    def needs_postgres(self) -> bool:
        return self.queue == "postgresql"


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
            self.subject.prepare(self.place)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.place.port}/"

    def entry(self, target_url: str) -> Entry:
        """Where a call to the target is posted, and how it is written."""
        path = self.subject.path.removeprefix("/")
        return Entry(f"{self.url}{path}", self.subject.body(target_url))

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
            client.request("GET", self.subject.ready)
            return client.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            client.close()

    def stop(self) -> None:
        for child in self._children:
            child.stop()


def new_place(
    directory: Path,
    node: RabbitNode | None,
    postgres: Postgres | None,
    queue: str,
    settings: dict[str, str] | None = None,
) -> Place:
    directory.mkdir()
    ports = free_port(), free_port()
    return Place(directory, *ports, queue, node, postgres, settings or {})
