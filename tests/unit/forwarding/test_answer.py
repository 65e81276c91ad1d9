"""What a target answers: the status, and whether the connection can be used again."""

from collections.abc import Callable

import pytest

from mspc.forwarding.answer import ANSWER_BYTES, WIRE_BYTES, AnswerReader, NoAnswer

OK = b"HTTP/1.1 200 OK\r\n"


def coming(data: bytes, at_once: int = 10**9) -> Callable[[int], bytes]:
    """Receives `data` in pieces, then the end of the connection."""
    left = bytearray(data)

    def receive(count: int) -> bytes:
        piece = bytes(left[: min(count, at_once)])
        del left[: len(piece)]
        return piece

    return receive


def read(data: bytes, method: str = "GET", at_once: int = 10**9) -> tuple[int, bool]:
    reader = AnswerReader(coming(data, at_once))
    head = reader.head(method)
    return head.status, reader.skip_body(head)


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
    ],
)
def test_a_connection_whose_answer_has_ended_can_be_used_again(
    rest: bytes, at_once: int
) -> None:
    assert read(OK + rest, at_once=at_once) == (200, True)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
        OK + b"connection: Upgrade, CLOSE\r\nContent-Length: 0\r\n\r\n",
        OK + b"\r\nuntil it is closed",
        OK + b"Content-Length: many\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: %d\r\n\r\n" % (ANSWER_BYTES + 1),
        OK + b"Content-Length: 1\r\n\r\nmore",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_one_that_may_be_in_the_middle_of_something_cannot(answer: bytes) -> None:
    assert read(answer) == (200, False)


def test_http_1_0_keeps_a_connection_when_it_says_so() -> None:
    answer = b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"
    assert read(answer) == (200, True)


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("POST", 304)]
)
def test_no_body_is_awaited_where_there_is_none(method: str, status: int) -> None:
    answer = b"HTTP/1.1 %d No Body\r\nContent-Length: 10\r\n\r\n" % status
    assert read(answer, method) == (status, True)


@pytest.mark.parametrize("at_once", [1, 10**9])
def test_interim_answers_are_passed_over(at_once: int) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n"
    answer = interim * 3 + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    assert read(answer, at_once=at_once) == (500, True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 200", "closed"),
        (b"hello\r\n\r\n", "it begins with"),
        (b"HTTP/2 200\r\n\r\n", "it begins with"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "it begins with"),
        (b"x" * 100_000, "no head"),
        (OK + b"X: y\r\n" * 101 + b"\r\n", "headers"),
        (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "Content-Length: 5,6"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, f"more than {WIRE_BYTES} bytes"),
    ],
)
def test_what_is_no_answer_says_why(answer: bytes, reason: str) -> None:
    with pytest.raises(NoAnswer, match=reason):
        read(answer)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\n\r\nhell",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell",
        b"Transfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (ANSWER_BYTES + 1),
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 100_000,
    ],
)
def test_a_body_that_breaks_off_leaves_the_status(rest: bytes) -> None:
    reader = AnswerReader(coming(OK + rest))
    head = reader.head("GET")
    assert head.status == 200
    with pytest.raises(NoAnswer):
        reader.skip_body(head)
