"""Fixtures for every test.

As in mspc.py, patching comes before every other import.
"""

from gevent import monkey

monkey.patch_all()

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn, Protocol

import hypothesis
import pytest

from tests.support.certificates import Certificates
from tests.support.process import MspcProcess
from tests.support.rabbitmq import Broker, RabbitNode, unique_name
from tests.support.target import Target

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("mspc", deadline=None)
hypothesis.settings.load_profile("mspc")


class StartMspc(Protocol):
    """Starts an mspc that ends with the test; `wait=False` does not wait for ready."""

    def __call__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        yaml: str = "",
        arguments: tuple[str, ...] = (),
        wait: bool = True,
    ) -> MspcProcess: ...


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def rabbitmq(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Broker]:
    """A RabbitMQ: the tests' own node, or the one named by MSPC_TEST_AMQP=host:port."""
    address = os.environ.get("MSPC_TEST_AMQP")
    if address:
        host, _, port = address.rpartition(":")
        yield Broker(host, int(port))
        return
    if RabbitNode.program() is None:
        _without_rabbitmq()
    directory = tmp_path_factory.mktemp("rabbitmq")
    node = RabbitNode(directory, tls=certificates.server)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(directory / "data", ignore_errors=True)


def _without_rabbitmq() -> NoReturn:
    reason = "rabbitmq-server is not installed and MSPC_TEST_AMQP is not set"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and with CI set that is a failure", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def rabbitmq_node(rabbitmq: Broker) -> Iterator[RabbitNode]:
    """The tests' own node, to be stopped and killed; it runs again afterwards."""
    if not isinstance(rabbitmq, RabbitNode):
        pytest.skip("the RabbitMQ of MSPC_TEST_AMQP is not ours to stop")
    yield rabbitmq
    if not rabbitmq.running:
        rabbitmq.start()
    elif not rabbitmq.answers():
        rabbitmq.start_app()


@pytest.fixture
def queue_name(rabbitmq: Broker) -> Iterator[str]:
    """A name of the test's own; its queues are removed afterwards."""
    name = unique_name()
    yield name
    rabbitmq.delete_queues(name)


@pytest.fixture
def target() -> Iterator[Target]:
    """A service to be called, started."""
    target = Target()
    target.start()
    yield target
    target.stop()


@pytest.fixture
def mspc_process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartMspc]:
    """Starts the real service, any number of them.

    Afterwards each is killed, and none may have printed a traceback.
    """
    # What mspc uses is set up before it, and so removed after it has ended.
    for used in ("rabbitmq_node", "queue_name", "target"):
        if used in request.fixturenames:
            request.getfixturevalue(used)
    started: list[MspcProcess] = []

    def start(
        settings: Mapping[str, str] | None = None,
        *,
        yaml: str = "",
        arguments: tuple[str, ...] = (),
        wait: bool = True,
    ) -> MspcProcess:
        directory = tmp_path / f"mspc-{len(started)}"
        process = MspcProcess(directory, settings, yaml=yaml, arguments=arguments)
        started.append(process)
        process.start()
        if wait:
            process.wait_ready()
        return process

    yield start
    for process in started:
        process.kill()
    for process in started:
        if not process.tracebacks_allowed and "Traceback" in process.output:
            pytest.fail(f"mspc printed a traceback:\n{process.output}", pytrace=False)
