"""The server on real sockets, with a tiny WSGI application behind it."""

import logging
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from cryptography.hazmat.primitives import serialization

from mspc.errors import ConfigError
from mspc.serving.connection import ClientConnection
from mspc.serving.server import Server
from mspc.settings.config import HttpConfig
from tests.integration.serving.harness import (
    CHUNKED,
    GET,
    LOCAL,
    POST,
    SOON,
    App,
    Client,
    Connect,
    Start,
    allow,
    install,
)
from tests.support.certificates import Certificate, Certificates
from tests.support.waiting import eventually

# ---- requests as they should be


def test_a_connection_serves_one_request_after_the_other(
    client: Client, app: App
) -> None:
    first = client.ask(POST + b"Content-Length: 3\r\n\r\nabc")
    second = client.ask(CHUNKED + b"1;ext=1\r\na\r\n2\r\nbc\r\n0\r\nTrailer: x\r\n\r\n")
    third = client.ask(GET)

    assert [a.body for a in (first, second, third)] == [b"abc", b"abc", b""]
    for answer in (first, second, third):
        assert answer.headers["connection"] == "keep-alive"
        assert answer.headers["keep-alive"] == "timeout=75"
    assert app.environ["wsgi.input_terminated"] is True


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    count = 200
    bodies = [b"%d" % n for n in range(count)]
    client.send(
        b"".join(POST + b"Content-Length: %d\r\n\r\n%b" % (len(b), b) for b in bodies)
    )

    assert [client.answer().body for _ in range(count)] == bodies


def test_what_the_application_is_told(client: Client, app: App) -> None:
    client.ask(
        b"\r\nGET /a%20b?c=%20d HTTP/1.1\r\nHost: here:80\r\nX-One: \t1 \r\n"
        b"x-one:2\r\nX_One: 3\r\nContent-Type: x/y\r\nX-L: \xe9\r\n\r\n"
    )

    env = app.environ
    assert env["PATH_INFO"] == "/a b"
    assert env["QUERY_STRING"] == "c=%20d"
    assert env["HTTP_HOST"] == "here:80"
    assert env["HTTP_X_ONE"] == "1,2"
    assert env["HTTP_X_L"] == "\xe9"
    assert env["CONTENT_TYPE"] == "x/y"
    assert env["REMOTE_ADDR"] == LOCAL
    assert env["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert env["wsgi.url_scheme"] == "http"
    assert "CONTENT_LENGTH" not in env


@pytest.mark.parametrize(
    ("request_line", "path", "host"),
    [
        (b"GET http://there:81/x?y HTTP/1.1", "/x", "there:81"),
        (b"GET HTTP://there HTTP/1.1", "/", "there"),
        (b"GET http://there?y HTTP/1.1", "/", "there"),
        (b"OPTIONS * HTTP/1.1", "*", "here"),
    ],
)
def test_targets_that_are_no_path(
    client: Client, app: App, request_line: bytes, path: str, host: str
) -> None:
    assert client.ask(request_line + b"\r\nHost: here\r\n\r\n").status == 200
    assert (app.environ["PATH_INFO"], app.environ["HTTP_HOST"]) == (path, host)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n", False),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_the_client_decides_whether_the_connection_is_kept(
    client: Client, head: bytes, kept: bool
) -> None:
    answer = client.ask(head + b"\r\n")

    assert answer.headers["connection"] == ("keep-alive" if kept else "close")
    if kept:
        assert client.ask(GET).status == 200
    else:
        assert client.rest() == b""


def test_an_answer_without_a_length_ends_with_the_connection_in_http_1_0(
    client: Client,
) -> None:
    answer = client.ask(b"GET /stream HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
    assert answer.headers["connection"] == "close"
    assert answer.body + client.rest() == b"onetwo"


def test_100_continue_comes_when_the_body_is_read(client: Client) -> None:
    client.send(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert client.answer().status == 100
    assert client.ask(b"abc").body == b"abc"
    assert client.ask(GET).status == 200


def test_small_answers_leave_at_once(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server)
    client.ask(GET)

    (connection,) = server._traffic.open
    assert isinstance(connection, ClientConnection)
    option = (socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert connection.socket.getsockopt(*option) == 1
    client.send(GET)
    answer = client.sock.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    client.send(POST + b"Content-Length: 5\r\n\r\nhello")
    assert client.sock.recv(65_536).endswith(b"\r\n\r\nhello")  # in one packet


# ---- requests as they must not be

MALFORMED = {
    "length and chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n",
    "two codings": b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked first": b"Transfer-Encoding: chunked, identity\r\n\r\n",
    "two chunked": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "no coding": b"Transfer-Encoding:\r\n\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "same length twice": b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "list of lengths": b"Content-Length: 3, 3\r\n\r\nabc",
    "signed length": b"Content-Length: +5\r\n\r\nabcde",
    "negative length": b"Content-Length: -1\r\n\r\n",
    "underscored length": b"Content-Length: 1_0\r\n\r\n0123456789",
    "hexadecimal length": b"Content-Length: 0x5\r\n\r\nabcde",
    "superscript length": b"Content-Length: \xb2\r\n\r\nab",
    "empty length": b"Content-Length: \r\n\r\n",
    "absurd length": b"Content-Length: 1000000000000000\r\n\r\n",
    "bare LF": b"X: 1\nY: 2\r\n\r\n",
    "LF alone at the end": b"X: 1\r\n\n",
    "bare CR": b"X: 1\rY: 2\r\n\r\n",
    "obs-fold": b"X: 1\r\n 2\r\n\r\n",
    "folded first": b" X: 1\r\n\r\n",
    "space before the colon": b"Content-Length : 3\r\n\r\nabc",
    "no colon": b"Content-Length\r\n\r\n",
    "no name": b": 3\r\n\r\n",
    "NUL in a name": b"X\0: 3\r\n\r\n",
    "NUL in a value": b"X: a\0b\r\n\r\n",
    "DEL in a value": b"X: a\x7fb\r\n\r\n",
    "two hosts": b"Host: there\r\n\r\n",
    "the same host": b"Host: here\r\n\r\n",
}
BAD_HEADS = {
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9 by name": b"GET / HTTP/0.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "long version": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "leading space": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "trailing space": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "tab": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no ASCII": b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "LF": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "method": b"G{T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two empty lines": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "star": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "other scheme": b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "host list": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "user info": b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    **{name: POST + headers for name, headers in MALFORMED.items()},
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_malformed_request_ends_the_connection(
    client: Client, app: App, name: str
) -> None:
    answer = client.ask(BAD_HEADS[name] + GET)

    assert answer.status == 400
    assert answer.message.endswith(".")
    assert answer.headers["connection"] == "close"
    assert client.rest() == b""
    assert app.environ == {}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n", 414),
        (GET[:-2] + b"X: " + b"a" * 8192 + b"\r\n\r\n", 431),
        (GET[:-2] + b"X: 1\r\n" * 100 + b"\r\n", 431),
        (GET[:-2] + (b"X: " + b"a" * 8000 + b"\r\n") * 9 + b"\r\n", 431),
    ],
)
def test_too_large_heads(
    client: Client, app: App, request_: bytes, status: int
) -> None:
    answer = client.ask(request_)

    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert "than" in answer.message
    assert client.rest() == b""
    assert app.environ == {}


def test_a_hundred_headers_are_not_too_many(client: Client) -> None:
    assert client.ask(GET[:-2] + b"X: 1\r\n" * 99 + b"\r\n").status == 200


def test_a_refusal_is_logged_without_what_was_sent(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.ask(GET[:-2] + b"X-Authorization: sec\0ret\r\n\r\n")

    (record,) = [r for r in caplog.records if "refused" in r.getMessage()]
    assert record.levelno == logging.INFO
    assert record.exc_info is None
    assert "sec" not in record.getMessage()


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"\r\n",
        b";ext\r\n",
        b"-1\r\n",
        b"+1\r\na\r\n0\r\n\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b"1\na\r\n0\r\n\r\n",
        b"1 \r\na\r\n0\r\n\r\n",
        b"1\t;x\r\na\r\n0\r\n\r\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"1\r\na0\r\n\r\n",
        b"1;a\rb\r\na\r\n0\r\n\r\n",
        b"1;" + b"a" * 1100 + b"\r\na\r\n0\r\n\r\n",
        b"f" * 16 + b"\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"0\r\ntransfer-encoding: chunked\r\n\r\n",
        b"0\r\nHost: there\r\n\r\n",
        b"0\r\n" + b"T: 1\r\n" * 101 + b"\r\n",
        b"0\r\n" + b"T: " + b"a" * 8200 + b"\r\n\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/", b"/careless"])
def test_malformed_chunks(client: Client, app: App, body: bytes, path: bytes) -> None:
    answer = client.ask(CHUNKED.replace(b"/", path, 1) + body + GET)

    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert client.rest() == b""
    assert app.calls == []


# ---- bodies that nobody reads


def test_a_small_unread_body_is_skipped(client: Client) -> None:
    post = POST.replace(b"/", b"/unread", 1)
    answer = client.ask(post + b"Content-Length: 60000\r\n\r\n" + b"a" * 60_000)

    assert (answer.status, answer.headers["connection"]) == (413, "keep-alive")
    assert client.ask(GET).status == 200


def test_a_body_read_in_part_ends_the_connection(client: Client) -> None:
    answer = client.ask(CHUNKED.replace(b"/", b"/part", 1) + b"5\r\nabcde\r\n0\r\n\r\n")

    assert (answer.body, answer.headers["connection"]) == (b"abcd", "close")
    assert client.rest() == b""


def test_an_unread_body_is_not_asked_for(client: Client) -> None:
    post = POST.replace(b"/", b"/unread", 1)
    answer = client.ask(post + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")

    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert client.rest() == b""


# ---- clients that are slow, or go away

SHORT = 0.2


def assert_closed_unanswered(client: Client, started: float) -> None:
    assert client.rest() == b""
    assert SHORT <= time.monotonic() - started < 5


def test_tls_is_not_waited_for_until_a_line_ends(client: Client) -> None:
    client.send(BAD_HEADS["TLS"])
    assert client.answer().message.startswith("TLS is not spoken on this port")


@pytest.mark.parametrize("begun", [b"", b"GET / HTT", GET[:-4], b"\r"])
def test_a_slow_head(start: Start, connect: Connect, begun: bytes) -> None:
    started = time.monotonic()
    client = connect(start(limits={"headers": SHORT}))
    client.send(begun)

    assert_closed_unanswered(client, started)


def test_dribbling_does_not_extend_the_time_for_a_head(
    start: Start, connect: Connect
) -> None:
    client = connect(start(limits={"headers": SHORT}))
    started = time.monotonic()
    with pytest.raises(ConnectionError):  # noqa: PT012
        for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 5000:
            client.send(bytes([byte]))
            gevent.sleep(0.01)
    assert time.monotonic() - started < 5


def test_the_second_head_has_its_own_time(start: Start, connect: Connect) -> None:
    client = connect(start(limits={"headers": SHORT}))
    client.ask(GET)
    started = time.monotonic()
    client.send(GET[:-4])
    assert_closed_unanswered(client, started)


def test_an_idle_connection(start: Start, connect: Connect) -> None:
    client = connect(start(limits={"idle": SHORT}))
    started = time.monotonic()  # it is idle before the answer is read
    client.ask(GET)
    assert_closed_unanswered(client, started)


@pytest.mark.parametrize(
    "request_", [POST + b"Content-Length: 5\r\n\r\nab", CHUNKED + b"5\r\nab"]
)
def test_a_slow_body(start: Start, connect: Connect, app: App, request_: bytes) -> None:
    client = connect(start(limits={"body": SHORT}))
    started = time.monotonic()
    client.send(request_)
    assert_closed_unanswered(client, started)
    assert app.calls == []
    assert len(app.failures) == 1


def test_a_client_that_reads_no_answers(start: Start, connect: Connect) -> None:
    server = start(limits={"send": SHORT})
    client = connect(server)
    client.sock.settimeout(0.5)
    body = b"a" * 1_000_000
    with pytest.raises(OSError):  # noqa: PT011, PT012
        for _ in range(1000):
            client.send(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    eventually(lambda: not server._traffic.open)


def test_the_application_has_all_the_time_it_needs(
    start: Start, connect: Connect, app: App
) -> None:
    tiny = dict.fromkeys(("headers", "body", "idle", "send", "linger"), SHORT)
    client = connect(start(limits=tiny))
    client.send(GET.replace(b"/", b"/wait", 1))
    assert app.entered.wait(SOON)
    gevent.sleep(4 * SHORT)  # that nothing happens has no event
    app.release.set()
    assert client.answer().status == 200


def reset(client: Client) -> None:
    option = (socket.SOL_SOCKET, socket.SO_LINGER)
    client.sock.setsockopt(*option, b"\1\0\0\0\0\0\0\0")
    client.close()


@pytest.mark.parametrize("leave", [Client.close, reset])
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /",
        GET[:-4],
        POST + b"Content-Length: 5\r\n\r\nab",
        POST.replace(b"/", b"/careless", 1) + b"Content-Length: 5\r\n\r\nab",
        POST.replace(b"/", b"/unread", 1) + b"Content-Length: 5\r\n\r\nab",
        POST.replace(b"/", b"/unread", 1) + b"Content-Length: 500000\r\n\r\nab",
        CHUNKED,
        CHUNKED + b"5\r\nab",
        CHUNKED + b"5\r\nabcde",
        CHUNKED + b"0\r\n",
        BAD_HEADS["two spaces"],
        GET * 50,
    ],
)
def test_a_client_that_hangs_up(
    start: Start,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    leave: Callable[[Client], None],
    sent: bytes,
) -> None:
    server = start()
    client = connect(server)
    client.send(sent)
    eventually(lambda: server._traffic.open)
    leave(client)

    eventually(lambda: not server._traffic.open)
    if sent != BAD_HEADS["two spaces"]:
        levels = {r.levelno for r in caplog.records if "connection" in r.name}
        assert levels <= {logging.DEBUG}
    assert connect(server).ask(GET).status == 200


@pytest.mark.parametrize("leave", [Client.close, reset])
def test_a_client_that_does_not_wait_for_its_answer(
    start: Start, connect: Connect, app: App, leave: Callable[[Client], None]
) -> None:
    server = start()
    client = connect(server)
    client.send(GET.replace(b"/", b"/wait", 1))
    assert app.entered.wait(SOON)
    leave(client)
    app.release.set()
    eventually(lambda: not server._traffic.open)


def test_a_failing_application_is_our_bug(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    allow(caplog, "The application failed")
    client = connect(start())
    answer = client.ask(GET.replace(b"/", b"/bug", 1))

    assert (answer.status, answer.headers["connection"]) == (500, "close")
    assert "nothing is promised" in answer.message
    assert client.rest() == b""
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.exc_info


# ---- too many


def test_no_more_connections_than_allowed(start: Start, connect: Connect) -> None:
    server = start(limits={"connections": 2})
    first, second, third = (connect(server) for _ in range(3))
    for client in (first, second):
        client.send(GET[:-2])  # in the middle of a request
    eventually(lambda: len(server._traffic.open) == 2)
    third.send(GET)
    gevent.sleep(0.1)  # that nothing happens has no event
    assert len(server._traffic.open) == 2

    first.close()
    assert third.answer().status == 200
    second.close()
    third.close()
    assert connect(server).ask(GET).status == 200


OUT_OF_FILES = """
from gevent import monkey; monkey.patch_all()
import logging, os, resource, socket, sys
import gevent
from mspc.settings.config import HttpConfig
from mspc.serving.server import Server

logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")

def app(env, respond):
    respond("200 OK", [("Content-Length", "2")])
    return [b"ok"]

server = Server(HttpConfig(host="127.0.0.1", port=0), app)
server.bind()
server.start()
clients = [socket.socket() for _ in range(8)]
# The server can have three descriptors, and needs eight.
spare = os.dup(0)
os.close(spare)
resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 3, 100))
for client in clients:
    client.connect(("127.0.0.1", server.ports.http))
    client.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
gevent.sleep(0.5)
assert len(server._traffic.open) == 3, len(server._traffic.open)
for client in clients[:3]:
    assert client.recv(4096).endswith(b"ok")
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
for client in clients[3:]:
    client.settimeout(10)
    assert client.recv(4096).endswith(b"ok")
server.stop(5)
print("served all")
"""


def test_running_out_of_file_descriptors() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_FILES],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    warning, result = done.stdout.splitlines()
    assert warning.startswith("WARNING No connection can be accepted")
    assert result == "served all"


# ---- TLS


def secure_client(server: Server, context: ssl.SSLContext) -> Client:
    port = server.ports.https
    assert port
    plain = socket.create_connection((LOCAL, port), timeout=SOON)
    try:
        return Client(port, context.wrap_socket(plain, server_hostname="localhost"))
    except OSError:
        plain.close()
        raise


def trusted(server: Server, certificate: Certificate) -> bool:
    """Whether the server shows this certificate, and answers."""
    try:
        client = secure_client(server, certificate.client_context())
    except ssl.SSLCertVerificationError:
        return False
    status = client.ask(GET).status
    client.close()
    return status == 200


def test_https(start: Start, ssl_dir: Path, certificates: Certificates) -> None:
    server = start(tls=True, ssl_dir=ssl_dir, redirect_to_tls=False)
    client = secure_client(server, certificates.server.client_context())

    assert server.ports.http is None
    assert client.ask(POST + b"Content-Length: 3\r\n\r\nabc").body == b"abc"
    body = b"a" * 3_000_000
    post = POST + b"Content-Length: %d\r\n\r\n" % len(body)
    assert client.ask(post + body).body == body
    answer = client.ask(
        POST.replace(b"/", b"/unread", 1) + b"Content-Length: 99999\r\n\r\n"
    )
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert client.rest() == b""
    client.close()


@pytest.mark.parametrize(("version", "good"), [(1, False), (2, True), (3, True)])
def test_tls_versions(
    start: Start, ssl_dir: Path, certificates: Certificates, version: int, good: bool
) -> None:
    server = start(tls=True, ssl_dir=ssl_dir)
    context = certificates.server.client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):  # 1.1 is deprecated
        context.minimum_version = ssl.TLSVersion[f"TLSv1_{version}"]
        context.maximum_version = ssl.TLSVersion[f"TLSv1_{version}"]
    if not good:
        with pytest.raises(ssl.SSLError):
            secure_client(server, context)
        return
    client = secure_client(server, context)
    assert client.ask(GET).status == 200
    client.close()


@pytest.mark.parametrize("sent", [GET, b"", b"\x16\x03\x01\x00\x05hello", b"\0" * 9])
@pytest.mark.parametrize("leave", [None, Client.close, reset])
def test_no_handshake(
    start: Start,
    ssl_dir: Path,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    leave: Callable[[Client], None] | None,
) -> None:
    server = start(tls=True, ssl_dir=ssl_dir, limits={"handshake": SHORT})
    client = Client(server.ports.https)
    client.send(sent)
    if leave:
        leave(client)
    else:
        client.rest()
        client.close()
    assert trusted(server, certificates.server)
    eventually(lambda: not server._traffic.open)
    assert all(r.exc_info is None for r in caplog.records)


def test_the_certificate_is_reloaded(
    start: Start,
    tmp_path: Path,
    ssl_dir: Path,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    allow(caplog, "was not reloaded")
    server = start(tls=True, ssl_dir=ssl_dir)
    old = certificates.server
    kept = secure_client(server, old.client_context())
    new = certificates.make("new", directory=tmp_path)
    install(new, ssl_dir)
    server.reload()

    assert trusted(server, new)
    assert not trusted(server, old)
    assert kept.ask(GET).status == 200
    kept.close()

    shutil.copy(old.crt, ssl_dir / "server.crt")  # of another key
    server.reload()
    assert trusted(server, new)
    (ssl_dir / "server.key").unlink()
    server.reload()
    assert trusted(server, new)
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "is not the key of" in errors[0]
    assert "server.key cannot be read" in errors[1]


def test_nothing_to_reload(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = start()
    server.reload()
    assert "TLS is off" in caplog.text
    assert connect(server).ask(GET).status == 200


def locked(certificates: Certificates, directory: Path) -> None:
    key = serialization.load_pem_private_key(
        (directory / "server.key").read_bytes(), None
    )
    (directory / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda _, d: (d / "server.crt").unlink(),
            "server.crt cannot be read (No such",
        ),
        (
            lambda _, d: (d / "server.key").unlink(),
            "server.key cannot be read (No such",
        ),
        (lambda _, d: (d / "server.crt").write_text("?"), "must be PEM files"),
        (lambda _, d: (d / "server.key").write_text("?"), "must be PEM files"),
        (
            lambda c, d: shutil.copy(
                c.make("other", directory=d).key, d / "server.key"
            ),
            "server.key is not the key of",
        ),
        (locked, "without a password"),
    ],
)
def test_an_unusable_certificate(
    ssl_dir: Path,
    certificates: Certificates,
    damage: Callable[[Certificates, Path], object],
    says: str,
) -> None:
    damage(certificates, ssl_dir)
    config = HttpConfig(host=LOCAL, port=0, https_port=0, tls=True, ssl_dir=ssl_dir)

    with pytest.raises(ConfigError) as caught:
        Server(config, App()).bind()

    (problem,) = caught.value.problems
    assert problem.startswith("SSL_DIR: ")
    assert says in problem
    assert str(ssl_dir) in problem


# ---- the redirect


@pytest.mark.parametrize(
    ("head", "location"),
    [
        (
            b"POST /a%20b?c=d&e HTTP/1.1\r\nHost: here:8008\r\n",
            "https://here:{}/a%20b?c=d&e",
        ),
        (b"GET //there/ HTTP/1.1\r\nHost: here\r\n", "https://here:{}//there/"),
        (b"GET / HTTP/1.1\r\nHost: [::1]:8008\r\n", "https://[::1]:{}/"),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\n", "https://[::1]:{}/"),
        (b"GET / HTTP/1.1\r\nHost: [fe80::1%2]:80\r\n", "https://[fe80::1%2]:{}/"),
        (b"GET http://there/x HTTP/1.1\r\nHost: here\r\n", "https://there:{}/x"),
        (b"OPTIONS * HTTP/1.1\r\nHost: here\r\n", "https://here:{}/"),
        (b"GET / HTTP/1.0\r\nHost: here\r\n", "https://here:{}/"),
    ],
)
def test_redirect(
    start: Start, connect: Connect, app: App, ssl_dir: Path, head: bytes, location: str
) -> None:
    server = start(tls=True, ssl_dir=ssl_dir)
    client = connect(server)
    client.send(head + b"Content-Length: 1000000\r\n\r\n")  # which never comes
    answer = client.answer()

    assert answer.status == 307
    assert answer.headers["location"] == location.format(server.ports.https)
    assert answer.headers["connection"] == "close"
    assert answer.headers["location"] in answer.message.lower()
    assert client.rest() == b""
    assert app.environ == {}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n", b"307"),
        (b"HEAD / HTTP/1.0\r\n\r\n", b"400"),
    ],
)
def test_an_answer_to_head_has_no_body_where_tls_is_asked_for(
    start: Start, connect: Connect, ssl_dir: Path, head: bytes, status: bytes
) -> None:
    client = connect(start(tls=True, ssl_dir=ssl_dir))
    client.send(head)
    head, _, body = client.rest().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %b " % status)
    assert re.search(rb"\r\nContent-Length: [1-9]", head)
    assert body == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\n",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n",
        b"GET / HTTP/1.1\r\nHost: :80\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n",
        b"GET / HTTP/1.1\r\nHost: a@b\r\n",
        b"GET / HTTP/1.1\r\nHost: ::1\r\n",
    ],
)
def test_no_redirect_without_a_host(
    start: Start, connect: Connect, ssl_dir: Path, head: bytes
) -> None:
    client = connect(start(tls=True, ssl_dir=ssl_dir))
    answer = client.ask(head + b"\r\n")
    assert answer.status == 400
    assert "Host" in answer.message
    assert client.rest() == b""


# ---- ports


def test_a_port_in_use(start: Start) -> None:
    port = start().ports.http
    with pytest.raises(ConfigError, match=f"^HTTP_PORT: {port} is in use"):
        Server(HttpConfig(host=LOCAL, port=port or 0), App()).bind()


def test_a_port_in_use_leaves_no_other_open(start: Start, ssl_dir: Path) -> None:
    port = start().ports.http or 0
    server = Server(
        HttpConfig(host=LOCAL, port=port, https_port=0, tls=True, ssl_dir=ssl_dir),
        App(),
    )
    with pytest.raises(ConfigError):
        server.bind()
    https = server.ports.https
    assert https
    with pytest.raises(ConnectionRefusedError):
        Client(https)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_ours(host: str) -> None:
    with pytest.raises(ConfigError, match=f"^HTTP_HOST: {host} "):
        Server(HttpConfig(host=host, port=0), App()).bind()


def test_ipv6(start: Start) -> None:
    try:
        server = start(host="::1")
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    port = server.ports.http
    client = Client(port, socket.create_connection(("::1", port or 0), timeout=SOON))
    assert client.ask(GET).status == 200
    client.close()


# ---- the end


def test_stopping_an_idle_server_takes_no_time(
    start: Start, connect: Connect, ssl_dir: Path, certificates: Certificates
) -> None:
    server = start(tls=True, ssl_dir=ssl_dir)
    used = secure_client(server, certificates.server.client_context())
    used.ask(GET)
    shaking, fresh = Client(server.ports.https), connect(server)
    eventually(lambda: len(server._traffic.open) == 3)
    started = time.monotonic()
    server.stop(SOON)

    assert time.monotonic() - started < 1
    for client in (used, shaking, fresh):
        assert client.rest() == b""
        client.close()
    server.stop(SOON)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("part", [b"P", POST, POST + b"Content-Length: 3\r\n\r\n"])
def test_a_request_that_has_begun_to_arrive_is_served(
    start: Start, connect: Connect, app: App, part: bytes, kept: bool
) -> None:
    """Its body is another packet with most clients, and may come a moment later."""
    whole = POST + b"Content-Length: 3\r\n\r\nabc"
    server = start()
    client = connect(server)
    if kept:
        client.ask(GET)
    else:
        eventually(lambda: server._traffic.open)
    client.send(part)  # no switch to the server in between
    stopping = gevent.spawn(server.stop, SOON)
    eventually(lambda: server._traffic.draining)
    eventually(lambda: not any(one.waiting for one in server._traffic.open))
    client.send(whole[len(part) :])

    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"abc")
    assert client.rest() == b""
    stopping.get(timeout=SOON)


def test_what_comes_after_the_end_is_not_answered(
    start: Start, connect: Connect, app: App
) -> None:
    """A part of it may be missing; the client knows that nothing was read."""
    server = start()
    client = connect(server)
    client.ask(GET)
    (connection,) = server._traffic.open
    eventually(lambda: connection.waiting)
    connection.drain()
    client.send(POST + b"Content-Length: 3\r\n\r\n")  # no switch in between
    assert client.rest() == b""
    assert len(app.calls) == 1


def test_a_server_that_never_started_stops() -> None:
    server = Server(HttpConfig(host=LOCAL, port=0), App())
    server.stop(SOON)
    server.bind()
    port = server.ports.http
    server.stop(SOON)
    with pytest.raises(ConnectionRefusedError):
        Client(port)


def test_requests_in_flight_are_finished(
    start: Start, connect: Connect, app: App
) -> None:
    server = start()
    running, sending = connect(server), connect(server)
    sending.send(POST + b"Content-Length: 3\r\n\r\na")
    running.send(GET.replace(b"/", b"/wait", 1) + GET)
    assert app.entered.wait(SOON)
    stopping = gevent.spawn(server.stop, SOON)
    eventually(lambda: server._traffic.draining)
    with pytest.raises(ConnectionRefusedError):
        connect(server)
    sending.send(b"bc")
    app.release.set()

    for client, body in ((running, b""), (sending, b"abc")):
        answer = client.answer()
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["connection"] == "close"
        assert client.rest() == b""
    stopping.get(timeout=SOON)


def test_a_request_that_has_arrived_is_served(
    start: Start, connect: Connect, app: App
) -> None:
    server = start()
    client = connect(server)
    client.ask(GET)
    client.send(GET)  # no switch to the server in between
    server.stop(SOON)

    assert client.answer().headers["connection"] == "close"
    assert client.rest() == b""


def test_what_is_not_finished_in_time_is_ended(
    start: Start, connect: Connect, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    allow(caplog, "not finished in time")
    server = start()
    running, sending = connect(server), connect(server)
    running.send(GET.replace(b"/", b"/wait", 1))
    sending.send(POST + b"Content-Length: 3\r\n\r\na")
    assert app.entered.wait(SOON)
    eventually(lambda: not any(c.waiting for c in server._traffic.open))
    started = time.monotonic()
    server.stop(SHORT)

    assert time.monotonic() - started < 5
    assert running.rest() == sending.rest() == b""
    assert not server._traffic.open
