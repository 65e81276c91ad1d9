"""The server on real sockets, with a tiny WSGI application behind it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mspc.serving.limits import Limits
from mspc.serving.server import Server
from mspc.settings.config import HttpConfig
from tests.integration.serving.harness import (
    LOCAL,
    SOON,
    App,
    Client,
    Connect,
    Start,
    install,
)
from tests.support.certificates import Certificates


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def start(app: App) -> Iterator[Start]:
    servers = []

    def start(**options: Any) -> Server:
        given = options.pop("limits", None)
        limits = Limits(**given) if given else None
        config = {"host": LOCAL, "port": 0, "https_port": 0, **options}
        server = Server(HttpConfig(**config), app, limits)
        servers.append(server)
        server.bind()
        server.start()
        return server

    yield start
    app.release.set()
    for server in servers:
        server.stop(SOON)


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients = []

    def connect(server: Server) -> Client:
        clients.append(Client(server.ports.http))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(start: Start, connect: Connect) -> Client:
    return connect(start())


@pytest.fixture(autouse=True)
def quiet(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Nothing that a client does gives a warning or prints anything."""
    caplog.set_level(logging.DEBUG, "mspc")
    yield
    assert capfd.readouterr().err == ""
    allowed = getattr(caplog, "allowed", ())
    for record in caplog.get_records("call"):
        if record.levelno >= logging.WARNING:
            assert any(text in record.getMessage() for text in allowed), record


@pytest.fixture
def ssl_dir(tmp_path: Path, certificates: Certificates) -> Path:
    install(certificates.server, tmp_path)
    return tmp_path
