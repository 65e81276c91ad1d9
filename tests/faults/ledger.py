"""The target: a service that writes down every attempt and behaves as told."""

import contextlib
import hashlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer

from tests.faults.checker import Hit
from tests.support.children import free_port

_LINGER_ZERO = struct.pack("ii", 1, 0)
_LONGEST_HANG_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of one attempt.

    Attributes:
        status: of the answer; 0 for none: the connection is held until it is closed.
        delay: seconds until the answer, or until the connection is reset.
        reset: a RST instead of an answer.
        closes: the connection is closed without a byte of an answer.
        raw: writes to the connection in place of an answer, which is closed afterwards;
            `status` is what mspc should make of it.
    """

    status: int = 200
    delay: float = 0.0
    reset: bool = False
    closes: bool = False
    raw: Callable[[socket.socket], None] | None = None


# Gets the call's id and the number of the attempt, from 1.
Behaviour = Callable[[str, int], Answer]


def ok(call_id: str, attempt: int) -> Answer:
    """Answers 200 at once."""
    return Answer()


def hang(call_id: str, attempt: int) -> Answer:
    """Reads the request and never answers."""
    return Answer(0)


def reset(call_id: str, attempt: int) -> Answer:
    """Reads the request and resets the connection."""
    return Answer(0, reset=True)


def status(code: int) -> Behaviour:
    return lambda call_id, attempt: Answer(code)


def slow(seconds: float) -> Behaviour:
    """Answers 200 after `seconds`."""
    return lambda call_id, attempt: Answer(delay=seconds)


def fail_first(k: int, *, every: int = 1, code: int = 500) -> Behaviour:
    """Answers `code` to the first `k` attempts of one call in `every`."""

    def behave(call_id: str, attempt: int) -> Answer:
        chosen = int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:4]) % every
        return Answer(code if chosen == 0 and attempt <= k else 200)

    return behave


class Ledger:
    """A small HTTP/1.1 server on 127.0.0.1 that answers 200 unless told otherwise.

    Attributes:
        hits: every attempt so far, in order of arrival.
        attempts: how many of them each call has had.
        delivered: the calls that were answered 2xx.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.hits: list[Hit] = []
        self.attempts: Counter[str] = Counter()
        self.delivered: set[str] = set()
        self._behaviour: Behaviour = ok
        self._server: StreamServer | None = None
        self._missing: list[tuple[set[str], Event]] = []

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def behave(self, behaviour: Behaviour) -> None:
        """From now on, for attempts that arrive."""
        self._behaviour = behaviour

    def listen(self) -> None:
        """On the same port each time."""
        if self._server is None:
            address = ("127.0.0.1", self.port)
            self._server = StreamServer(
                address, self._serve, spawn=Pool(), backlog=1024
            )
            self._server.start()

    def refuse(self) -> None:
        """Cuts every connection and refuses new ones until `listen()`."""
        if self._server is not None:
            self._server.stop(timeout=0)
            self._server = None

    def wait_delivered(self, ids: Iterable[str], timeout: float) -> set[str]:
        """Waits until each of `ids` was answered 2xx; those that were not."""
        missing = set(ids) - self.delivered
        done = Event()
        if missing:
            self._missing.append((missing, done))
            done.wait(timeout)
            self._missing.remove((missing, done))
        return missing

    def wait_any_delivered(self, ids: set[str], timeout: float) -> bool:
        """Waits until one of `ids`, which may grow meanwhile, was answered 2xx."""
        deadline = time.monotonic() + timeout
        while not (ids & self.delivered):
            if time.monotonic() >= deadline:
                return False
            gevent.sleep(0.01)
        return True

    def quiet(self, seconds: float, timeout: float) -> bool:
        """Waits until nothing has come for `seconds`; whether that was so in time."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            last = self.hits[-1].at if self.hits else 0.0
            left = last + seconds - time.monotonic()
            if left <= 0:
                return True
            gevent.sleep(min(left, max(0.0, deadline - time.monotonic())))
        return False

    def _serve(self, connection: socket.socket, address: object) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError, ValueError), connection.makefile("rb") as raw:
            used = False
            while (hit := self._read(raw)) is not None:
                answer = self._behaviour(hit.id, self.attempts[hit.id])
                try:
                    going_on = self._answer(connection, hit, answer)
                finally:
                    hit.ended = hit.ended or time.monotonic()
                if used and (answer.reset or answer.closes):
                    # No attempt: the age of the connection is the reason, as far as
                    # mspc can know, so that it sends the call again at once.
                    self.hits.remove(hit)
                    self.attempts[hit.id] -= 1
                if not going_on:
                    return
                used = True

    def _read(self, raw: IO[bytes]) -> Hit | None:
        line = raw.readline()
        if not line.endswith(b"\r\n"):
            return None
        method, path, _ = line.decode("latin-1").split(" ")
        headers: dict[str, str] = {}
        while (line := raw.readline()) != b"\r\n":
            if not line.endswith(b"\r\n"):
                return None
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        body = raw.read(length)
        if len(body) < length:
            return None
        call_id = path.removeprefix("/call/")
        correct = (
            method == "POST"
            and headers.get("content-type") == "application/json"
            and headers.get("x-check") == hashlib.sha256(body).hexdigest()
            and body.startswith(f'{{"id": "{call_id}",'.encode())
        )
        hit = Hit(call_id, time.monotonic(), correct)
        self.hits.append(hit)
        self.attempts[call_id] += 1
        return hit

    def _answer(self, connection: socket.socket, hit: Hit, answer: Answer) -> bool:
        """Whether another request may follow."""
        answers = answer.status or answer.reset or answer.closes or answer.raw
        wait = answer.delay if answers else _LONGEST_HANG_SECONDS
        if wait and _closed_within(connection, wait):
            return False
        if answer.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        if answer.raw is not None:
            if answer.status:  # mspc goes on as soon as it has come, not at its end
                hit.ended = time.monotonic()
            answer.raw(connection)
            self._answered(hit, answer.status)
            return False
        if answer.reset or answer.closes or not answer.status:
            return False
        phrase = HTTPStatus(answer.status).phrase
        head = f"HTTP/1.1 {answer.status} {phrase}\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(head.encode())
        self._answered(hit, answer.status)
        return True

    def _answered(self, hit: Hit, status: int) -> None:
        hit.status = status
        if not hit.succeeded:
            return
        self.delivered.add(hit.id)
        for missing, done in self._missing:
            missing.discard(hit.id)
            if not missing:
                done.set()


def _closed_within(connection: socket.socket, seconds: float) -> bool:
    """Waits `seconds`, less when the other side goes away; whether it has."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except TimeoutError:
        return False
    finally:
        connection.settimeout(None)
