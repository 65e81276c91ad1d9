"""What follows a status line: whether the connection can be used again, and when."""

import pytest

from mspc.forwarding.answer import AnswerReader
from mspc.forwarding.rest import ANSWER_BYTES, State

OK = b"HTTP/1.1 200 OK\r\n"


def state_of(data: bytes, method: str = "GET", at_once: int = 10**9) -> State:
    reader = AnswerReader(method)
    at = 0
    while not reader.status:
        reader.feed(data[at : at + at_once])
        at += at_once
    rest = reader.rest()
    while at < len(data) and rest.state in (State.COMING, State.LEAVING):
        rest.feed(data[at : at + at_once])
        at += at_once
    return rest.state


@pytest.mark.parametrize("at_once", [1, 7, 10**9])
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 0\r\n\r\n",
        b"content-length:5\r\n\r\nhello",
        b"Content-Length: 5, 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n00\r\nX: y\r\n\r\n",
        b"Content-Length: %d\r\n\r\n" % ANSWER_BYTES + b"x" * ANSWER_BYTES,
        b"X: a\r\n folded\r\nno colon\r\nContent-Length: 0\r\n\r\n",
        b"Content-Length: 2\n\nno",  # as lenient as others are
        b"X: y\r\n" * 99 + b"Content-Length: 0\r\n\r\n",
    ],
)
def test_a_connection_whose_answer_has_ended_can_be_used_again(
    rest: bytes, at_once: int
) -> None:
    for length in range(1, len(rest), max(1, len(rest) // 20)):
        begun = state_of(OK + rest[:-length], at_once=at_once)
        assert begun is State.COMING
    assert state_of(OK + rest, at_once=at_once) is State.ENDED


@pytest.mark.parametrize(
    "rest",
    [
        b"Connection: close\r\nContent-Length: 9\r\n\r\nhalf",
        b"\r\nuntil it is closed",
        b"Content-Length: many\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("at_once", [1, 10**9])
def test_one_of_which_nobody_knows_the_end_cannot(rest: bytes, at_once: int) -> None:
    assert state_of(OK + rest, at_once=at_once) is State.LEAVING


@pytest.mark.parametrize(
    "rest",
    [
        b"Connection: close\r\nContent-Length: 0\r\n\r\n",
        b"connection: Upgrade, CLOSE\r\nContent-Length: 0\r\n\r\n",
        b"\r\n" + b"x" * (ANSWER_BYTES + 1),
        b"Content-Length: %d\r\n\r\n" % (ANSWER_BYTES + 1),
        b"Content-Length: 1\r\n\r\nmore",
        b"X: y\r\n" * 101 + b"\r\n",
        b"X: " + b"y" * 70_000,
        b"Transfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (ANSWER_BYTES + 1),
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (ANSWER_BYTES + 1),
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 100_000,
        b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 10_000,
    ],
)
def test_there_is_nothing_to_wait_for(rest: bytes) -> None:
    assert state_of(OK + rest) is State.USELESS
    assert state_of(OK + rest, at_once=1_000) is State.USELESS


@pytest.mark.parametrize("version", [b"1.0", b"0.9", b"2", b"2.0", b"3.0"])
def test_other_versions_keep_no_connection(version: bytes) -> None:
    answer = b"HTTP/%s 200 OK\r\nContent-Length: 0\r\n\r\n" % version
    assert state_of(answer) is State.USELESS


def test_http_1_0_keeps_a_connection_when_it_says_so() -> None:
    answer = b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"
    assert state_of(answer) is State.ENDED


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("POST", 304)]
)
def test_no_body_is_awaited_where_there_is_none(method: str, status: int) -> None:
    answer = b"HTTP/1.1 %d No Body\r\nContent-Length: 10\r\n\r\n" % status
    assert state_of(answer, method) is State.ENDED


@pytest.mark.parametrize(("method", "status"), [("CONNECT", 200), ("GET", 101)])
def test_a_tunnel_follows(method: str, status: int) -> None:
    answer = b"HTTP/1.1 %d Yes\r\nContent-Length: 0\r\n\r\n" % status
    assert state_of(answer, method) is State.USELESS
