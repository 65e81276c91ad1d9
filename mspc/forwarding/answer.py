"""What a target answers, read within bounds: the status counts, the rest is skipped.

A lenient reader, since most of what targets send wrongly does no harm here: what is not
understood only means that the connection is not used again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 100
# So much of a body is read, to keep the connection for the next call.
ANSWER_BYTES = 65_536
# What is read off the wire for one answer at most: interim answers, head and body.
# gevent switches only when there is nothing to read, so a fast target that never ends
# would stop every other greenlet and hold off the deadline.
WIRE_BYTES = 262_144
_RECEIVED_AT_ONCE = 16_384

_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) +([1-9][0-9]{2})(?: [^\r\n]*)?\r?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_SHOWN = 100


class NoAnswer(Exception):
    """What came is no HTTP answer, or none within the bounds."""


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The head of an answer.

    Attributes:
        lasting: the connection stays open after the body.
        length: bytes of the body; None when it ends with the connection, or in a way
            that is not understood.
        chunked: the body comes in chunks.
    """

    status: int
    lasting: bool
    length: int | None
    chunked: bool


class AnswerReader:
    """Reads one answer.

    Args:
        receive: gets a number, returns at most so many bytes, none at the end.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._buffer = b""
        self._left = WIRE_BYTES

    def head(self, method: str) -> AnswerHead:
        """The head of the final answer to a request with `method`.

        Raises:
            NoAnswer: there is none.
            OSError: the connection broke.
        """
        while True:
            lines = self._lines()
            found = _STATUS_LINE.fullmatch(lines[0])
            if found is None:
                raise NoAnswer(f"it begins with {lines[0][:_SHOWN]!r}")
            status = int(found[2])
            if status >= 200 or status == 101:
                return _understood(method, status, found[1] != b"0", lines[1:])

    def skip_body(self, head: AnswerHead) -> bool:
        """Reads the body if it is small; whether the connection can be used again.

        Raises:
            NoAnswer: the body breaks off, or its chunks are none.
            OSError: the connection broke.
        """
        if head.chunked:
            self._skip_chunks()
        elif head.length is None:
            self._skip_to_the_end()
            return False
        elif head.length > ANSWER_BYTES:
            return False
        else:
            self._skip(head.length)
        return head.lasting and not self._buffer

    def _lines(self) -> list[bytes]:
        """The lines of the next head, without its empty last one."""
        searched = 0
        while not (end := _HEAD_END.search(self._buffer, searched)):
            if len(self._buffer) > MAX_HEAD_BYTES:
                break
            searched = max(0, len(self._buffer) - 2)
            self._more()
        if end is None or end.end() > MAX_HEAD_BYTES:
            raise NoAnswer(f"no head of an answer in {MAX_HEAD_BYTES} bytes")
        head, self._buffer = self._buffer[: end.start()], self._buffer[end.end() :]
        lines = head.split(b"\n")
        if len(lines) > MAX_HEADERS + 1:
            raise NoAnswer(f"more than {MAX_HEADERS} headers")
        return lines

    def _skip_chunks(self) -> None:
        left = ANSWER_BYTES
        while True:
            line = self._line()
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise NoAnswer(f"a chunk begins with {line[:_SHOWN]!r}")
            size = int(found[1], 16)
            if not size:
                break
            left -= size
            if left < 0:
                raise NoAnswer(f"chunks of more than {ANSWER_BYTES} bytes")
            self._skip(size)
            self._line()
        while self._line() not in (b"\r\n", b"\n"):
            pass  # trailers

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n") + 1) == 0:
            self._more()
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line

    def _skip(self, count: int) -> None:
        while len(self._buffer) < count:
            count -= len(self._buffer)
            self._buffer = b""
            self._more()
        self._buffer = self._buffer[count:]

    def _skip_to_the_end(self) -> None:
        left = ANSWER_BYTES - len(self._buffer)
        while left > 0 and (received := self._receive(_RECEIVED_AT_ONCE)):
            left -= len(received)

    def _more(self) -> None:
        if self._left <= 0:
            raise NoAnswer(f"more than {WIRE_BYTES} bytes")
        received = self._receive(_RECEIVED_AT_ONCE)
        if not received:
            raise NoAnswer("the connection was closed")
        self._left -= len(received)
        self._buffer += received


def _understood(
    method: str, status: int, lasting: bool, lines: list[bytes]
) -> AnswerHead:
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        headers[name] = headers[name] + b"," + value if name in headers else value
    options = headers.get(b"connection", b"").lower()
    lasting = (lasting or b"keep-alive" in options) and b"close" not in options
    if method == "HEAD" or status in (204, 304):
        return AnswerHead(status, lasting, 0, chunked=False)
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        return AnswerHead(status, lasting, None, chunked=coding.lower() == b"chunked")
    return AnswerHead(
        status, lasting, _length(headers.get(b"content-length")), chunked=False
    )


def _length(value: bytes | None) -> int | None:
    if value is None:
        return None
    lengths = {one.strip() for one in value.split(b",")}
    if len(lengths) > 1:
        raise NoAnswer(f"Content-Length: {value[:_SHOWN].decode('latin-1')}")
    (length,) = lengths
    return int(length) if length.isdigit() and len(length) <= 15 else None
