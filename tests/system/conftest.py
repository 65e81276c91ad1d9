"""Fixtures of the system tests: the real process, on each queue.

`mspc` is shared by the tests of a module; `start` gives a test processes of its own.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from tests.conftest import StartMspc
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker, unique_name
from tests.support.target import Target
from tests.support.waiting import eventually

# Short, so that a test sees several attempts; long enough to tell early from on time.
RETRY_SECONDS = 0.7

# As in the README.
SQLITE_REPLAY = """
BEGIN; INSERT INTO calls (id, accepted_at, attempts, last_error, payload)
    SELECT id, accepted_at, attempts, last_error, payload FROM dead
    WHERE reason NOT LIKE 'damaged%';
DELETE FROM dead WHERE reason NOT LIKE 'damaged%'; COMMIT;
"""


@dataclass(frozen=True, slots=True)
class QueueUnderTest:
    """A queue that belongs to one test, or to the tests of one module.

    Attributes:
        settings: with which mspc uses it.
        name: RabbitMQ's name for it.
        broker: where it is; None for the embedded queue.
    """

    settings: Mapping[str, str]
    name: str = ""
    broker: Broker | None = None

    def dead_letters(self, mspc: MspcProcess) -> int:
        """How many there are.

        RabbitMQ is asked. The embedded queue lets nobody look while mspc runs, so
        `mspc` is started anew: it says the number.
        """
        if self.broker is not None:
            with self.broker.connect() as connection, connection.channel() as channel:
                dead = channel.queue.declare(f"{self.name}.dead", passive=True)
                return int(dead["message_count"])
        mspc.terminate()
        assert mspc.wait() == 0
        mspc.restart()
        return int(mspc.wait_for_log(r"(\d+) dead letters")[1])

    def replay(self, mspc: MspcProcess) -> dict[str, object]:
        """Makes the only dead letter go again as the README says; what it told."""
        if self.broker is not None:
            eventually(lambda: self.dead_letters(mspc) == 1)  # it is logged before
            dead = self.broker.take(f"{self.name}.dead")
            assert dead is not None
            assert dead.body is not None
            properties = {name: v for name, v in dead.properties.items() if v}
            with self.broker.connect() as connection, connection.channel() as channel:
                channel.basic.publish(dead.body, self.name, properties=properties)
            told = dead.properties["headers"]
            return {
                "attempts": told["x-mspc-attempts"],
                "last_error": told["x-mspc-error"],
                "reason": told["x-mspc-reason"],
                "died_at": told["x-mspc-died-ms"] / 1000,
            }
        mspc.terminate()
        assert mspc.wait() == 0
        names = ("attempts", "last_error", "reason", "died_at")
        with closing(sqlite3.connect(mspc.data_dir / "queue.db")) as db:
            (row,) = db.execute(f"SELECT {', '.join(names)} FROM dead").fetchall()
            db.executescript(SQLITE_REPLAY)
        mspc.restart()
        return dict(zip(names, row, strict=True))


class StartOnQueue(Protocol):
    """Starts an mspc on the test's queue, ready when it returns."""

    def __call__(self, **settings: str) -> MspcProcess: ...


@pytest.fixture(scope="module", params=["sqlite", "rabbitmq"])
def queue_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def queue(request: pytest.FixtureRequest, queue_kind: str) -> QueueUnderTest:
    if queue_kind == "sqlite":
        return QueueUnderTest({"QUEUE_SCHEME": "sqlite"})
    broker: Broker = request.getfixturevalue("rabbitmq")
    name: str = request.getfixturevalue("queue_name")
    return QueueUnderTest(broker.settings(name), name, broker)


@pytest.fixture
def start(
    # In this order: what mspc uses goes after it.
    queue: QueueUnderTest,
    target: Target,
    mspc_process: StartMspc,
) -> StartOnQueue:
    def start(**settings: str) -> MspcProcess:
        delay = {"REQUEUE_FAILED_AFTER_MILLISECONDS": str(int(RETRY_SECONDS * 1000))}
        return mspc_process({**queue.settings, **delay, **settings})

    return start


@pytest.fixture(scope="module")
def shared_queue(
    request: pytest.FixtureRequest, queue_kind: str
) -> Iterator[QueueUnderTest]:
    if queue_kind == "sqlite":
        yield QueueUnderTest({"QUEUE_SCHEME": "sqlite"})
        return
    broker: Broker = request.getfixturevalue("rabbitmq")
    name = unique_name("shared")
    yield QueueUnderTest(broker.settings(name), name, broker)
    broker.delete_queues(name)


@pytest.fixture
def second_target() -> Iterator[Target]:
    """Another destination."""
    target = Target()
    target.start()
    yield target
    target.stop()


@pytest.fixture(scope="module")
def shared_mspc(
    request: pytest.FixtureRequest,
    shared_queue: QueueUnderTest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MspcProcess]:
    """With the SHARED_SETTINGS of the module, if it has any."""
    more: Mapping[str, str] = getattr(request.module, "SHARED_SETTINGS", {})
    directory: Path = tmp_path_factory.mktemp("shared") / "mspc"
    delay = {"REQUEUE_FAILED_AFTER_MILLISECONDS": str(int(RETRY_SECONDS * 1000))}
    process = MspcProcess(directory, {**shared_queue.settings, **delay, **more})
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


@pytest.fixture
def mspc(shared_mspc: MspcProcess) -> Iterator[MspcProcess]:
    """The module's process. No test may end it, nor have it print a traceback."""
    printed = len(shared_mspc.output)
    pid = shared_mspc.pid
    yield shared_mspc
    assert shared_mspc.running
    assert shared_mspc.pid == pid
    assert "Traceback" not in shared_mspc.output[printed:]
