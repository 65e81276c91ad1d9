"""A RabbitMQ for the tests: a node of their own, or one that is already there."""

import os
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path

from amqpstorm.connection import Connection
from amqpstorm.message import Message
from pamqp import commands

from tests.support.certificates import Certificate
from tests.support.children import die_with_parent, end, free_port

START_SECONDS = 90.0
STOP_SECONDS = 30.0
RETRY_LEVELS = 16
ASIDES = 16

# Where Erlang keeps what stands beside its virtual machine.
_ERLANG = Path("/usr/lib/erlang")
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"
# The shovel is what moves messages in a recipe of docs/operations.md.
_NEEDED = ("rabbitmq_prelaunch-", "rabbitmq_shovel-")

# Erlang. DETS is where Raft keeps which queues it has, and what Mnesia writes down of
# them stays in memory for up to two seconds.
_SAVE_DECLARATIONS = "[dets:sync(Table) || Table <- dets:all()], mnesia:sync_log()."


def unique_name(prefix: str = "test") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def _of_erlang(name: str) -> str | None:
    """A program that comes with Erlang; None when there is none."""
    found = shutil.which(name)
    beside = next(_ERLANG.glob(f"erts-*/bin/{name}"), None)
    return found or (str(beside) if beside else None)


class Broker:
    """A RabbitMQ that somebody else runs: guest/guest, virtual host `/`.

    Attributes:
        tls_port: where it speaks amqps, None when it does not.
        controllable: whether tests may stop it, kill it and configure it; True makes
            it a `RabbitNode`.
    """

    controllable = False
    tls_port: int | None = None

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def settings(self, queue_name: str) -> dict[str, str]:
        """The settings with which mspc uses this broker."""
        return {
            "QUEUE_SCHEME": "amqp",
            "QUEUE_HOST": self.host,
            "QUEUE_PORT": str(self.port),
            "QUEUE_NAME": queue_name,
            "RABBITMQ_DEFAULT_USER": "guest",
            "RABBITMQ_DEFAULT_PASS": "guest",
            "RABBITMQ_DEFAULT_VHOST": "/",
        }

    def connect(self) -> Connection:
        """A connection beside mspc's own, to look at queues or to fill them."""
        return Connection(self.host, "guest", "guest", port=self.port, timeout=30)

    def take(self, queue: str) -> Message | None:
        """The first message of `queue`, which is gone then."""
        with self.connect() as connection, connection.channel() as channel:
            message = channel.basic.get(queue, no_ack=True)
        assert message is None or isinstance(message, Message)
        return message

    def ready(self, *queues: str) -> int:
        """How many messages wait there in all, those that are delivered not counted."""
        with self.connect() as connection, connection.channel() as channel:
            return sum(
                int(channel.queue.declare(queue, passive=True)["message_count"])
                for queue in queues
            )

    def delete_queues(self, name: str) -> None:
        """Removes every queue that belongs to the queue `name`, if it exists."""
        waiting = [f"{name}.retry.{level}" for level in range(RETRY_LEVELS)]
        aside = [f"{name}.aside.{number}" for number in range(ASIDES)]
        names = (name, *waiting, *aside, f"{name}.dead", f"{name}.journal")
        # One write: amqpstorm polls for each answer every 10 ms.
        with self.connect() as connection, connection.channel() as channel:
            connection.write_frames(
                channel.channel_id,
                [commands.Queue.Delete(queue=queue, nowait=True) for queue in names],
            )

    def answers(self) -> bool:
        """Whether it begins the AMQP handshake: only a node that is up does."""
        try:
            with socket.create_connection((self.host, self.port), 5) as probe:
                probe.settimeout(5)
                probe.sendall(_PROTOCOL_HEADER)
                return probe.recv(1) == _METHOD_FRAME
        except OSError:
            return False


class RabbitNode(Broker):
    """A node of the tests' own, with its own epmd, both on free loopback ports.

    Everything it writes is in `directory`. `start()` after `stop()` or `kill()` finds
    the data again, on the same ports.
    """

    controllable = True

    def __init__(self, directory: Path, tls: Certificate | None = None) -> None:
        super().__init__("127.0.0.1", free_port())
        self.name = f"{unique_name('mspc')}@localhost"
        self.directory = directory
        self._tls = tls
        if tls is not None:
            self.tls_port = free_port()
        self._epmd_port = free_port()
        self._dist_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @staticmethod
    def program() -> Path | None:
        """`rabbitmq-server` itself, None when it is not installed.

        Debian's wrapper of the same name wants to be root or rabbitmq, and the node to
        be the machine's own.
        """
        behind_wrapper = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        if behind_wrapper.exists():
            return behind_wrapper
        search = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
        found = shutil.which("rabbitmq-server", path=search)
        return Path(found).resolve() if found else None

    @property
    def pid(self) -> int:
        """The Erlang VM's: it has replaced the shell that started it."""
        assert self._server is not None, "the node has not been started"
        return self._server.pid

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Returns when the node takes connections."""
        assert not self.running, "the node is running already"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        self._start_epmd()
        with (self.directory / "console.log").open("ab") as console:
            # ALLOW_INPUT lets the shell become the Erlang VM instead of its parent, so
            # that a signal meets the VM; -noinput takes the console away again.
            self._server = subprocess.Popen(
                [str(self._script("rabbitmq-server")), "-noinput"],
                env=self._environment() | {"RABBITMQ_ALLOW_INPUT": "true"},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        self._wait_until_up()

    def stop(self) -> None:
        """Ends the node in order, and its epmd; returns when both are gone."""
        if self._server is not None:
            end(self._server, STOP_SECONDS)
        if self._epmd is not None:
            end(self._epmd, STOP_SECONDS)

    def stop_app(self) -> None:
        """Ends the broker in order, in a virtual machine that stays.

        Its clients cannot tell, and it is there again for a part of the processor
        time: most of a start is loading code.
        """
        self.eval("rabbit:stop().")

    def start_app(self) -> None:
        """Returns when the broker of `stop_app()` takes connections again."""
        self.eval("rabbit:start().")
        self._wait_until_up()

    def kill(self) -> None:
        """Ends the node at once, without any order.

        Quorum queues declared so far are saved first. RabbitMQ saves a declaration
        half a second late, and a node killed before that loses the queue's content,
        confirmed or not, and leaves it without a leader (seen with 3.10;
        rabbitmq-server #10070). `signal(SIGKILL)` kills without this.
        """
        assert self._server is not None, "the node has not been started"
        self.eval(_SAVE_DECLARATIONS)
        self._server.kill()
        self._server.wait(STOP_SECONDS)

    def signal(self, number: int) -> None:
        """SIGSTOP and SIGCONT, for example."""
        os.kill(self.pid, number)

    def ctl(self, *arguments: str, timeout: float = 60) -> str:
        """Runs rabbitmqctl on this node and returns what it prints."""
        done = subprocess.run(
            [str(self._script("rabbitmqctl")), "--silent", "-n", self.name, *arguments],
            env=self._environment(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"rabbitmqctl {' '.join(arguments)}: {printed}"
        return done.stdout

    def eval(self, expression: str) -> None:
        """As `rabbitmqctl eval`, which starts a virtual machine of its own first."""
        program = _of_erlang("erl_call")
        if program is None:
            self.ctl("eval", expression)
            return
        done = subprocess.run(
            [program, "-address", f"{self.host}:{self._dist_port}", "-e"],
            input=f"{expression}\n",
            env=self._environment(),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.stdout.startswith("{ok,"), f"{expression}: {said}"

    def close_connections(self, reason: str) -> None:
        """As `rabbitmqctl close_all_connections`."""
        self.eval(
            "rabbit_networking:close_connections("
            f'rabbit_networking:connections(), <<"{reason}">>).'
        )

    def _script(self, name: str) -> Path:
        program = self.program()
        assert program is not None, "rabbitmq-server is not installed"
        return program.with_name(name)

    def _write_configuration(self) -> None:
        lines = ["log.file.level = info"]
        if self._tls is not None:
            lines += [
                f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
                f"ssl_options.certfile = {self._tls.crt}",
                f"ssl_options.keyfile = {self._tls.key}",
                "ssl_options.verify = verify_none",
            ]
        (self.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.directory / "enabled_plugins").write_text("[].\n")
        self._leave_plugins_out()

    def _leave_plugins_out(self) -> None:
        """Of the code, but for one: it begins in half of the processor time.

        Each module is looked for in each of their forty directories.
        """
        there = self._script("rabbitmq-server").resolve().parents[1] / "plugins"
        home = self.directory / "home"
        for one in there.glob("*"):
            link = home / "plugins" / one.name
            if not one.name.startswith("rabbitmq_") or one.name.startswith(_NEEDED):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(one)
        if home.exists():  # the scripts set it themselves, and read this afterwards
            conf = self.directory / "rabbitmq-env.conf"
            conf.write_text(f"RABBITMQ_HOME={home}\nPLUGINS_DIR={home}/plugins\n")

    def _environment(self) -> dict[str, str]:
        here = self.directory
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        return {
            **kept,
            "HOME": str(here),  # the Erlang cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": self.host,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(here / "data"),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_PID_FILE": str(here / "pid"),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(here / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(here / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(here / "generated"),
            # Otherwise the VM starts an epmd that outlives it; and its idle threads
            # spin a while, on processors that the other tests need.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
                " +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
            "RABBITMQ_CTL_ERL_ARGS": "-start_epmd false",
        }

    def _start_epmd(self) -> None:
        if self._epmd is not None and self._epmd.poll() is None:
            return
        program = _of_erlang("epmd") or "epmd"
        self._epmd = subprocess.Popen(
            [program, "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if not self.running or time.monotonic() > deadline:
                self.stop()
                console = (self.directory / "console.log").read_text(errors="replace")
                raise AssertionError(f"the RabbitMQ node did not start:\n{console}")
            time.sleep(0.1)
