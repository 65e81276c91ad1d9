"""The RabbitMQ nodes of a run: private, on loopback, started when first wanted."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.support.children import free_port
from tests.support.rabbitmq import (
    START_SECONDS,
    STOP_SECONDS,
    Broker,
    RabbitNode,
)
from tests.support.waiting import eventually

# Names a command: start PORT (prints the pid), ctl PORT ARG..., kill PORT, stop PORT.
# Its nodes are called t<PORT>@localhost and may form a cluster.
RABBITMQ4 = "MSPC_TEST_RABBITMQ4"

_SAVE_DECLARATIONS = "[dets:sync(Table) || Table <- dets:all()]."


class NotInjected(Exception):
    """The fault cannot be injected here; says why."""


class ScriptedNode(Broker):
    """A RabbitMQ node behind a command; the methods are those of `RabbitNode`."""

    controllable = True

    def __init__(self, command: str) -> None:
        super().__init__("127.0.0.1", free_port())
        self._command = command
        self._pid: int | None = None

    @property
    def name(self) -> str:
        """By which other nodes know it."""
        return f"t{self.port}@localhost"

    @property
    def pid(self) -> int:
        assert self._pid is not None, "the node has not been started"
        return self._pid

    @property
    def running(self) -> bool:
        return self._pid is not None and _alive(self._pid)

    def start(self) -> None:
        """Returns when the node takes connections; its data is there again."""
        assert not self.running, "the node is running already"
        self._pid = int(self._run("start", timeout=600).split()[-1])
        eventually(self.answers, START_SECONDS)

    def stop(self) -> None:
        """Ends the node in order; its data stays."""
        if self.running:
            self.signal(signal.SIGTERM)
            self._gone()

    def kill(self) -> None:
        """As `RabbitNode.kill()`: declarations are saved first."""
        self.ctl("eval", _SAVE_DECLARATIONS)
        self._run("kill")
        self._gone()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ctl(self, *arguments: str, timeout: float = 60) -> str:
        """Runs rabbitmqctl on this node and returns what it prints."""
        return self._run("ctl", *arguments, timeout=timeout)

    def discard(self) -> None:
        """Ends it and deletes its data."""
        self._run("stop")

    def _gone(self) -> None:
        eventually(lambda: not self.running, STOP_SECONDS)

    def _run(self, verb: str, *arguments: str, timeout: float = 60) -> str:
        # Into files: the node keeps the descriptors that its starter inherited.
        done = subprocess.run(
            [self._command, verb, str(self.port), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{verb} {' '.join(arguments)}: {printed}"
        return done.stdout


class NodeBeside(RabbitNode):
    """A node that can join another one: it has that one's epmd and cookie."""

    def __init__(self, directory: Path, other: RabbitNode) -> None:
        super().__init__(directory)
        self._other = other
        self._epmd_port = other._epmd_port

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        cookie = ".erlang.cookie"
        if not (self.directory / cookie).exists():
            shutil.copy2(self._other.directory / cookie, self.directory)
        super().start()

    def _start_epmd(self) -> None:
        pass  # the other one's does for both


Node = RabbitNode | ScriptedNode


class Nodes:
    """Starts each kind of broker once and keeps it for the rows that follow."""

    def __init__(self, directory: Path, given: Broker | None = None) -> None:
        """`given`: use this one for everything but RabbitMQ 4."""
        self._directory = directory
        self._given = given
        self._shared: dict[str, Broker] = {}
        self._made: list[Node] = []
        self._versions: dict[str, str] = {}

    def broker(self, queue: str) -> Broker:
        """The one for a kind of queue, running.

        Raises:
            NotInjected: there is none.
        """
        version = _major(queue)
        if version not in self._shared:
            address = os.environ.get("MSPC_TEST_AMQP")
            if version == "3" and self._given is not None:
                self._shared[version] = self._given
            elif version == "3" and address:
                host, _, port = address.rpartition(":")
                self._shared[version] = Broker(host, int(port))
            else:
                self._shared[version] = self.fresh(queue)
        broker = self._shared[version]
        if isinstance(broker, RabbitNode | ScriptedNode):
            _wake(broker)
        return broker

    def fresh(self, queue: str, beside: Node | None = None) -> Node:
        """One that is nobody else's, started; able to join `beside`."""
        node = self._make(queue, beside)
        self._made.append(node)
        node.start()
        kind = f"RabbitMQ {_major(queue)}"
        if kind not in self._versions:
            self._versions[kind] = node.ctl("version").split()[-1]
        return node

    def cluster(self, queue: str, count: int) -> list[Node]:
        """That many fresh ones, which know each other."""
        first = self.fresh(queue)
        others = [self.fresh(queue, first) for _ in range(count - 1)]
        for node in others:
            node.ctl("stop_app")
            node.ctl("join_cluster", first.name)
            node.ctl("start_app")
        return [first, *others]

    def discard(self, node: Node) -> None:
        """Ends it and deletes its data."""
        if node in self._made:
            self._made.remove(node)
        if isinstance(node, ScriptedNode):
            node.discard()
        else:
            if node.running:
                node.signal(signal.SIGKILL)  # an orderly end waits for other nodes
            node.stop()
            shutil.rmtree(node.directory, ignore_errors=True)

    def stop(self) -> None:
        for node in self._made[::-1]:
            self.discard(node)

    def versions(self) -> dict[str, str]:
        """Of the nodes that were used."""
        return dict(sorted(self._versions.items()))

    def _make(self, queue: str, beside: Node | None) -> Node:
        if _major(queue) == "4":
            command = os.environ.get(RABBITMQ4)
            if not command:
                raise NotInjected("no RabbitMQ 4")
            return ScriptedNode(command)
        if RabbitNode.program() is None:
            raise NotInjected("no rabbitmq-server")
        directory = self._directory / f"node-{len(self._made)}-{time.time_ns()}"
        if isinstance(beside, RabbitNode):
            return NodeBeside(directory, beside)
        return RabbitNode(directory)


def _major(queue: str) -> str:
    """The version of RabbitMQ that a kind of queue stands for."""
    return "4" if queue.endswith("4") else "3"


def _wake(node: Node) -> None:
    """Whatever the row before has done to it: it runs."""
    if node.running:
        node.signal(signal.SIGCONT)
    else:
        node.start()


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
