"""What follows the status line of an answer: a courtesy to the next call.

It says when the connection can be used again, and of a failure, what the service said.
A lenient reader: what is not understood only means that the connection is closed.
Nothing here reads or waits.
"""

import re
from enum import Enum, auto

from mspc.forwarding.said import Said

MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 100
# So much of a body is read, to keep the connection for the next call.
ANSWER_BYTES = 65_536
# All that is read behind a status line: of a head, a body, and what frames it.
REST_BYTES = 262_144
_LINE_BYTES = 4_096
# Two a chunk, and trailers: a body of chunks of a byte each would take 100 ms and more.
MAX_LINES = 4_000

_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\r\n]*)?\r?\n")
_TRAILER_LINE = re.compile(rb"[^\s:]+:[^\x00\r\n]*\r?\n")
_EMPTY = (b"\r\n", b"\n")


class State(Enum):
    """What is to be expected of a connection."""

    ENDED = auto()  # the answer has: the next call can use it
    COMING = auto()  # when the answer has ended, the next call can use it
    LEAVING = auto()  # it ends with the answer, which has not ended
    USELESS = auto()  # nothing to wait for: close it


# What is expected next.
_HEAD, _END, _END_OF_CONNECTION, _CHUNK_SIZE, _CHUNK_END, _TRAILER = range(6)


class RestOfAnswer:
    """Follows one answer to its end, piece by piece.

    Args:
        method: of the request.
        status: of the answer.
        keeps_open: the answer's version of HTTP keeps connections open unasked.
        begun: what has come behind the status line, the end of the line included.

    Attributes:
        state: after what has come so far.
        closing: the target has said that it closes the connection.
        headed: its head has come.
        retry_after: what that says of when to ask again.
        said: the beginning of its body; None for a success, of which nobody wants it.
        telling: more of that may come, whatever the state: it may still be fed.
    """

    state = State.COMING
    closing = False
    headed = False
    retry_after = b""
    said: Said | None = None
    telling = False
    _expected = _HEAD
    _buffer = b""
    _left = REST_BYTES
    _body_left = ANSWER_BYTES
    _lines_left = MAX_LINES
    _skip = 0
    _too_long = False

    def __init__(
        self, method: str, status: int, keeps_open: bool, begun: bytes
    ) -> None:
        self._method = method
        self._status = status
        self._lasting = keeps_open
        if method == "CONNECT" or status == 101:  # a tunnel follows
            self.state = State.USELESS
            return
        if not 200 <= status < 300:
            self.said = Said()
        self.feed(begun)

    def feed(self, received: bytes) -> State:
        """Takes more of it; not to be called when nothing is to be waited for."""
        self._left -= len(received)
        self._buffer += received
        if self._left < 0:
            ended = None
        elif self._expected == _HEAD:
            ended = self._head()
        else:
            ended = self._body()
        if ended is None:
            self.state = State.USELESS
        elif ended:
            self.state = State.ENDED if self._lasting else State.USELESS
        else:
            self.state = State.COMING if self._lasting else State.LEAVING
        if self.said is not None:
            goes_on = ended is False or self._too_long
            self.telling = goes_on and self._left >= 0 and not self.said.full
        return self.state

    # Each of these says whether the answer has ended; None when there is no telling, or
    # when it is too long to wait for.

    def _head(self) -> bool | None:
        end = _HEAD_END.search(self._buffer)
        if (end.end() if end else len(self._buffer)) > MAX_HEAD_BYTES:
            return None
        if end is None:
            return False
        head = self._buffer[: end.start() + 1].replace(b"\r\n", b"\n")
        lines = head.split(b"\n")[1:-1]
        if len(lines) > MAX_HEADERS:
            return None
        self._buffer = self._buffer[end.end() :]
        self._understand(lines)
        return self._body()

    def _understand(self, lines: list[bytes]) -> None:
        headers: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            name, value = name.lower(), value.strip(b" \t")
            headers[name] = headers[name] + b"," + value if name in headers else value
        self.headed = True
        self.retry_after = headers.get(b"retry-after", b"")
        options = headers.get(b"connection", b"").lower()
        self._lasting = (
            self._lasting or b"keep-alive" in options
        ) and b"close" not in options
        self.closing = not self._lasting
        self._expected = _END
        coding = headers.get(b"transfer-encoding")
        length = headers.get(b"content-length")
        found = _length(length) if coding is None else None
        chunked = coding is not None and coding.lower() == b"chunked" and length is None
        if self._method == "HEAD" or self._status in (204, 304):
            # No body, whatever they say (RFC 9112, 6.3). But who says nonsense may send
            # one all the same.
            sensible = found is not None or chunked or coding is length is None
            self._lasting = self._lasting and sensible
            return
        if self.said is not None:
            self.said.begin(headers)
        if found is not None:
            self._skip = found
        elif chunked:
            self._expected = _CHUNK_SIZE
        else:
            # Or it contradicts itself: who knows where the next answer would begin.
            self._expected = _END_OF_CONNECTION
            self._lasting = False
            if self.said is not None and coding is not None:
                self.said.no_text()

    def _body(self) -> bool | None:
        if self._expected == _END_OF_CONNECTION:
            self._body_left -= len(self._buffer)
            self._hear(self._buffer)
            self._buffer = b""
            return None if self._body_left < 0 else False
        at = 0
        while True:
            skipped = min(self._skip, len(self._buffer) - at)
            if self.said is not None:
                self._hear(self._buffer[at : at + skipped])
            if self._skip > self._body_left:
                self._too_long = True
                self._skip -= skipped
                self._buffer = b""
                return None
            at += skipped
            self._skip -= skipped
            self._body_left -= skipped
            if self._skip:
                self._buffer = b""
                return False
            if self._expected == _END:
                return True if at == len(self._buffer) else None
            end = self._buffer.find(b"\n", at) + 1
            if not end:
                self._buffer = self._buffer[at:]
                return None if len(self._buffer) > _LINE_BYTES else False
            if not self._line(self._buffer[at:end]):
                return None
            at = end

    def _hear(self, body: bytes) -> None:
        if self.said is not None:
            self.said.add(body)

    def _line(self, line: bytes) -> bool:
        """A line between chunks; whether it is in its place, and not one too many."""
        self._lines_left -= 1
        if self._lines_left < 0:
            return False
        if self._expected == _CHUNK_SIZE:
            found = _CHUNK.fullmatch(line)
            if found is None:
                return False
            self._skip = int(found[1], 16)
            chunk = self._skip > 0
            self._expected = _CHUNK_END if chunk else _TRAILER
            return True
        if self._expected == _CHUNK_END:
            self._expected = _CHUNK_SIZE
            return line == b"\r\n"  # a bare LF may follow a chunk that is too short
        if line in _EMPTY:
            self._expected = _END
            return True
        return _TRAILER_LINE.fullmatch(line) is not None


def _length(value: bytes | None) -> int | None:
    """The body's, when the header says one."""
    lengths = {one.strip(b" \t") for one in (value or b"").split(b",")}
    (length, *more) = lengths
    return int(length) if not more and length.isdigit() and len(length) <= 15 else None
