"""What a run of the benchmarks shares: a directory, a target, clients, a RabbitMQ."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.load import Clients
from benchmarks.postgres import Postgres
from benchmarks.processes import Failed, find
from benchmarks.service import Place, Service, Subject, new_place
from benchmarks.target import Target
from tests.support.rabbitmq import RabbitNode, unique_name

Say = Callable[[str], None]

# The program, and Debian's package of it.
PROGRAMS = {"haproxy": "haproxy", "h2load": "nghttp2-client"}


def missing() -> dict[str, str]:
    """The programs that are not there, with the packages that bring them."""
    absent = {name: package for name, package in PROGRAMS.items() if not find(name)}
    if RabbitNode.program() is None:
        absent["rabbitmq-server"] = "rabbitmq-server"
    if Postgres.programs() is None:
        absent["postgres"] = "postgresql"
    return absent


class Stage:
    """Started once; everything that it has started ends with it."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self._stack = ExitStack()
        self._numbers = itertools.count()
        self._node: RabbitNode | None = None
        self._postgres: Postgres | None = None

    def __enter__(self) -> "Stage":
        temporary = tempfile.TemporaryDirectory(prefix="mspc-bench-")
        self.directory = Path(self._stack.enter_context(temporary))
        try:
            self.target = Target(self.directory / "target")
            self._stack.callback(self.target.stop)
            self.target.start()
            self.clients = Clients(self.directory / "clients")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def node(self) -> RabbitNode:
        """A RabbitMQ of our own, started when first wanted."""
        if self._node is None:
            self.say("starting RabbitMQ")
            self._node = RabbitNode(self.directory / "rabbitmq")
            self._stack.callback(self._node.stop)
            try:
                self._node.start()
            except AssertionError as exc:
                raise Failed(str(exc)) from exc
        return self._node

    @property
    def node_started(self) -> RabbitNode | None:
        return self._node

    @property
    def postgres(self) -> Postgres:
        """A PostgreSQL of our own, started when first wanted."""
        if self._postgres is None:
            self.say("starting PostgreSQL")
            # Not in our directory, which its user may not enter.
            temporary = tempfile.TemporaryDirectory(prefix="mspc-bench-pg-")
            home = Path(self._stack.enter_context(temporary))
            self._postgres = Postgres(home, self.directory)
            self._stack.callback(self._postgres.stop)
            self._postgres.start()
        return self._postgres

    @property
    def postgres_started(self) -> Postgres | None:
        return self._postgres

    @contextmanager
    def place(
        self, subject: Subject, settings: dict[str, str] | None = None
    ) -> Iterator[Place]:
        """Where it runs, once or several times; what it leaves behind is deleted."""
        directory = self.directory / f"{subject.key}-{next(self._numbers)}"
        node = self.node if subject.needs_node else None
        postgres = self.postgres if subject.needs_postgres else None
        name = unique_name("bench")
        place = new_place(directory, node, postgres, name, settings)
        if postgres is not None:
            postgres.create(name)
        try:
            yield place
        except Failed:
            self.say(_tails(directory))
            raise
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            if node is not None:
                _delete_queues(node, name)
            if postgres is not None:
                postgres.drop(name)

    @contextmanager
    def service(
        self, subject: Subject, settings: dict[str, str] | None = None
    ) -> Iterator[Service]:
        """A run of the subject, from an empty queue."""
        with self.place(subject, settings) as place, Service(subject, place) as service:
            yield service


def _delete_queues(node: RabbitNode, name: str) -> None:
    node.delete_queues(name)
    with node.connect() as connection, connection.channel() as channel:
        for suffix in (".DQ", ".XQ"):  # Dramatiq's
            channel.queue.delete(f"{name}{suffix}")


def _tails(directory: Path) -> str:
    logs = sorted(directory.glob("*.log"))
    return "\n".join(f"{log.name}: {log.read_text()[-1_500:]}" for log in logs)
