"""A tiny application, and raw clients of it."""

import json
import shutil
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from gevent.event import Event

from mspc.serving.server import Server
from tests.support.certificates import Certificate

LOCAL = "127.0.0.1"
SOON = 10.0  # seconds within which everything expected happens
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: here\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class App:
    """Echoes the body; what a path does instead is in `__call__`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bytes]] = []
        self.environ: dict[str, Any] = {}
        self.failures: list[OSError] = []
        self.entered = Event()
        self.release = Event()

    def __call__(self, env: dict[str, Any], respond: Any) -> Iterable[bytes]:
        self.environ = env
        method, path = env["REQUEST_METHOD"], env["PATH_INFO"]
        if path == "/bug":
            raise OSError  # without arguments, as some are
        if path == "/unread":
            return self._answer(respond, "413 Content Too Large", b"too large")
        if path == "/stream":
            respond("200 OK", [("Content-Type", "x/y")])
            return iter([b"one", b"two"])
        if path == "/part":
            body = env["wsgi.input"].read(4)
            return self._answer(respond, "413 Content Too Large", body)
        try:
            body = env["wsgi.input"].read(10_000_000)
        except OSError as exc:
            self.failures.append(exc)
            if path == "/careless":
                raise
            return self._answer(respond, "400 Bad Request", b"broken body")
        self.calls.append((method, env["PATH_INFO"], body))
        if path == "/wait":
            self.entered.set()
            assert self.release.wait(SOON)
        return self._answer(respond, "200 OK", body)

    def _answer(self, respond: Any, status: str, body: bytes) -> Iterable[bytes]:
        respond(status, [("Content-Type", "x/y"), ("Content-Length", str(len(body)))])
        return [body]


class Answer:
    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines)
        self.body = body

    @property
    def message(self) -> str:
        assert self.headers["content-type"] == "application/json; charset=utf-8"
        answer = json.loads(self.body)
        assert answer["error"] is True
        return str(answer["message"])


class Client:
    """A raw connection."""

    def __init__(self, port: int | None, sock: socket.socket | None = None) -> None:
        assert port
        self.sock = sock or socket.create_connection((LOCAL, port), timeout=SOON)
        self.file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self) -> Answer:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.file.readline()
            assert line, f"closed after {head!r}"
            head += line
        answer = Answer(head[:-4], b"")
        answer.body = self.file.read(int(answer.headers.get("content-length", 0)))
        return answer

    def ask(self, data: bytes) -> Answer:
        self.send(data)
        return self.answer()

    def rest(self) -> bytes:
        """What comes until the server closes."""
        try:
            return self.file.read()
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self.file.close()
        self.sock.close()


Start = Callable[..., Server]
Connect = Callable[..., Client]


def allow(caplog: pytest.LogCaptureFixture, *texts: str) -> None:
    caplog.allowed = texts  # type: ignore[attr-defined]


def install(certificate: Certificate, directory: Path) -> None:
    shutil.copy(certificate.crt, directory / "server.crt")
    shutil.copy(certificate.key, directory / "server.key")
