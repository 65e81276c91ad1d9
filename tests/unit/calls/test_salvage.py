"""What is sent of a call that was accepted by other rules than ours."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mspc.calls import json_text
from mspc.calls.call import Request
from mspc.calls.networks import NetworkRules
from mspc.calls.salvage import salvage
from mspc.calls.validation import parse
from mspc.errors import BadRequest, NotAnObject

NETWORKS = NetworkRules()
URL = "http://service.test/path"
REFUSED = NotAnObject("The body is not JSON: as parse() has said.")


def read(payload: bytes) -> Request:
    with pytest.raises(BadRequest) as refused:
        parse(payload, NETWORKS)
    return salvage(payload, NETWORKS, refused.value)


def sent(url: Any = URL, **properties: Any) -> Request:
    """What is sent for properties that parse() refuses."""
    return read(json.dumps({"url": url, **properties}).encode())


def refusal(payload: bytes) -> str:
    with pytest.raises(BadRequest) as caught:
        read(payload)
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "expected", "media_type"),
    [
        ("not json nor xml", b"not json nor xml", None),
        (" ", b" ", None),
        ("[1, 2", b"[1, 2", None),
        ("a=1&b=\x00", b"a=1&b=\x00", None),
        ("<!DOCTYPE a><a/>", b"<!DOCTYPE a><a/>", None),
        ("cut \ud83d", "cut \ufffd".encode(), None),
        ('"\ud83d"', '"\ufffd"'.encode(), "json"),
        ({"a": [1.50, "é"]}, b'{"a": [1.5, "\\u00e9"]}', "json"),
        ([], b"[]", "json"),
        (12, b"12", "json"),
        (False, b"false", "json"),
    ],
)
def test_any_body_is_sent(body: Any, expected: bytes, media_type: str | None) -> None:
    request = sent(body=body, method="post")
    assert request.body == expected
    headers = {"Content-Type": f"application/{media_type}; charset=UTF-8"}
    assert dict(request.headers) == (headers if media_type else {})


def test_a_body_that_is_json_itself_is_sent_as_it_stands() -> None:
    payload = b'{"url": "http://a", "body": {"n":1.50,  "big":1e400, "n":2}}'
    assert read(payload).body == b'{"n":1.50,  "big":1e400, "n":2}'


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"A": "Basic eA==\n"}, {"A": "Basic eA=="}),
        ({"A": "1\r\nB: 2"}, {"A": "1 B: 2"}),
        ({"A": "\x00"}, {"A": ""}),
        ({"A": None, "B": "1"}, {"B": "1"}),
        ({"A": ["x", "y"]}, {"A": "x, y"}),
        (
            {"A": {"x": 1}, "B": True, "C": 1.5},
            {"A": '{"x": 1}', "B": "true", "C": "1.5"},
        ),
        ({"A B": "1", "": "2", "Ä": "3", "C": "4"}, {"C": "4"}),
        ({"A": "1", "a": "2"}, {"a": "2"}),
        ({"A": "\ud83d"}, {"A": "\ufffd"}),
        ({"Content-Length": None, "Host": "other.test"}, {"Host": "other.test"}),
        ([], {}),
        ("A: 1", {}),
        (False, {}),
    ],
)
def test_headers_that_can_be_written_are_sent(
    headers: Any, expected: dict[str, str]
) -> None:
    assert dict(sent(headers=headers).headers) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (" http://a/b\n", "http://a/b"),
        ("http://a/b c\\d", "http://a/b%20c%5Cd"),
        ("http://a/\x85\x00", "http://a/%C2%85%00"),
        ("http://a/\ud83d", "http://a/%EF%BF%BD"),
        ("http://a/" + "x" * 10_000, "http://a/" + "x" * 10_000),
    ],
)
def test_urls_that_can_be_asked_for(url: str, expected: str) -> None:
    assert sent(url).url == expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [("PROPFIND", "PROPFIND"), ("purge", "PURGE"), (" post ", "POST"), ("", "GET")],
)
def test_methods_that_can_be_asked_with(method: str, expected: str) -> None:
    assert sent(method=method).method == expected


@pytest.mark.parametrize(
    ("requeue", "expected"),
    [
        ("false", False),
        ("No", False),
        (0, False),
        ("true", True),
        (1, True),
        ("once", True),
        ([], True),
    ],
)
def test_requeue_is_true_unless_it_can_only_be_false(
    requeue: Any, expected: bool
) -> None:
    assert sent(requeue=requeue).requeue is expected


@pytest.mark.parametrize(
    "payload",
    [
        b'{"url": "http://a/x", "Method": "PUT", "callback": [[[]]]}',
        b'{"url": "http://b/", "url": "http://a/x"}',
        b'{"url": "http://a/x", "n": NaN}',
        b'{"url": "http://a/x", "n": "\\ud83d"}',
        b'{"url": "http://a/x", "n": "\xe9"}',
        '{"url": "http://a/x", "é": 1}'.encode("utf-16"),
        '{"url": "http://a/x", "é": 1}'.encode("utf-16-be"),
        '{"url": "http://a/x"}'.encode("utf-32"),
        b'{"url": "http://a/x", "n": "' + b"\\ud83d," * 100_000 + b'"}',
        b'{"url": "http://a/x", "n": [' + b"[]," * 100_000 + b"[]]}",
        b'{"url": "http://a/x", ' + b'"n": 1, ' * 100_000 + b'"n": 1}',
    ],
)
def test_what_else_there_is_does_not_matter(payload: bytes) -> None:
    assert read(payload).url == "http://a/x"


def test_the_other_half_of_a_pair_is_kept_and_what_only_looks_like_one() -> None:
    payload = rb'{"url": "http://a", "body": "\ud83d\ude00 \\ud83d \ude00 \"\\\ud83d"}'
    assert read(payload).body == '\U0001f600 \\ud83d \ufffd "\\\ufffd'.encode()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "The body is empty"),
        (b"garbage", "The body is not JSON"),
        (b"[]", "must be a JSON object, not an array."),
        (b"{" + b"[" * 100_000, "The body is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\x1f\x8b\x08\x00", "It is compressed with gzip: send the text itself."),
        (b'{"url": "http://a"} x', "The body is not JSON"),
        (b"{}", "url is missing."),
        (b'{"url": null}', "url is missing."),
        (
            b'{"Url": "http://a"}',
            '"Url" is not a property of a call; did you mean url?',
        ),
        (b'{"url": " http://169.254.169.254/"}', "FORWARD_DENY_NETWORKS"),
        (b'{"url": ["http://a"]}', "url must be a string, not an array."),
        (b'{"url": "nowhere"}', "url must start with http:// or https://."),
        (b'{"url": "http://a b/"}', "url has "),
        (b'{"url": "http://a:99999/"}', "url must have a port"),
        (b'{"url": "http://169.254.169.254/", "x": 1}', "FORWARD_DENY_NETWORKS"),
        (b'{"url": "http://a", "method": "GET /x"}', "method is none that"),
        (b'{"url": "http://a", "method": {}}', "method is none that"),
    ],
)
def test_what_cannot_be_sent(payload: bytes, expected: str) -> None:
    assert expected in refusal(payload)


def test_headers_that_no_service_takes() -> None:
    headers = {f"X-{n}": "1" for n in range(1001)}
    payload = json.dumps({"url": URL, "headers": headers}).encode()
    assert refusal(payload) == "headers must not be more than 1000."


def test_what_only_python_reads_is_read_when_it_is_small() -> None:
    payload = b'{"url": "http://a", "n": [' + b"NaN," * json_text.FEW_VALUES + b"1]}"
    assert "The body is not JSON" in refusal(payload)


def test_a_header_that_only_python_reads_is_sent_as_it_is_written() -> None:
    headers = b'{"A": NaN, "B": [-Infinity, 1], "C": 1e999}'
    payload = b'{"url": "http://a", "headers": %s}' % headers
    expected = {"A": "NaN", "B": '["-Infinity", 1]', "C": "1e999"}
    assert dict(read(payload).headers) == expected


def test_trace_has_no_body() -> None:
    assert sent(method="TRACE", body="x y").body == b""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    st.binary()
    | st.fixed_dictionaries(
        {"url": st.sampled_from([URL, "http://a/\ud800 "]) | json_values},
        optional=dict.fromkeys(
            ("method", "headers", "body", "requeue", "x"), json_values
        ),
    ).map(lambda properties: json.dumps(properties).encode())
)
@example(b'{"url": "\\ud800", "x": Infinity}')
@example(b'{"url": "http://a/", "headers": {"X-A": ["\\udfff"]}, "x": NaN}')
@example(b'{"url": "http://a/", "body": "\\ud800\\ud800\\udc00", "x": NaN}')
@example(b'{"url": "http://a/", "headers": {"": Infinity}}')
def test_anything_is_sent_or_refused(payload: bytes) -> None:
    try:
        request = salvage(payload, NETWORKS, REFUSED)
    except BadRequest as exc:
        str(exc).encode()
        return
    for text in (request.host, request.target, request.method):
        assert text.isascii()
        assert not any(char <= " " or char == "\x7f" for char in text)
    for name, value in request.headers:
        assert name.isascii()
        assert not {"\r", "\n", "\x00"} & set(value)
        value.encode()


@given(st.dictionaries(st.sampled_from(["headers", "body", "requeue"]), json_values))
def test_what_keeps_the_rules_is_sent_as_it_would_be(properties: Any) -> None:
    payload = json.dumps({"url": URL, **properties}).encode()
    try:
        expected = parse(payload, NETWORKS)
    except BadRequest:
        return
    assert salvage(payload, NETWORKS, REFUSED) == expected
