"""A service that mspc calls: a real HTTP/1.1 server that records what arrives."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, Literal

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from tests.support.children import free_port

Fault = Literal["reset", "hang", "garbage"]

_GARBAGE = b"\x00\xff this is not HTTP \xfe\x01\r\n\r\n"
_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Hit:
    """One request, as it came over the wire.

    Attributes:
        path: the request target, query included.
        headers: by lower-cased name; a repeated one joined with ", ".
        header_lines: name and value in the order and the case of the wire.
        body: without the framing, when it was chunked.
        at: `time.monotonic()` when the last byte had come.
    """

    method: str
    path: str
    headers: dict[str, str]
    header_lines: tuple[tuple[str, str], ...]
    body: bytes
    at: float


@dataclass(slots=True)
class _Answer:
    status: int
    delay: float
    headers: Mapping[str, str]
    body: bytes
    times: int | None


@dataclass(slots=True)
class _Script:
    """The answers of one path: each `times` times, in order, the last one forever."""

    answers: list[_Answer] = field(default_factory=list)

    def next(self) -> _Answer | None:
        while self.answers:
            first = self.answers[0]
            if first.times is None:
                return first
            if first.times > 0:
                first.times -= 1
                return first
            self.answers.pop(0)
        return None


class Target:
    """Answers 200 unless told otherwise. On 127.0.0.1, started by `start()`.

    Attributes:
        fault: what is wrong with every connection: `reset` (RST as soon as it is
            accepted), `hang` (the request is read and never answered), `garbage` (it
            is answered by something else than HTTP); None for nothing.
        hits: every request so far, in order of arrival.
        connections: how many connections have been accepted so far.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.fault: Fault | None = None
        self.hits: list[Hit] = []
        self.connections = 0
        self._tls = tls
        self._scripts: dict[str | None, _Script] = {}
        self._arrived = threading.Condition()
        self._server: StreamServer | None = None

    def start(self) -> None:
        """Listens, on the same port each time."""
        assert self._server is None, "the target is running already"
        server = StreamServer(("127.0.0.1", self.port), self._serve, spawn=Pool())
        server.start()
        self._server = server

    def stop(self) -> None:
        """Cuts every connection and refuses new ones until `start()`."""
        if self._server is not None:
            self._server.stop(timeout=0)
            self._server = None

    def url(self, path: str = "/") -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def answer(
        self,
        path: str | None = None,
        *,
        status: int = 200,
        delay: float = 0.0,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        times: int | None = None,
    ) -> None:
        """Scripts an answer, to be given after those scripted before for the path.

        Args:
            path: with its query or without; None for every path without a script.
            status: the status code.
            delay: seconds between the request's last byte and the answer.
            headers: more of them; Content-Length is there already unless named here.
            body: the answer's content.
            times: for how many requests; None for all that follow. Then comes the next
                scripted answer, or 200.
        """
        answer = _Answer(status, delay, headers or {}, body, times)
        self._scripts.setdefault(path, _Script()).answers.append(answer)

    def forget(self, path: str) -> None:
        """What was scripted for the path: 200 is answered there again."""
        self._scripts.pop(path, None)

    def hits_of(self, path: str | None = None) -> list[Hit]:
        """The requests to `path`, with its query or without; None for all."""
        return [hit for hit in self.hits if path is None or path in _names(hit.path)]

    def wait_for(
        self, count: int, path: str | None = None, timeout: float = 15
    ) -> list[Hit]:
        """Waits until `count` requests have come and returns all that have."""
        place, found = 0, 0

        def enough() -> bool:
            nonlocal place, found  # each is looked at once: there may be thousands
            new = self.hits[place:]
            place += len(new)
            found += sum(path is None or path in _names(hit.path) for hit in new)
            return found >= count

        with self._arrived:
            came_all = self._arrived.wait_for(enough, timeout)
        if not came_all:
            came = "\n".join(f"  {hit.method} {hit.path}" for hit in self.hits)
            raise AssertionError(
                f"{len(self.hits_of(path))} of {count} requests to "
                f"{path or 'any path'} came within {timeout} s; all that came:\n"
                f"{came or '  none'}"
            )
        return self.hits_of(path)

    def _serve(self, connection: socket.socket, address: object) -> None:
        self.connections += 1
        if self.fault == "reset":
            # Closing with a linger time of zero sends RST instead of FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            connection.close()
            return
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while self._exchange(connection, stream):
                    pass
        except OSError:
            pass  # the client has gone, or would not trust the certificate

    def _exchange(self, connection: socket.socket, stream: IO[bytes]) -> bool:
        """One request and its answer; whether another one may follow."""
        hit = _read_request(stream)
        if hit is None:
            return False
        with self._arrived:
            self.hits.append(hit)
            self._arrived.notify_all()
        if self.fault == "hang":
            gevent.sleep(3_600)
        if self.fault == "garbage":
            connection.sendall(_GARBAGE)
            return False
        answer = self._scripted(hit.path)
        if answer.delay:
            gevent.sleep(answer.delay)
        connection.sendall(_encode(answer, hit.method))
        return hit.headers.get("connection", "").lower() != "close"

    def _scripted(self, path: str) -> _Answer:
        for name in (*_names(path), None):
            answer = self._scripts.get(name, _Script()).next()
            if answer is not None:
                return answer
        return _Answer(200, 0.0, {}, b"", None)


def _names(path: str) -> tuple[str, str]:
    return path, path.partition("?")[0]


def _read_request(stream: IO[bytes]) -> Hit | None:
    """The next request; None when the client ends before it is complete."""
    request_line = stream.readline()
    if not request_line.endswith(b"\r\n"):
        return None
    method, path, _version = request_line.decode("latin-1").split(" ")
    lines: list[tuple[str, str]] = []
    while (line := stream.readline()) != b"\r\n":
        if not line.endswith(b"\r\n"):
            return None
        name, _, value = line.decode("latin-1").partition(":")
        lines.append((name, value.strip(" \t\r\n")))
    headers: dict[str, str] = {}
    for name, value in lines:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    body = _read_body(stream, headers)
    if body is None:
        return None
    return Hit(method, path, headers, tuple(lines), body, time.monotonic())


def _read_body(stream: IO[bytes], headers: dict[str, str]) -> bytes | None:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _read_chunks(stream)
    length = int(headers.get("content-length", "0"))
    body = stream.read(length)
    return body if len(body) == length else None


def _read_chunks(stream: IO[bytes]) -> bytes | None:
    body = b""
    while (line := stream.readline()).endswith(b"\r\n"):
        size = int(line.partition(b";")[0], 16)
        chunk = stream.read(size + 2)
        if len(chunk) < size + 2:
            return None
        if size == 0:
            return body
        body += chunk[:-2]
    return None


def _encode(answer: _Answer, method: str) -> bytes:
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = ""
    has_body = answer.status >= 200 and answer.status not in (204, 304)
    lengths = {"Content-Length": str(len(answer.body))} if has_body else {}
    if any(name.lower() == "content-length" for name in answer.headers):
        lengths = {}
    lines = [f"HTTP/1.1 {answer.status} {reason}"]
    lines += [
        f"{name}: {value}" for name, value in (lengths | {**answer.headers}).items()
    ]
    head = "\r\n".join(lines) + "\r\n\r\n"
    body = answer.body if has_body and method != "HEAD" else b""
    return head.encode("latin-1") + body
