"""What a target answers: the final status line decides, whatever follows it.

Nothing here reads or waits: whoever has the connection feeds what it received.
"""

import re

from mspc.calls.words import CONNECTION_RESET, PROTOCOL
from mspc.forwarding.rest import RestOfAnswer

MAX_LINE_BYTES = 65_536
# What is read off the wire before the final status line: interim answers, above all.
# gevent switches only when there is nothing to read, so a fast target that never ends
# would stop every other greenlet and hold off the deadline.
WIRE_BYTES = 262_144
# The shortest ones, 18,000 in so many bytes, would take 50 ms. Who tells each second
# that he is still at work sends 600 in the longest timeout.
MAX_INTERIM = 1000

_HEAD_END = re.compile(rb"\n\r?\n")
_BLANK = re.compile(rb"[\r\n]+")
# Of any version: some proxies write that of what is behind them, HTTP/2 200.
_STATUS = re.compile(
    rb"HTTP/([0-9]+(?:\.[0-9]+)?) +([1-9][0-9]{2})(?:[ \t\r].*)?", re.DOTALL
)
# How nearly every answer begins: for speed.
_USUAL = re.compile(rb"HTTP/1\.1 ([2-9][0-9]{2})(?: [^\r\n]*)?\r(?=\n)")
_KEPT_OPEN = re.compile(rb"1\.[1-9]")  # the versions that keep a connection unasked
_BEGINNING = b"HTTP/"
_SHOWN = 100


class NoAnswer(Exception):
    """What came is no HTTP answer, or none within the bounds.

    Attributes:
        word: one of calls/words.py.
    """

    def __init__(self, text: str, word: str = PROTOCOL) -> None:
        self.word = word
        super().__init__(text)


class AnswerReader:
    """Understands one answer up to its final status, piece by piece.

    Args:
        method: of the request.

    Attributes:
        status: of the final answer; 0 before it has come.
        begun: a byte of an answer has come.
    """

    status = 0
    begun = False
    _buffer = b""
    _searched = 0
    _left = WIRE_BYTES
    _interim = False
    _interims = 0
    _version = b"1.1"

    def __init__(self, method: str) -> None:
        self._method = method

    def feed(self, received: bytes) -> bool:
        """Takes what was received; whether the final status is known now.

        Args:
            received: at least a byte; none means the end of the connection.

        Raises:
            NoAnswer: what came is none, or the connection ended before one.
        """
        if not received:
            raise self._closed()
        if not self.begun and (usual := _USUAL.match(received)):
            self.begun = True
            self.status = int(usual[1])
            self._buffer = received[usual.end() :]
            return True
        self.begun = True
        self._buffer += received
        self._left -= len(received)
        while (line := self._status_line()) is not None:
            found = _STATUS.fullmatch(line)
            if found is None:
                raise _no_answer(line)
            status = int(found[2])
            # The end of the line stays: it may be the first half of the head's end.
            self._drop(len(line))
            if status >= 200 or status == 101:
                self.status, self._version = status, found[1]
                return True
            self._interim = True
            self._interims += 1
            if self._interims > MAX_INTERIM:
                told = f"no status of an answer behind {MAX_INTERIM} interim ones"
                raise NoAnswer(told)
        if self._left <= 0:
            raise NoAnswer(f"no status of an answer in {WIRE_BYTES} bytes")
        return False

    def rest(self) -> RestOfAnswer:
        """What follows the final status line, beginning with what has come of it."""
        keeps_open = self._version == b"1.1" or bool(_KEPT_OPEN.match(self._version))
        return RestOfAnswer(self._method, self.status, keeps_open, self._buffer)

    def _closed(self) -> NoAnswer:
        if self._interim or _BEGINNING.startswith(self._buffer[: len(_BEGINNING)]):
            return NoAnswer("the connection was closed", CONNECTION_RESET)
        return _no_answer(self._buffer)

    def _status_line(self) -> bytes | None:
        """The next status line, without its end; None when it has not come."""
        if self._interim:
            end = _HEAD_END.search(self._buffer, self._searched)
            if end is None:
                self._searched = max(0, len(self._buffer) - 2)
                return None
            self._interim = False
            self._drop(end.end())
        # Empty lines before it are passed over: RFC 9112 2.2, and servers that end an
        # interim answer once too often.
        if blank := _BLANK.match(self._buffer):
            self._drop(blank.end())
        line_end = self._buffer.find(b"\n", self._searched)
        if line_end >= 0:
            return self._buffer[:line_end]
        self._searched = len(self._buffer)
        # A reason without an end is no reason to doubt the status before it.
        return self._buffer if self._searched > MAX_LINE_BYTES else None

    def _drop(self, count: int) -> None:
        self._buffer = self._buffer[count:]
        self._searched = 0


def _no_answer(came: bytes) -> NoAnswer:
    return NoAnswer(f"it begins with {came[:_SHOWN]!r}")
