"""--check says what is wrong: a container's health log shows it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from gevent.server import StreamServer

from mspc.process import healthcheck
from mspc.settings.config import HttpConfig
from tests.support.children import free_port


@contextmanager
def answering(content: bytes, host: str = "127.0.0.1") -> Iterator[HttpConfig]:
    def handle(client: socket.socket, address: object) -> None:
        client.recv(65_536)
        client.sendall(content)
        client.close()

    server = StreamServer((host, 0), handle)
    server.start()
    try:
        yield HttpConfig(host=host, port=int(server.address[1]))
    finally:
        server.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_it_lives(host: str) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", host) as config:
        assert healthcheck.check(config) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", " answers 503."),
        (b"HTTP/1.1 307 No\r\nContent-Length: 0\r\n\r\n", " answers 307."),
        (b"", "gives no answer: Remote end closed connection without response."),
        (b"SSH-2.0-x\r\n", r"gives no answer in HTTP: 'SSH-2.0-x\r\n'."),
    ],
)
def test_what_it_answers(content: bytes, told: str) -> None:
    with answering(content) as config:
        problem = healthcheck.check(config)
    assert problem is not None
    assert problem.startswith(f"http://127.0.0.1:{config.port}/health/live ")
    assert told in problem
    assert "\n" not in problem


def test_nobody_listens() -> None:
    port = free_port()
    assert healthcheck.check(HttpConfig(port=port)) == (
        f"http://127.0.0.1:{port}/health/live gives no answer: Connection refused."
        " Does mspc run with these settings?"
    )


def test_no_tls_where_tls_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/none/keys")  # no business of ours
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as plain:
        config = HttpConfig(host=plain.host, tls=True, https_port=plain.port)
        problem = healthcheck.check(config)
    assert problem is not None
    assert problem.startswith(f"https://127.0.0.1:{plain.port}/health/live gives no")


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healthcheck, "TIMEOUT_SECONDS", 0.05)
    server = StreamServer(("127.0.0.1", 0), lambda *_: gevent.sleep(60))
    server.start()
    try:
        problem = healthcheck.check(HttpConfig(port=int(server.address[1])))
    finally:
        server.stop(timeout=0)
    assert problem is not None
    assert "gives no answer: timed out" in problem
