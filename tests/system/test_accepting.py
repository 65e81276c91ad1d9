"""What a client is answered."""

import re
import time
from collections.abc import Mapping

import pytest

from tests.conftest import StartMspc
from tests.support.children import free_port
from tests.support.process import MspcProcess, Response
from tests.support.target import Target
from tests.system.raw_http import answer, connected

JSON = "application/json; charset=UTF-8"
MAX_REQUEST_BYTES = 1_048_576  # the default


def check(response: Response, status: int) -> str:
    """Checks an error's form; its message."""
    assert response.status == status, response.body
    assert response.headers["content-type"] == JSON
    assert set(response.json) - {"errors"} == {"error", "message", "code"}
    assert response.json["error"] is True
    assert isinstance(response.json["message"], str)
    return str(response.json["message"])


def test_an_accepted_call(mspc: MspcProcess, target: Target) -> None:
    response = mspc.post({"url": target.url("/accepted")})
    assert response.status == 202
    assert response.headers["content-type"] == JSON
    assert set(response.json) == {"error", "message", "id"}
    assert response.json["error"] is False
    assert response.json["message"] == "Accepted"
    assert re.fullmatch("[0-9a-f]{32}", response.json["id"])
    target.wait_for(1, "/accepted")


def test_the_content_type_of_a_request_does_not_matter(
    mspc: MspcProcess, target: Target
) -> None:
    """Curl says application/x-www-form-urlencoded, as in the original's example."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert mspc.post({"url": target.url("/form")}, form).status == 202
    target.wait_for(1, "/form")


def test_a_body_in_chunks(mspc: MspcProcess, target: Target) -> None:
    text = b'{"url": "%b"}' % target.url("/chunks").encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n"
    with connected(mspc) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        )
        assert answer(client)[0] == 202
    target.wait_for(1, "/chunks")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({}, ["url is missing"]),
        ({"url": "ftp://a/"}, ["url must start with http:// or https://"]),
        ({"url": "http://a:99999/"}, ["url must have a port"]),
        ({"url": "http://a/", "method": "FETCH"}, ["method must be one of", "FETCH"]),
        ({"url": "http://a/", "headers": {"X": []}}, ["headers", "X", "an array"]),
        ({"url": "http://a/", "headers": {"X": "a\nb"}}, ["headers", "X", "control"]),
        ({"url": "http://a/", "body": "neither"}, ["body must be JSON or XML"]),
        ({"url": "http://a/", "body": "<!DOCTYPE a><a/>"}, ["body", "DTD"]),
        ({"url": "http://a/", "requeue": "no"}, ["requeue must be true or false"]),
        ({"url": "http://a/", "reqeue": False}, ["reqeue", "did you mean requeue?"]),
        ({"url": "http://169.254.169.254/"}, ["url", "FORWARD_DENY_NETWORKS"]),
        (
            {"url": 7, "method": "FETCH", "headers": [], "body": 1, "requeue": 0},
            ["url must", "method must", "headers must", "body must", "requeue must"],
        ),
    ],
)
def test_an_invalid_property_is_named(
    mspc: MspcProcess, content: Mapping[str, object], named: list[str]
) -> None:
    message = check(mspc.post(content), 400)
    assert [part for part in named if part not in message] == []


@pytest.mark.parametrize("path", ["/nothing", "/health", "/health/other"])
def test_an_unknown_path(mspc: MspcProcess, path: str) -> None:
    assert check(mspc.request("GET", path), 404) == f"{path} not found."
    assert check(mspc.post({"url": "http://a/"}, path=path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/", "POST"),
        ("PUT", "/", "POST"),
        ("DELETE", "/", "POST"),
        ("OPTIONS", "/", "POST"),
        ("BREW", "/", "POST"),
        ("WEBSOCKET", "/", "POST"),
        ("POST", "/health/live", "GET, HEAD"),
        ("DELETE", "/health/ready", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_possible(
    mspc: MspcProcess, method: str, path: str, allowed: str
) -> None:
    response = mspc.request(method, path)
    check(response, 405)
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"   ",
        b"{",
        b'{"url": "http://a/",}',
        b'{"url": "http://a/"} {}',
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b'{"url": NaN}',
        b'{"url": -Infinity}',
        b'{"url": "http://a/", "url": "http://b/"}',
        b'{"url": "\xff\xfe"}',
        b"\x00\x01\x02\xff",
        '{"url": "http://a/"}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"url":' * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_not_a_json_object(mspc: MspcProcess, content: bytes) -> None:
    assert check(mspc.post(content), 422)


@pytest.mark.parametrize(
    "content",
    [
        b'{"url": ' + b"9" * 500_000 + b"}",
        b'{"url": 1e999999999}',
        b'{"url": null}',
        b'{"url": {"url": "http://a/"}}',
        b'{"url": "http://a/", "headers": {"X": {"deep": [[[]]]}}}',
        b'{"url": "http://a/\\ud800"}',
        b'{"url": "http://a/", "headers": {"\\u0000": "b"}}',
        b'{"url": "http://a/", "body": "\\ud800"}',
        b'{"url": "http://[::1/"}',
        b'{"url": "http://999.999.999.999/"}',
        b'{"url": "http://xn--/", "method": "\\ud800"}',
        b'{"url": "http://a/", "method": ["GET"]}',
        b'{"url": "http://a/", "body": "' + b"[" * 100_000 + b'"}',
        b'{"url": "http://a/", "": 1, "\\ud800": 1}',
        b'{"url": "http://' + b"a" * 300_000 + b'/"}',
    ],
    ids=lambda content: repr(content[:30]),
)
def test_bad_values_are_refused_by_sentences(mspc: MspcProcess, content: bytes) -> None:
    assert check(mspc.post(content), 400)


@pytest.mark.parametrize(
    "start",
    [
        b"Content-Length: 1000000000000\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n" % (MAX_REQUEST_BYTES + 2)
        + b" " * (MAX_REQUEST_BYTES + 2),
    ],
    ids=["by its length", "in chunks"],
)
def test_a_large_request_is_refused_before_its_end(
    mspc: MspcProcess, start: bytes
) -> None:
    """The client never sends the rest, so nobody can have waited for it."""
    with connected(mspc) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + start)
        status, headers, content = answer(client)
    assert status == 413
    assert headers["content-type"] == JSON
    assert content["error"] is True
    assert "MAX_REQUEST_BYTES" in content["message"]


def test_the_largest_request(mspc: MspcProcess, target: Target) -> None:
    text = b'{"url": "%b"' % target.url("/largest").encode()
    padding = b" " * (MAX_REQUEST_BYTES - len(text) - 1)
    assert mspc.post(text + padding + b" }").status == 413
    assert mspc.post(text + padding + b"}").status == 202
    target.wait_for(1, "/largest")


def test_without_a_broker_nothing_is_promised(mspc_process: StartMspc) -> None:
    closed = str(free_port())
    mspc = mspc_process({"QUEUE_SCHEME": "amqp", "QUEUE_PORT": closed}, wait=False)
    mspc.wait_for_log("Listening on ")

    response = mspc.post({"url": "http://127.0.0.1/"})
    assert check(response, 503).startswith("Not stored, send it again: ")
    assert int(response.headers["retry-after"]) > 0

    mspc.wait_for_log(r"RabbitMQ \(publish\) is away")
    assert closed in check(mspc.get("/health/ready"), 503)
    assert mspc.get("/health/live").status == 200

    # Nor does a broker that is away hide what is wrong with a request.
    check(mspc.post(b"{"), 422)
    check(mspc.post({}), 400)

    mspc.terminate()
    assert mspc.wait() == 0


def test_an_answer_waits_for_no_timer(mspc: MspcProcess, target: Target) -> None:
    """The fastest of 300 accepts on one connection takes less than 10 ms.

    That is much more than it needs. An answer that waits for the client's delayed
    acknowledgement (Nagle's algorithm, 40 ms, but for the first few) or a confirm that
    is polled for (10 ms and more) takes longer, each time; a busy machine does not.
    """
    call = b'{"url": "%b"}' % target.url("/one-of-many").encode()
    client = mspc.connect()
    took = []
    try:
        for _ in range(300):
            started = time.monotonic()
            client.request("POST", "/", call)
            response = client.getresponse()
            assert response.status == 202
            response.read()
            took.append(time.monotonic() - started)
    finally:
        client.close()
    assert min(took[50:]) < 0.01
    target.wait_for(300, "/one-of-many", timeout=30)


@pytest.mark.parametrize(
    "begun",
    [
        b"POST / HT",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Le",
        b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"url": "http://a/"',
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["in the request line", "in a header", "in the body", "in a chunk"],
)
def test_a_client_that_hangs_up_harms_nobody(
    mspc: MspcProcess, target: Target, begun: bytes
) -> None:
    with connected(mspc) as client:
        client.sendall(begun)
    assert mspc.post({"url": target.url("/after")}).status == 202
    target.wait_for(1, "/after")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x00\x01\x02\xff\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1e3\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n{}",
            400,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            400,
        ),
        (b"POST /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 10_000 + b"\r\n\r\n", 431),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else None,
)
def test_what_is_not_http_is_refused(
    mspc: MspcProcess, request_: bytes, status: int
) -> None:
    with connected(mspc) as client:
        client.sendall(request_)
        got, headers, content = answer(client)
    assert got == status, content
    assert headers["content-type"] == JSON
    assert content["error"] is True
