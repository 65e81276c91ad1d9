"""Large requests that come slowly take no more memory than there is room for."""

import json
import select
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from mspc.serving.room import FREE_BYTES, ROOM_BYTES
from tests.conftest import StartMspc
from tests.support.target import Target

SIZE = 1_000_000
FULL = ROOM_BYTES // SIZE  # so many have room
MORE = 3


def call(target: Target, path: str, size: int) -> bytes:
    """The JSON of a call, of exactly so many bytes."""
    empty = json.dumps({"url": target.url(path), "body": '""'}).encode()
    body = json.dumps("x" * (size - len(empty)))
    return json.dumps({"url": target.url(path), "body": body}).encode()


class Sender:
    """Sends one large call, in two parts."""

    def __init__(self, port: int, payload: bytes, *, chunked: bool) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=40)
        self._first, self._rest = payload[: FREE_BYTES + 1], payload[FREE_BYTES + 1 :]
        self._chunked = chunked

    def begin(self) -> None:
        length, first = f"Content-Length: {SIZE}", self._first
        if self._chunked:
            length = "Transfer-Encoding: chunked"
            first = b"%x\r\n%b\r\n" % (len(first), first)
        head = f"POST / HTTP/1.1\r\nHost: here\r\n{length}\r\n\r\n"
        self._socket.sendall(head.encode() + first)

    def end(self) -> None:
        rest = self._rest
        if self._chunked:
            rest = b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest)
        self._socket.sendall(rest)

    def answer(self) -> str:
        read = b""
        while b"\r\n\r\n" not in read and (data := self._socket.recv(65_536)):
            read += data
        return read.decode()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def make(*given: Any, **options: Any) -> Sender:
        made.append(Sender(*given, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_others_are_served_and_the_rest_is_told_to_come_again(
    mspc_process: StartMspc,
    target: Target,
    sender: Callable[..., Sender],
    chunked: bool,
) -> None:
    mspc = mspc_process({"MAX_REQUEST_BYTES": str(SIZE)})
    payload = call(target, "/large", SIZE)
    make = partial(sender, mspc.http_port, payload, chunked=chunked)
    slow = [make() for _ in range(FULL + MORE)]
    for one in slow:
        one.begin()
    assert mspc.post({"url": target.url("/small")}).status == 202
    target.wait_for(1, "/small")
    while len(slow) > FULL:
        late = select.select(slow, [], [], 40)[0][0]
        slow.remove(late)
        told = late.answer()
        assert told.startswith("HTTP/1.1 503 ")
        assert "\r\nretry-after: 1\r\n" in told
        assert "\r\nConnection: close\r\n" in told
        assert '"code": "crowded"' in told
    for one in slow:
        one.end()
    for one in slow:
        assert one.answer().startswith("HTTP/1.1 202 ")
    again = make()
    again.begin()
    again.end()
    assert again.answer().startswith("HTTP/1.1 202 ")
    target.wait_for(FULL + 1, "/large")
