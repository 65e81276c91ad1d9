"""Our request parser beside llhttp, the parser of Node.js: they frame alike.

A request that two programs read differently is how one client's request becomes a part
of another's (request smuggling). So whatever our parser accepts, llhttp has to take for
the same: method, target, body, and what is left over for the next request.
MSPC_TEST_ORACLE_EXAMPLES says how many requests are tried.
"""

import io
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mspc.serving import request as ours

EXAMPLES = int(os.environ.get("MSPC_TEST_ORACLE_EXAMPLES", "20000"))
# Enough for each bug that is planted below; a fixed seed, so that none hides by chance.
BUG_EXAMPLES, SEED = 20_000, 1


@dataclass(frozen=True)
class Framed:
    """What a request is taken for."""

    method: str
    target: str
    body: bytes
    left: bytes


class OracleRefuses(Exception):
    """Why llhttp takes no request of it."""


def by_us(data: bytes) -> Framed | None:
    """None when it is refused, or has no end."""
    rfile: Any = io.BufferedReader(cast("Any", io.BytesIO(data)))
    try:
        head = ours.read_head(rfile)
        body = ours.Body(
            rfile, head.length, lambda _: None, lambda: None, lambda: None
        ).read()
    except (ours.Refused, OSError):
        return None
    return Framed(head.method, head.path, body, rfile.read())


class Oracle:
    """llhttp, fed byte by byte: so it says where the request ends."""

    def __init__(self) -> None:
        self.url = b""
        self.body = b""
        self.complete = False
        self._parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True

    def read(self, data: bytes) -> Framed:
        for position in range(len(data)):
            try:
                self._parser.feed_data(data[position : position + 1])
            except httptools.HttpParserError as exc:
                raise OracleRefuses(str(exc)) from exc
            if self.complete:
                method = self._parser.get_method().decode()
                target = path_of(self.url.decode("latin-1"))
                return Framed(method, target, self.body, data[position + 1 :])
        raise OracleRefuses("it has no end")


def path_of(url: str) -> str:
    """As RFC 9112 3.2.2 wants a target to be taken that is a whole URL."""
    absolute = re.match(r"[a-zA-Z]+://[^/?#]*", url)
    rest = url[absolute.end() :] if absolute else url
    return rest if rest.startswith("/") or not absolute else f"/{rest}"


# llhttp refuses more than it must. Neither is about where a request ends.
NARROW = re.compile(
    r"Invalid HTTP version"  # 1.2 to 1.9 are to be taken for 1.1: RFC 9112 2.3
    r"|Invalid character in chunk extensions.*"  # RFC 9112 7.1.1: ignore them
)


def disagreement(data: bytes) -> str | None:
    """What the two make of it, where they differ."""
    mine = by_us(data)
    if mine is None:
        return None
    known = data
    if mine.method not in METHODS:  # llhttp has a list; ours takes any token
        known = data.replace(mine.method.encode(), b"POST", 1)
    head, end, body = known.partition(b"\r\n\r\n")
    # A tab is optional space as well (RFC 9110 5.6.3); llhttp takes it for one only
    # before a value.
    known = re.sub(rb"\t(?=[ \t]*(\r\n|$))", b" ", head) + end + body
    try:
        theirs = Oracle().read(known)
    except OracleRefuses as exc:
        return None if NARROW.fullmatch(str(exc)) else f"refused, not {mine}: {exc}"
    if mine.method not in METHODS:
        theirs = replace(theirs, method=mine.method)
    return None if theirs == mine else f"{theirs}, not {mine}"


METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH")
NEXT = b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n"

# No `Connection: upgrade`: httptools skips the body of such a request, for us there is
# nothing to agree to.
LINES = (
    *(b"Host: a", b"Host: b:80", b"host:a", b"Host:", b"X: 1", b"X-Y:\t2 ", b"X:"),
    *(b"Content-Length: %d" % n for n in (0, 1, 3, 5, 10)),
    *(b"content-length:3", b"Content-Length: 03", b"Content-Length:  3 "),
    *(b"Content-Length: +3", b"Content-Length: 1_0", b"Content-Length: 3, 3"),
    *(b"Content-Length: 3,", b"Content-Length: 0x3", b"Content-Length : 3"),
    *(b"Content-Length: \xb2", b"Content-Length: -1", b"Content_Length: 3"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED"),
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity"),
    *(b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: xchunked"),
    *(b"Transfer-Encoding : chunked", b"Transfer_Encoding: chunked"),
    *(b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding:"),
    *(b"Transfer-Encoding: chunked;q=1", b"X: 1\r\n folded: 2"),
    *(b"Connection: close", b"Upgrade: h2c"),
    *(
        b"Expect: 100-continue",
        b"X: \xc3\xa9",
        b"X: a\x00b",
        b"X: a\rb",
        b"X: a\nb",
    ),
)
BODIES = (
    *(b"", b"abc", b"abcde", b"0123456789", b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
    *(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"003\r\nabc\r\n00\r\n\r\n"),
    *(
        b"3;x=y\r\nabc\r\n0;z\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"A\r\n0123456789",
    ),
    *(b"a\r\n0123456789\r\n0\r\nT: 1\r\n\r\n", b"0\r\nContent-Length: 3\r\n\r\n"),
    *(b"0\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nConnection: x\r\n\r\n"),
    *(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n"),
    *(b"+3\r\nabc\r\n0\r\n\r\n", b"3\nabc\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n"),
    *(b"3\r\nabcde\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n", b"-1\r\n\r\n0\r\n\r\n"),
    *(b"3\r\nabc\r\n0\r\nT: 1\r\nU: 2\r\n\r\n", b"3\r\nabc0\r\n\r\n"),
)
TARGETS = (
    *(b"/", b"/a?b=c", b"*", b"//a", b"/%00"),
    *(b"http://c/x", b"HTTP://c", b"http://c?d"),
)
ODD_BYTES = (b"\r\n", b"", *(bytes([n]) for n in b"\r\n\t\0 ,;:0a_/\x0b\x7f\x80\xff"))

T = TypeVar("T")


class Choose(Protocol):
    def __call__(self, options: Sequence[T], /) -> T: ...


def made(choose: Choose) -> bytes:
    """A request, nearly well-formed, with bytes in wrong places; another behind it.

    The odd lines are what attackers send.
    """
    method = choose((*(name.encode() for name in METHODS), b"PURGE", b"x", b"M!"))
    version = choose((b"HTTP/1.1",) * 6 + (b"HTTP/1.0", b"HTTP/1.3", b"HTTP/2.0"))
    data: bytes = choose((b"",) * 5 + (b"\r\n",))
    data += b" ".join((method, choose(TARGETS), version)) + b"\r\n"
    data += choose((b"Host: a\r\n",) * 5 + (b"",))
    for _ in range(choose(range(4))):
        data += choose(LINES) + b"\r\n"
    data += b"\r\n" + choose(BODIES)
    for _ in range(choose((0, 0, 1, 2))):
        at = choose(range(len(data) + 1))
        data = data[:at] + choose(ODD_BYTES) + data[at + choose((0, 1)) :]
    return data + choose((b"", NEXT))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_we_accept_is_the_same_to_llhttp(drawn: st.DataObject) -> None:
    """Few, but when one fails hypothesis makes it small."""
    data = made(lambda options: drawn.draw(st.sampled_from(options)))
    assert disagreement(data) is None


def test_so_it_is_in_many_cases() -> None:
    seed = random.randrange(2**32)
    choose = random.Random(seed).choice
    for number in range(EXAMPLES):
        data = made(choose)
        found = disagreement(data)
        assert found is None, f"number {number} of seed {seed}: {data!r}: {found}"


def test_the_common_ones_are_accepted_by_both() -> None:
    """Else the other tests would compare nothing."""
    for framing, body in (
        (b"", b""),
        (b"Content-Length: 3\r\n", b"abc"),
        (
            b"Transfer-Encoding: chunked\r\n",
            b"1;x\r\na\r\n2\r\nbc\r\n0\r\nT: 1\r\n\r\n",
        ),
    ):
        data = (
            b"\r\nPURGE http://c/x HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n" + body
        )
        found = by_us(data + NEXT)
        assert found == Framed("PURGE", "/x", b"abc" if body else b"", NEXT)
        assert disagreement(data + NEXT) is None


# ---- the control: bugs that other parsers have had


def chunked_somewhere(version: str, headers: dict[str, str]) -> int | None:
    if "chunked" in headers.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    return int(headers.get("CONTENT_LENGTH", "0").split(",")[0] or 0)


def length_before_coding(version: str, headers: dict[str, str]) -> int | None:
    length = headers.get("CONTENT_LENGTH", "")
    if length.isascii() and length.isdecimal():
        return int(length)
    return None if "HTTP_TRANSFER_ENCODING" in headers else 0


def first_length(version: str, headers: dict[str, str]) -> int | None:
    if "HTTP_TRANSFER_ENCODING" not in headers:
        headers["CONTENT_LENGTH"] = headers.get("CONTENT_LENGTH", "0").split(",")[0]
    return body_length(version, headers)


def any_integer(version: str, headers: dict[str, str]) -> int | None:
    if headers.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        return None
    try:
        return abs(int(headers.get("CONTENT_LENGTH", "0")))
    except ValueError:
        raise ours.Refused("400 Bad Request", "no number") from None


def no_trailers(rfile: io.BufferedReader) -> dict[str, str]:
    """As the parser's, but a second call, for the trailers, reads one line."""
    if getattr(rfile, "seen", False):
        rfile.readline()
        return {}
    rfile.seen = True  # type: ignore[attr-defined]
    return read_headers(rfile)


read_headers, body_length = ours._read_headers, ours._body_length
PLANTED: dict[str, tuple[str, Any]] = {
    "chunked anywhere in the coding": ("_body_length", chunked_somewhere),
    "a length beside a coding": ("_body_length", length_before_coding),
    "any integer as length": ("_body_length", any_integer),
    "no trailers": ("_read_headers", no_trailers),
    "underscores in sizes": (
        "_CHUNK",
        re.compile(rb"([0-9A-Fa-f_]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n"),
    ),
    "LF ends a size": ("_CHUNK", re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\n]*)?\r?\n")),
    "one digit of a size": ("_CHUNK", re.compile(rb"0*([0-9A-Fa-f])[^\n]*\r\n")),
    "space before a colon": (
        "_FIELD",
        re.compile(rf"({ours._NAME}) *:([\t\x20-\x7e\x80-\xff]*)\r\n"),
    ),
    "LF ends a header": (
        "_FIELD",
        re.compile(rf"({ours._NAME}):([\t\x20-\x7e\x80-\xff]*)\r?\n"),
    ),
    "anything in a value": ("_FIELD", re.compile(rf"({ours._NAME}):([^\n]*)\r\n")),
    "spaces in the request line": (
        "_REQUEST_LINE",
        re.compile(rf"({ours._NAME}) ([ !-~]+) HTTP/1\.([0-9])\r\n"),
    ),
    "the first of two lengths": ("_body_length", first_length),
    "a fragment of a URL": ("_ABSOLUTE", re.compile(r"(https?)://[^/]*([!-~]*)")),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attribute, bug = PLANTED[name]
    monkeypatch.setattr(ours, attribute, bug)
    choose = random.Random(SEED).choice
    assert any(disagreement(made(choose)) for _ in range(BUG_EXAMPLES)), (
        f"not found in {BUG_EXAMPLES} requests"
    )
