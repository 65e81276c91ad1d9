"""Our reader of answers beside llhttp, Node's: what both accept has the same status.

And where ours says that a connection can be used again, llhttp has come to the end of
the answer at the same byte: else one call would get another's answer.

MSPC_TEST_ORACLE_EXAMPLES=100000 looks longer than `make test` does.
"""

import os
import re
from collections.abc import Callable

import httptools
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from mspc.forwarding import answer, rest
from mspc.forwarding.answer import AnswerReader, NoAnswer
from mspc.forwarding.rest import State

EXAMPLES = int(os.environ.get("MSPC_TEST_ORACLE_EXAMPLES", "500"))
LOOK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
# A planted bug is to be found, not to be described.
FIND = settings(
    LOOK, max_examples=3_000, phases=[Phase.generate], derandomize=True, database=None
)

HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")
START = re.compile(rb"HTTP/[0-9.]+ +([0-9]*)[ \t\r]?(.*)", re.DOTALL)


class Theirs:
    """What llhttp makes of some bytes.

    Attributes:
        refused: they are no HTTP.
        status: of the last answer that has begun.
        statuses: of those whose heads are complete.
        ended: how many answers are complete, interim ones included.
        lasting: whether another one may follow the last of them.
    """

    def __init__(self, data: bytes, method: str = "GET") -> None:
        self.refused = False
        self.statuses: list[int] = []
        self.ended = 0
        self.lasting = False
        self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            self.refused = True
        self.status = self._parser.get_status_code()

    def on_headers_complete(self) -> None:
        self.statuses.append(self._parser.get_status_code())

    def on_message_complete(self) -> None:
        self.ended += 1
        self.lasting = bool(self._parser.should_keep_alive())


def ours(data: bytes, pieces: int) -> tuple[int, int, AnswerReader] | None:
    """The final status, after how many bytes it was known, and the reader."""
    reader = AnswerReader("GET")
    try:
        for end in range(1, len(data) + 1):  # each byte counts: where does it decide?
            if reader.feed(data[end - 1 : end]):
                break
        else:
            return None
        whole = AnswerReader("GET")
        for at in range(0, len(data), pieces):
            if whole.feed(data[at : at + pieces]):
                break
        assert whole.status == reader.status, "it depends on how the bytes come"
    except NoAnswer:
        return None
    return reader.status, end, reader


def tidied(data: bytes) -> bytes:
    """The heads in `data`, without the liberties that we let targets take.

    Which are: any version, more than one space or another one, any reason; lines in a
    head that are no headers; lines that end without CR; empty lines between answers.
    """
    lines, in_head = [], False
    for line in data.split(b"\n")[:-1]:
        line = line.removesuffix(b"\r")
        if not in_head:
            line = line.lstrip(b"\r")
            if not line:
                continue
            found = START.fullmatch(line)
            lines.append(b"HTTP/1.1 %s OK" % found[1] if found else line)
        elif not line or HEADER.fullmatch(line):
            lines.append(line)
        in_head = bool(line)
    return b"".join(line + b"\r\n" for line in lines)


def compare(data: bytes, pieces: int) -> None:
    """Raises AssertionError where the two differ."""
    decided = ours(data, pieces)
    if decided is None:
        assert max(Theirs(data).statuses, default=0) < 200, "we refuse what it takes"
        return
    status, at, reader = decided
    # The connection does not end with an interim answer, whatever that says.
    theirs = Theirs(re.sub(rb"(?im)^connection:.*\n", b"", tidied(data[:at])))
    assert not theirs.refused, "llhttp refuses what we take"
    assert theirs.status == status
    following = reader.rest()
    for byte in range(at, len(data)):
        if following.state not in (State.COMING, State.LEAVING):
            return  # with more to come, it would not be used again
        following.feed(data[byte : byte + 1])
    if following.state is State.ENDED:
        start = data[:at].rstrip(b"\r\n").rfind(b"\n") + 1
        assert same_end(data[start:]), "llhttp sees another end"


def same_end(data: bytes) -> bool:
    """Whether llhttp finds the end of one lasting answer at that of `data`."""
    end = re.search(rb"\n\r?\n", data)
    assert end is not None
    body = data[end.end() :]
    if re.search(rb"(?<!\r)\n", body):
        return True  # between chunks, too, LF will do
    # As are its extensions.
    body = re.sub(rb"(?m)^([0-9A-Fa-f]+);[^\r\n]*", rb"\1", body)
    version = re.sub(rb"^(HTTP/1\.0)?.*", rb"\1", data[: data.index(b" ")])
    head = tidied(data[: end.end()])
    if version:
        head = head.replace(b"HTTP/1.1", version, 1)
    theirs = Theirs(head + body)
    return (theirs.refused, theirs.ended, theirs.lasting) == (False, 1, True)


EOL = st.sampled_from([b"\r\n"] * 9 + [b"\n"])
TEXT = st.binary(max_size=8).map(lambda text: re.sub(rb"[\r\n]", b"", text))
REASON = st.sampled_from([b"", b" ", b" OK", b" 404 Not Found", b" HTTP/1.1 500 No"])
VERSION = st.sampled_from([b"1.1"] * 6 + [b"1.0", b"1.2", b"2", b"2.0", b"0.9"])
SPACE = st.sampled_from([b" "] * 6 + [b"  ", b"\t"])
FRAMES = st.sampled_from(
    [
        (b"Content-Length: 0", b""),
        (b"Content-Length: 5", b"hello"),
        (b"content-length:5", b"hello"),
        (b"Content-Length: 5", b"hell"),
        (b"Content-Length: 5", b"hel"),
        (b"Transfer-Encoding: chunked", b"10\r\n0123456789\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\nX: y\r\n"),
        (b"Content-Length: +5", b"hello"),
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"A;b=c\r\n0123456789\r\n0\r\nX: y\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"0\r\n\r\n"),
        (b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n"),
        (b"X: y", b""),
        (b"X: y", b"until it closes"),
    ]
)
EXTRA = st.sampled_from(
    [
        b"Link: </a>",
        b"Connection: close",
        b"Connection: keep-alive",
        b"HTTP/1.1 500 No",
        b" folded",
        b"no colon",
        b"X:",
    ]
)


@st.composite
def head(draw: st.DrawFn, code: st.SearchStrategy[int]) -> bytes:
    """A status line and headers, without the empty line."""
    number = b"%d" % draw(code)
    line = b"HTTP/" + draw(VERSION) + draw(SPACE) + number + draw(REASON) + draw(TEXT)
    lines = [line, *draw(st.lists(EXTRA, max_size=2))]
    return b"".join(one + draw(EOL) for one in lines)


INTERIM = st.sampled_from([100, 102, 103, 199])
FINAL = st.one_of(
    st.sampled_from([101, 200, 201, 204, 304, 404, 503]), st.integers(200, 999)
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Interim answers, a final one, and some accidents on the way."""
    early = draw(st.lists(head(INTERIM), max_size=2))
    frame, body = draw(FRAMES)
    parts = [one + draw(EOL) for one in early]
    data = draw(st.sampled_from([b""] * 4 + [b"\r\n"])) + b"".join(parts)
    after = draw(st.sampled_from([b""] * 3 + [b"X:\r\n", b" folded\r\n"]))
    data += draw(head(FINAL)) + frame + b"\r\n" + after + draw(EOL) + body
    data += draw(st.sampled_from([b""] * 4 + [b"x", b"HTTP/1.1 500 No\r\n\r\n"]))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data) - 1))
        cut = draw(st.integers(0, 3))
        put = draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b"1", b"\x00"]))
        data = data[:at] + put + data[at + cut :]
    return data


@LOOK
@given(data=answers(), pieces=st.sampled_from([1, 2, 7, 1_000]))
@example(data=b"HTTP/1.1 100 A\r\n\r\nHTTP/1.1 200 B\r\n\r\n", pieces=1)
@example(data=b"HTTP/1.1 200 404\r\nContent-Length: 0\r\n\r\n", pieces=1_000)
@example(data=b"HTTP/1.1 204\r\nX:\r\nContent-Length:\r\n\r\n", pieces=1)
@example(data=b"HTTP/1.1 304\r\nContent-Length: +5\r\n\r\n", pieces=1)
@example(data=b"HTTP/1.1 204\r\nTransfer-Encoding:\r\n\r\n", pieces=1)
def test_what_both_accept_means_the_same(data: bytes, pieces: int) -> None:
    compare(data, pieces)


@LOOK
@given(data=st.binary(max_size=200), pieces=st.integers(1, 50))
def test_any_bytes(data: bytes, pieces: int) -> None:
    compare(b"HTTP/1.1 2" + data, pieces)
    compare(data, pieces)


def test_most_of_what_is_tried_is_accepted() -> None:
    """Else there would be nothing to compare."""
    accepted = refused = ended = 0

    @settings(FIND, max_examples=500)
    @given(data=answers())
    def count(data: bytes) -> None:
        nonlocal accepted, refused, ended
        decided = ours(data, 1)
        if decided is None:
            refused += 1
            return
        accepted += 1
        following = decided[2].rest()
        ended += following.feed(data[decided[1] :]) is State.ENDED

    count()
    assert accepted > 200
    assert ended > 25
    assert refused > 25


Plant = Callable[[pytest.MonkeyPatch], None]
Bug = tuple[object, str, object]


def pattern(text: bytes) -> re.Pattern[bytes]:
    return re.compile(text, re.DOTALL)


BUGS: dict[str, Bug] = {
    "the last number of the line is the status": (
        answer,
        "_STATUS",
        pattern(rb"HTTP/([0-9]+(?:\.[0-9]+)?) .*?([1-9][0-9]{2})[^0-9]*"),
    ),
    "a status may have two digits": (
        answer,
        "_STATUS",
        pattern(rb"HTTP/([0-9]+(?:\.[0-9]+)?) +([1-9][0-9]{1,2}).*"),
    ),
    "an interim answer ends with its line": (answer, "_HEAD_END", pattern(rb"\n")),
    "an interim answer has no end of its own": (
        answer,
        "_HEAD_END",
        pattern(rb"\n(?=HTTP)"),
    ),
    "a length is short by one": (
        rest,
        "_length",
        lambda value: max(0, int(value) - 1) if value and value.isdigit() else None,
    ),
    "the size of a chunk is decimal": (
        rest,
        "int",
        lambda text, base=10: int(text, 10) if text.isdigit() else 1,
    ),
    "a trailer is the end": (rest, "_EMPTY", (b"\r\n", b"\n", b"X: y\r\n")),
    "a length may have a sign": (
        rest,
        "_length",
        lambda value: int(re.sub(rb"\D", b"", value) or b"0") if value else None,
    ),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, bug: Bug) -> None:
    module, name, wrong = bug
    monkeypatch.setattr(module, name, wrong, raising=False)

    @FIND
    @given(data=answers(), pieces=st.sampled_from([1, 1_000]))
    def look(data: bytes, pieces: int) -> None:
        compare(data, pieces)

    with pytest.raises(AssertionError):
        look()
