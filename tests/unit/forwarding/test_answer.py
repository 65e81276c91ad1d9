"""What a target answers: the final status line decides, whatever comes behind it."""

import pytest

from mspc.forwarding.answer import MAX_INTERIM, WIRE_BYTES, AnswerReader, NoAnswer


def status_of(data: bytes, at_once: int = 10**9) -> int:
    reader = AnswerReader("GET")
    for at in range(0, len(data), at_once):
        if reader.feed(data[at : at + at_once]):
            return reader.status
    reader.feed(b"")  # the end of the connection
    raise AssertionError("it went on after the end")


@pytest.mark.parametrize("at_once", [1, 7, 10**9])
@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 200 \n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1 200 \xc5\xbelu\x00\xff\r \r\n",
        b"HTTP/1.1 200\tOK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.10 200 OK\r\n",
        b"HTTP/2 200\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"HTTP/3 200 OK\r\n",
        b"\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)
def test_a_status_line_is_enough(line: bytes, at_once: int) -> None:
    assert status_of(line, at_once) == 200


def test_a_reason_without_an_end_is_no_reason_to_doubt_the_status() -> None:
    assert status_of(b"HTTP/1.1 200 " + b"O" * 100_000) == 200


@pytest.mark.parametrize("at_once", [1, 10**9])
@pytest.mark.parametrize("code", [100, 102, 103, 199])
def test_interim_answers_are_passed_over(code: int, at_once: int) -> None:
    interim = b"HTTP/1.1 %d Early\r\n" % code
    hints = b"Link: </a>\r\n" * 120 + b"Content-Length: 9\r\n\r\n"
    bare = interim + b"\r\n\r\n"  # ended once too often
    answer = b"HTTP/1.1 500 No\r\n"
    assert status_of((interim + hints) * 3 + bare + answer, at_once) == 500


def test_a_thousand_of_them_are() -> None:
    """One a second, for as long as the longest timeout."""
    assert status_of(b"HTTP/1.1 102\r\n\r\n" * MAX_INTERIM + b"HTTP/1.1 200\r\n") == 200


def test_101_is_final() -> None:
    assert status_of(b"HTTP/1.1 101 Switching Protocols\r\n") == 101


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 200", "closed"),
        (b"HTTP/1.1 200 O", "closed"),
        (b"HTTP/1.1 100 Continue\r\n", "closed"),
        (b"HTTP/1.1 100 Continue\r\nHTTP/1.1 200 OK\r\n", "closed"),
        (b"\r\n" * 10, "closed"),
        (b"hello\r\n\r\n", "it begins with"),
        (b"HTTP 200 OK\r\n\r\n", "it begins with"),
        (b"http/1.1 200 OK\r\n\r\n", "it begins with"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "it begins with"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "it begins with"),
        (b"HTTP/1.1 200OK\r\n\r\n", "it begins with"),
        (b"x" * 100_000, "it begins with"),
        (
            b"HTTP/1.1 100 Continue\r\n" + b"X: y\r\n" * 50 + b"\r\n",
            "the connection was closed",
        ),
        (
            (b"HTTP/1.1 103 Hints\r\n" + b"X: y\r\n" * 50 + b"\r\n") * 1_000,
            f"in {WIRE_BYTES} bytes",
        ),
        (b"HTTP/1.1 100\n\n" * 1_001, "behind 1000 interim ones"),
        (b"HTTP/1.1 100 Continue\r\n" + b"X: y\r\n" * 60_000, f"in {WIRE_BYTES} bytes"),
        (b"\r\n" * 200_000, f"in {WIRE_BYTES} bytes"),
    ],
)
@pytest.mark.parametrize("at_once", [16_384, 10**9])
def test_what_is_no_answer_says_why(answer: bytes, reason: str, at_once: int) -> None:
    with pytest.raises(NoAnswer, match=reason):
        status_of(answer, at_once)
