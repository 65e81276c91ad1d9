"""What a client sends: the head of a request and its body, read strictly.

What two programs could read differently (request smuggling, RFC 9112 11.2) is refused.
How large a body may be is the application's business: api/accepting.py.
"""

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from mspc.process.greenlets import give_way
from mspc.serving.room import FREE_BYTES

MAX_LINE = 8192  # bytes: the request line, a header, a trailer
MAX_CHUNK_LINE = 1024  # bytes: RFC 9112 7.1.1 asks for some limit
MAX_HEADERS = 100
MAX_HEADERS_BYTES = 65_536
# Most requests have the headers of the one before: so many are read once, if short.
KNOWN_FIELDS = 500
SHORT_FIELD = 256  # characters
TURN = 64  # requests or chunks at hand that are read before others get a turn

# Some programs would take them for headers of the request: never in trailers.
_FRAMING = frozenset(("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_HOST"))
_TLS_HANDSHAKE = b"\x16"  # RFC 8446 5.1
_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rf"({_NAME}) ([!-~]+) HTTP/1\.([0-9])\r\n")
_FIELD = re.compile(rf"({_NAME}):([\t\x20-\x7e\x80-\xff]*)\r\n")
_ABSOLUTE = re.compile(r"https?://([^/?#]+)([!-~]*)", re.IGNORECASE)
# No space behind the size, which not every program takes.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
# No comma, so that two Host headers, joined, are refused as well. Node leaves the zone
# of an address in it: [fe80::1%eth0].
_ZONE = r"(?:%[0-9A-Za-z._~%-]{1,64})?"
HOST = re.compile(rf"(\[[0-9A-Fa-f:.]+{_ZONE}\]|[0-9A-Za-z._~-]*)(?::[0-9]{{0,5}})?")


class Refused(Exception):
    """The request is not well-formed, or too large; `args`: status line, sentence."""


class BrokenBody(OSError):
    """The client hung up in its body, was too slow, or sent chunks that are none."""


@dataclass(slots=True)
class RequestHead:
    """A request without its body.

    Attributes:
        path: path and query.
        headers: by their names in a WSGI environment, repeated ones joined.
        length: bytes of the body; None when it comes in chunks.
    """

    method: str
    path: str
    version: str
    headers: dict[str, str]
    length: int | None

    @property
    def keeps_alive(self) -> bool:
        options = self.headers.get("HTTP_CONNECTION")
        if options is None:
            return self.version != "HTTP/1.0"
        wish = {option.strip(" \t") for option in options.lower().split(",")}
        if self.version == "HTTP/1.0":
            return "keep-alive" in wish and "close" not in wish
        return "close" not in wish


def read_head(rfile: io.BufferedReader) -> RequestHead:
    """Reads a request up to its body.

    Raises:
        Refused: it breaks a rule of RFC 9112, or is too large.
        OSError: the client hung up.
    """
    if rfile.peek(1)[:1] == _TLS_HANDSHAKE:  # which has no lines to wait for
        raise _bad("TLS is not spoken on this port: it takes plain HTTP.")
    line = _read_line(rfile, "414 URI Too Long")
    if line == "\r\n":  # one empty line may come before a request: RFC 9112 2.2
        line = _read_line(rfile, "414 URI Too Long")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad(
            "The request line must be `METHOD target HTTP/1.1` with single spaces, "
            "ended by CRLF."
        )
    method, target, minor = match.groups()
    version = "HTTP/1.0" if minor == "0" else "HTTP/1.1"
    headers = _read_headers(rfile)
    path = _path(method, target, headers)
    host = headers.get("HTTP_HOST")
    if host is None and version == "HTTP/1.1":
        raise _bad("The Host header is missing.")
    if host and HOST.fullmatch(host) is None:
        raise _bad("The Host header must be one host, with or without a port.")
    return RequestHead(method, path, version, headers, _body_length(version, headers))


def _bad(message: str) -> Refused:
    return Refused("400 Bad Request", message)


def _read_line(rfile: io.BufferedReader, status: str) -> str:
    line = rfile.readline(MAX_LINE)
    if line.endswith(b"\n"):
        return line.decode("latin-1")
    if len(line) < MAX_LINE:
        raise ConnectionAbortedError("the client hung up in the middle of a request")
    raise Refused(status, f"A line of the request is longer than {MAX_LINE} bytes.")


def _read_headers(rfile: io.BufferedReader) -> dict[str, str]:
    too_large = "431 Request Header Fields Too Large"
    headers: dict[str, str] = {}
    size = 0
    for number in range(MAX_HEADERS + 1):
        line = _read_line(rfile, too_large)
        if line == "\r\n":
            return headers
        size += len(line)
        if number == MAX_HEADERS or size > MAX_HEADERS_BYTES:
            break
        field = (_known_field if len(line) <= SHORT_FIELD else _field)(line)
        if field is None:
            raise _bad(
                f"Header {number + 1} is malformed: it must be `name: value` on one "
                "line, without control characters, ended by CRLF."
            )
        key, value = field
        if not key:
            continue
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    raise Refused(
        too_large,
        f"The request has more than {MAX_HEADERS} headers, or {MAX_HEADERS_BYTES} "
        "bytes of them.",
    )


def _field(line: str) -> tuple[str, str] | None:
    """A header's name in a WSGI environment, and its value; None when it is malformed.

    Without a name for one that the application could not tell from another: its name
    has an underscore where the other has a hyphen.
    """
    match = _FIELD.fullmatch(line)
    if match is None:
        return None
    name, value = match.groups()
    if "_" in name:
        return "", ""
    key = name.upper().replace("-", "_")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    return key, value.strip(" \t")


_known_field = lru_cache(KNOWN_FIELDS)(_field)


def _path(method: str, target: str, headers: dict[str, str]) -> str:
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise _bad("The request target must be a path, as in `POST / HTTP/1.1`.")
    if "HTTP_HOST" in headers:  # it is the target's host that counts: RFC 9112 3.2.2
        headers["HTTP_HOST"] = match[1]
    return match[2] if match[2].startswith("/") else f"/{match[2]}"


def _body_length(version: str, headers: dict[str, str]) -> int | None:
    # Repeated headers come joined by commas, and so fail these tests as well.
    length = headers.get("CONTENT_LENGTH")
    coding = headers.get("HTTP_TRANSFER_ENCODING")
    if coding is not None:
        if length is not None:
            raise _bad("Content-Length and Transfer-Encoding exclude each other.")
        if coding.lower() != "chunked" or version == "HTTP/1.0":
            raise _bad("Transfer-Encoding must be `chunked`, once, in HTTP/1.1.")
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdecimal() and len(length) <= 15):
        raise _bad("Content-Length must be one number of at most 15 digits.")
    return int(length)


class Body(io.BufferedIOBase):
    """`wsgi.input`: reads to the end of the body and never beyond.

    Attributes:
        unread: bytes to come; infinite when that is unknown.
    """

    def __init__(
        self,
        rfile: io.BufferedReader,
        length: int | None,
        reserve: Callable[[float], None],
        before: Callable[[], None],
        after: Callable[[], None],
    ) -> None:
        """
        Args:
            rfile: what the client sends.
            length: bytes; None when it comes in chunks.
            reserve: called once, with how many bytes are wanted, infinite for all,
                before more than FREE_BYTES are read at once; may wait, or raise
                Crowded.
            before: called before each read that may wait.
            after: called after it.
        """
        self.unread = math.inf if length is None else length
        self._rfile = rfile
        self._chunked = length is None
        self._left = length or 0  # bytes, of the body or of the chunk at hand
        self._chunks = 0
        self._reserve: Callable[[float], None] | None = reserve  # None when it is done
        self._before = before
        self._after = after

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Waits for `size` bytes, or for the end of the body.

        Raises:
            BrokenBody: neither will come.
            Crowded: it is large, and there is no room for it.
        """
        wanted = math.inf if size is None or size < 0 else size
        if not self.unread or not wanted:
            return b""
        if self._left > FREE_BYTES and wanted > FREE_BYTES and not self._chunked:
            self._make_room(min(wanted, self._left))
        self._before()
        try:
            return self._read_chunks(wanted) if self._chunked else self._read(wanted)
        except OSError as exc:
            self.unread = math.inf
            if isinstance(exc, BrokenBody):
                raise
            raise BrokenBody(f"the connection broke in the body: {exc}") from exc
        finally:
            self._after()

    def _read(self, wanted: float) -> bytes:
        data = self._take(min(wanted, self._left))
        self._left -= len(data)
        self.unread = self._left
        return data

    def _read_chunks(self, wanted: float) -> bytes:
        read = bytearray()
        while len(read) < wanted and self.unread:
            if not self._left:
                self._next_chunk()
                continue
            if len(read) >= FREE_BYTES:
                self._make_room(wanted)
            data = self._take(min(wanted - len(read), self._left, FREE_BYTES))
            read += data
            self._left -= len(data)
            if not self._left and self._take(2) != b"\r\n":
                raise BrokenBody("a chunk is longer than it says")
        return bytes(read)

    def _make_room(self, size: float) -> None:
        if self._reserve is not None:
            self._reserve(size)
            self._reserve = None

    def _take(self, size: float) -> bytes:
        data = self._rfile.read(int(size))
        if len(data) < size:
            raise BrokenBody("the client hung up in its body")
        return data

    def _next_chunk(self) -> None:
        self._chunks += 1
        if self._chunks % TURN == 0:
            give_way()  # what has arrived is read without waiting
        match = _CHUNK.fullmatch(self._rfile.readline(MAX_CHUNK_LINE))
        if match is None:
            raise BrokenBody("the client hung up in its body, or a chunk has no size")
        self._left = int(match[1], 16)
        if self._left:
            return
        try:
            trailers = _read_headers(self._rfile)  # which nobody asked for
        except Refused as exc:
            raise BrokenBody("the trailers are malformed or too large") from exc
        if not trailers.keys().isdisjoint(_FRAMING):  # RFC 9110 6.5.1
            raise BrokenBody("a trailer contradicts the headers")
        self.unread = 0
