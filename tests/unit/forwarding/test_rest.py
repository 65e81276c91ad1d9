"""What follows a status line: whether the connection can be used again, and when."""

import pytest

from mspc.calls.call import LONGEST_ANSWER_BYTES
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
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1_900 + b"0\r\n\r\n",
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
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 2_001,
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X:y\r\n" * 4_001,
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


ERROR = b"HTTP/1.1 500 No\r\n"
TEXT = b"Content-Type: text/plain\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LONG = b"x" * (2 * ANSWER_BYTES)


def said(data: bytes, method: str = "GET", at_once: int = 10**9) -> str:
    reader = AnswerReader(method)
    at = 0
    while not reader.status:
        reader.feed(data[at : at + at_once])
        at += at_once
    rest = reader.rest()
    while at < len(data) and rest.telling:
        rest.feed(data[at : at + at_once])
        at += at_once
    return rest.said.text() if rest.said else ""


@pytest.mark.parametrize("at_once", [1, 7, 10**9])
@pytest.mark.parametrize(
    ("rest", "text"),
    [
        (TEXT + b"Content-Length: 5\r\n\r\nhello", "hello"),
        (TEXT + b"Content-Length: 5\r\n\r\nhell", "hell"),
        (TEXT + b"\r\nuntil it is closed", "until it is closed"),
        (TEXT + b"Content-Length: many\r\n\r\nhello", "hello"),
        (TEXT + CHUNKED + b"\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n", "hello"),
        (TEXT + CHUNKED + b"\r\n5\r\nhelloX", "hello"),
        (b"Content-Length: 4\r\n\r\nwhy?", "why?"),
        (b"Content-Type: \r\nContent-Length: 4\r\n\r\nwhy?", "why?"),
        (TEXT + b"Content-Encoding: identity\r\n\r\nhello", "hello"),
        (TEXT + b"Content-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n", ""),
        # Neither of these is text.
        (TEXT + b"Content-Encoding: gzip\r\n\r\nhello", ""),
        (TEXT + b"Transfer-Encoding: gzip, chunked\r\n\r\nhello", ""),
        (TEXT + CHUNKED + b"Content-Length: 5\r\n\r\n5\r\nhello", ""),
        (b"Content-Type: image/png\r\n\r\nhello", ""),
        (b"Content-Type: application/octet-stream\r\n\r\nhello", ""),
        (b"\r\n\x89PNG\r\n", ""),
        (b"\r\nbell \x07", ""),
    ],
)
def test_a_failure_says_why(rest: bytes, text: str, at_once: int) -> None:
    assert said(ERROR + rest, at_once=at_once) == text


@pytest.mark.parametrize("at_once", [1000, 10**9])
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: %d\r\n\r\n" % len(LONG),
        b"\r\n",
        CHUNKED + b"\r\n%x\r\n" % len(LONG),
    ],
    ids=["of a known length", "until it is closed", "in one chunk"],
)
def test_so_does_the_beginning_of_one_that_is_too_long(
    rest: bytes, at_once: int
) -> None:
    told = said(ERROR + TEXT + rest + LONG, at_once=at_once)
    assert told == "x" * LONGEST_ANSWER_BYTES


@pytest.mark.parametrize(
    "media",
    [
        *("text/html; charset=utf-8", "TEXT/Plain", "application/json"),
        *("application/problem+json", "application/xml", "application/soap+xml"),
        *("application/javascript", "application/x-www-form-urlencoded"),
    ],
)
def test_types_that_are_text(media: str) -> None:
    head = b"Content-Type: %s\r\nContent-Length: 2\r\n\r\n" % media.encode()
    assert said(ERROR + head + b"no") == "no"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("žluť 🐎".encode(), "žluť 🐎"),
        (b"a\xffb", "a\ufffdb"),
        (b"a\x00b\x1b[31m\x7f", "a\ufffdb\ufffd[31m\ufffd"),
        ("a\u009bb".encode(), "a\ufffdb"),
        (b"one\r\ntwo\n\tthree\r", "one\ntwo\n\tthree\ufffd"),
        ("é".encode() * LONGEST_ANSWER_BYTES, "é" * (LONGEST_ANSWER_BYTES // 2)),
        (b"x" + "é".encode() * 600, "x" + "é" * (LONGEST_ANSWER_BYTES // 2 - 1)),
    ],
)
def test_what_is_said_is_fit_for_people(body: bytes, text: str) -> None:
    assert said(ERROR + TEXT + b"\r\n" + body) == text


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", 500), ("GET", 304), ("CONNECT", 500), ("GET", 101), ("GET", 200)],
)
def test_nothing_is_said_where_there_is_no_body_or_no_failure(
    method: str, status: int
) -> None:
    head = b"HTTP/1.1 %d Some\r\n" % status
    assert said(head + TEXT + b"Content-Length: 5\r\n\r\nhello", method) == ""


@pytest.mark.parametrize("at_once", [1, 10**9])
def test_listening_changes_nothing_about_the_connection(at_once: int) -> None:
    for rest, state in (
        (b"Content-Length: 5\r\n\r\nhello", State.ENDED),
        (CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n", State.ENDED),
        (CHUNKED + b"\r\n5\r\nhello\r\n", State.COMING),
        (b"\r\nuntil it is closed", State.LEAVING),
        (b"Content-Length: %d\r\n\r\nx" % (ANSWER_BYTES + 1), State.USELESS),
    ):
        for status in (OK, ERROR):
            assert state_of(status + TEXT + rest, at_once=at_once) is state
