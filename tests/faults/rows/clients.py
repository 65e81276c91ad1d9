"""Clients that are slow, malformed, huge, unauthorized or malicious."""

import base64
import hashlib
import http.client
import json
import random
import re
import resource
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer

from tests.faults.checker import Hit, Sent
from tests.faults.load import call_to
from tests.faults.rows import BROKERS, SQLITE, Run, Service, row
from tests.faults.rows.names import own_dns
from tests.faults.rows.targets import expect_prompt, flat
from tests.support.certificates import Certificates
from tests.support.waiting import eventually

HEADERS_SECONDS, BODY_SECONDS, IDLE_SECONDS, HANDSHAKE_SECONDS = 10.0, 30.0, 30.0, 10.0
LATE_SECONDS = 4.0
CONNECTIONS = 1000
MAX_BYTES = 20_000

_LINGER_ZERO = struct.pack("ii", 1, 0)
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def dial(port: int, timeout: float = 60.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


def post_of(content: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)


def answers(client: socket.socket, seconds: float = 20.0) -> list[int]:
    """The statuses of everything that comes until the connection ends."""
    client.settimeout(seconds)
    received = b""
    with suppress(ConnectionError):
        while data := client.recv(65_536):
            received += data
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


# Slow ones


@row(40, "slow clients, and more connections than allowed", queues=(SQLITE,))
def slow_clients(run: Run) -> None:
    _allow_sockets(6000)
    service = run.service()
    certificates = Certificates(run.directory)
    run.expect(certificates.server.crt.exists(), "no certificate")
    secure = run.service(TLS="1", SSL_DIR=str(run.directory))
    load = run.load(rate=20, services=[service])
    head = POST + b"X: "
    body = post_of(b"x" * 1000)[:-900]
    slow = [
        Slow(service.http_port, "head", head, HEADERS_SECONDS),
        Slow(service.http_port, "nothing", b"", HEADERS_SECONDS),
        Slow(
            secure.https_port, "handshake", b"\x16\x03\x01\x02\x00", HANDSHAKE_SECONDS
        ),
    ]
    if not run.quick:
        slow.append(Slow(service.http_port, "body", body, BODY_SECONDS))
    each = 50 if run.quick else 200
    clients = [gevent.spawn(kind.run) for kind in slow for _ in range(each)]
    run.injected(len(clients))
    gevent.joinall(clients, timeout=60)
    for kind in slow:
        kind.judge(run, each)
    load.stop()
    load.join()
    expect_prompt(run)
    too_many(run, service)
    run.drain()


class Slow:
    """Sends a beginning, then a byte each second, until it is cut off."""

    def __init__(self, port: int, name: str, begun: bytes, limit: float) -> None:
        self._port = port
        self._name = name
        self._begun = begun
        self._limit = limit
        self._seconds: list[float] = []

    def run(self) -> None:
        start = time.monotonic()
        with suppress(ConnectionError), dial(self._port) as client:
            client.sendall(self._begun)
            client.settimeout(1.0)
            while True:
                try:
                    if not client.recv(4096):
                        break
                except TimeoutError:
                    if self._begun:
                        client.sendall(b"x")
        self._seconds.append(time.monotonic() - start)

    def judge(self, run: Run, count: int) -> None:
        seconds = self._seconds
        run.expect(len(seconds) == count, f"{self._name}: {len(seconds)} were cut off")
        first, last = min(seconds, default=0), max(seconds, default=0)
        right = self._limit - 1 < first and last < self._limit + LATE_SECONDS
        run.expect(right, f"{self._name}: cut after {first:.1f} to {last:.1f} s")
        run.remark(f"slow {self._name}: cut after {last:.1f} s")


def too_many(run: Run, service: Service) -> None:
    """Twice as many idle connections as allowed; then new clients are served."""
    with_request = 0 if run.quick else CONNECTIONS
    idle: list[socket.socket] = []
    start = time.monotonic()
    for number in range(2 * CONNECTIONS):
        idle.append(dial(service.http_port))
        if number < with_request:
            idle[-1].sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
    run.injected(len(idle))
    run.expect(service.descriptors() < CONNECTIONS + 100, "more are open than allowed")
    # The first thousand is cut off, then those that had waited to be accepted.
    first = IDLE_SECONDS if with_request else HEADERS_SECONDS
    wait = first + HEADERS_SECONDS + 2 * LATE_SECONDS
    client = service.connect(timeout=wait)
    client.request("GET", "/health/live")
    status = client.getresponse().status
    client.close()
    seconds = time.monotonic() - start
    run.expect(status == 200, f"a new client was answered with {status}")
    run.remark(
        f"{len(idle)} idle connections: a new client served after {seconds:.0f} s"
    )
    with run.recovering(service):
        for each in idle:
            each.close()


def _allow_sockets(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# Bodies


@row(41, "huge, endless, wrong and aborted bodies", queues=(SQLITE,))
def bodies(run: Run) -> None:
    service = run.service()
    run.load(rate=50)
    gevent.sleep(1)
    call = json.dumps(call_to(run.base, "never")).encode()
    kinds: dict[str, tuple[Callable[[socket.socket], object], set[int]]] = {
        "huge": (lambda c: flood(c, b"Content-Length: 10000000000\r\n\r\n"), {413}),
        "endless": (lambda c: flood(c, b"Transfer-Encoding: chunked\r\n\r\n"), {413}),
        "short": (lambda c: half(c, b"Content-Length: 9999\r\n\r\n" + call), {400}),
        "no chunk": (lambda c: half(c, b"Transfer-Encoding: chunked\r\n\r\n"), {400}),
        "cut chunk": (
            lambda c: half(c, b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + call),
            {400},
        ),
        "too long": (
            lambda c: c.sendall(post_of(b"[1]") + b"\x00" + call),
            {422, 400},
        ),
    }
    rounds = 5 if run.quick else 50
    with flat(run, service):
        for _ in range(rounds):
            for name, (send, allowed) in kinds.items():
                with dial(service.http_port) as client:
                    with suppress(ConnectionError):
                        send(client)
                    got = answers(client)
                run.injected()
                # A reset may overtake the answer to somebody who never stops.
                run.expect(set(got) <= allowed, f"{name}: answered with {got}")
                if name not in ("huge", "endless"):
                    run.expect(got, f"{name}: no answer")
            abort(run, service, call)
    with run.recovering():
        pass
    run.drain()
    expect_prompt(run)


def flood(client: socket.socket, framing: bytes) -> None:
    chunked = b"chunked" in framing
    piece = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n" if chunked else b"x" * 65_536
    client.sendall(POST + framing)
    for _ in range(1000):
        client.sendall(piece)


def half(client: socket.socket, rest: bytes) -> None:
    client.sendall(POST + rest)
    client.shutdown(socket.SHUT_WR)


def abort(run: Run, service: Service, call: bytes) -> None:
    """Goes away in the middle, in order or with a RST."""
    whole = post_of(call)
    for rude in (True, False):
        end = run.random.randrange(len(whole))
        with dial(service.http_port) as client:
            client.sendall(whole[:end])
            if rude:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        run.injected()


# Smuggling

SMUGGLED: dict[str, bytes] = {
    "length and chunks": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n",
    "two codings": b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked first": b"Transfer-Encoding: chunked, identity\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n",
    "hidden coding": b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "coding in quotes": b'Transfer-Encoding: "chunked"\r\n\r\n',
    "space before the colon": b"Transfer-Encoding : chunked\r\n\r\n",
    "length twice": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n",
    "list of lengths": b"Content-Length: 0, 0\r\n\r\n",
    "signed length": b"Content-Length: +5\r\n\r\n",
    "negative length": b"Content-Length: -1\r\n\r\n",
    "underscored length": b"Content-Length: 1_0\r\n\r\n",
    "hexadecimal length": b"Content-Length: 0x5\r\n\r\n",
    "empty length": b"Content-Length:\r\n\r\n",
    "absurd length": b"Content-Length: 1000000000000000\r\n\r\n",
    "bare LF": b"X: 1\nContent-Length: 0\r\n\r\n",
    "LF at the end": b"Content-Length: 0\r\n\n",
    "bare CR": b"X: 1\rContent-Length: 0\r\n\r\n",
    "obs-fold": b"X: 1\r\n Content-Length: 5\r\n\r\n",
    "NUL": b"X: a\0b\r\n\r\n",
    "two hosts": b"Host: b\r\n\r\n",
    "no chunk size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "signed chunk": b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "prefixed chunk": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "long chunk size": b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 16 + b"\r\n\r\n",
    "chunk with LF": b"Transfer-Encoding: chunked\r\n\r\n0\n\n",
    "chunk without end": b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "bad trailer": b"Transfer-Encoding: chunked\r\n\r\n0\r\nX Y\r\n\r\n",
}
LINES: dict[str, bytes] = {
    "HTTP/0.9": b"POST /\r\n\r\n",
    "HTTP/0.9 by name": b"POST / HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two spaces": b"POST  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "leading space": b" POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab": b"POST\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "LF": b"POST / HTTP/1.1\nHost: a\r\n\r\n",
    "no host": b"POST / HTTP/1.1\r\n\r\n",
    "chunks in 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
}


@row(42, "smuggled requests", queues=(SQLITE,))
def smuggling(run: Run) -> None:
    service = run.service()
    run.load(rate=20)
    cases = LINES | {name: POST + rest for name, rest in SMUGGLED.items()}
    rounds = 1 if run.quick else 10
    for number in range(rounds):
        for name, begun in cases.items():
            hidden = call_to(run.base, f"smuggled-{number}-{name.replace(' ', '-')}")
            request = post_of(json.dumps(hidden).encode())
            begun = begun.replace(b"%d", b"%d" % len(request))
            with dial(service.http_port) as client:
                if run.random.random() < 0.5:
                    client.sendall(begun + request)
                else:
                    client.sendall(begun)
                    gevent.sleep(0.01)
                    with suppress(ConnectionError):
                        client.sendall(request)
                got = answers(client)
            run.injected()
            run.expect(got == [400], f"{name}: answered with {got}")
    run.remark(f"{len(cases)} kinds")
    run.drain()
    hits = [hit.id for hit in run.ledger.hits if hit.id.startswith("smuggled")]
    run.expect(not hits, f"smuggled: {hits[:3]}")


# Malformed calls

_INTERESTING = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\xff", b"\xed\xa0\x80"),
    *(b"\\ud800", b"\\u0000", b"NaN", b"1e999", b"-", b"9" * 5000, b"[" * 3000),
    *(b'"url":', b"\xef\xbb\xbf", b"\r\n", b"null", b"true", b"\xe2\x80\xa8"),
)
_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**400, "", " ", "\x00", "\ud800", "žluť 🐎"),
    *([], {}, [[]], {"a": {"b": []}}, "x" * 9000, "\r\nX: y", "%00", "GET", "<a/>"),
    *("<a>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", '{"a": NaN}', "[1, 2", "é"),
)
_URL_PARTS = (
    *("@", ":", "#", "?", "/", "\\", "%", "%zz", "%0d%0a", "[", "]", "..", " ", "\t"),
    *(
        "é",
        "\uff11\uff12\uff17.0.0.1",
        "0x7f.1",
        "127.1",
        "::1",
        "user:pw@",
        ":0",
        ":99999",
        "\x7f",
    ),
)
_DROPPED = {
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    *("content-length", "expect", "host"),
}
ADDRESS = "127.83.7.9"


class Mirror:
    """A target at an address of its own, that compares what comes with an oracle."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.expected: dict[str, dict[str, Any]] = {}
        self.wrong: list[str] = []
        self._server = StreamServer((ADDRESS, 0), self._serve, spawn=Pool())
        self._server.start()
        assert self._server.server_port is not None
        self.port = self._server.server_port
        self.base = f"http://{ADDRESS}:{self.port}"

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, connection: socket.socket, address: object) -> None:
        with connection, connection.makefile("rb") as raw, suppress(OSError):
            while line := raw.readline():
                method, target, _ = line.decode("latin-1").split(" ")
                headers = {}
                while (field := raw.readline().rstrip(b"\r\n")) != b"":
                    name, _, value = field.partition(b":")
                    headers[name.decode("latin-1").lower()] = value.strip(b" \t")
                body = raw.read(int(headers.get("content-length", b"0")))
                self._compare(target, method, headers, body)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def _compare(
        self, target: str, method: str, headers: dict[str, bytes], body: bytes
    ) -> None:
        now = time.monotonic()
        call = self.expected.get(target)
        right = call is not None and (
            (call["method"], call["body"]) == (method, body)
            and all(headers.get(n) == v for n, v in call["headers"].items())
        )
        if not right:
            self.wrong.append(f"{method} {target[:80]}: {call}"[:300])
        self._run.ledger.hits.append(Hit(target, now, right, 200, now))
        self._run.ledger.attempts[target] += 1
        self._run.ledger.delivered.add(target)


def oracle(payload: bytes, port: int) -> tuple[str, dict[str, Any]] | None:
    """The target and the call that a payload asks of the mirror; None for others."""
    try:
        call = json.loads(payload.decode("utf-8-sig"), parse_int=str, parse_float=str)
        place = (
            rf"https?://(?:[^/?#]*@)?{re.escape(ADDRESS)}:0*{port}([/?][^#]*|)(#.*|)"
        )
        # In a host this character counts for nothing (UTS #46); browsers drop it, too.
        authority, *rest = re.split(r"(?<=[^/:])(?=[/?#])", call["url"], maxsplit=1)
        url = "".join((authority.replace("\ufeff", ""), *rest))
        found = re.fullmatch(place, url, re.IGNORECASE | re.DOTALL)
        return _asked(call, found[1]) if found else None
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def _asked(call: dict[str, Any], target: str) -> tuple[str, dict[str, Any]]:
    method = (call.get("method") or "GET").upper()
    headers = call.get("headers") or {}
    named = next((v for n, v in headers.items() if n.lower() == "connection"), "")
    dropped = _DROPPED | {n.strip() for n in str(named).lower().split(",")}
    kept = {
        name.lower(): _text(value).strip(" \t").encode()
        for name, value in headers.items()
        if name.lower() not in dropped and not name.lower().startswith("proxy-")
    }
    body = (call.get("body") or "").encode() if method != "TRACE" else b""
    target = target if target.startswith("/") else f"/{target}"
    target = quote(target, safe="".join(map(chr, range(128))))
    return target, {"method": method, "headers": kept, "body": body}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def malformed(chance: random.Random, base: str) -> Iterator[bytes]:
    """Payloads, endless: most are wrong somewhere, some are only unusual."""
    kinds = (_bytes, _bytes, _member, _url, _headers, _noise, _right)
    while True:
        token = f"{chance.getrandbits(64):016x}"
        text = "".join(chr(chance.choice((34, 92, 233, 0x1F40E, 97, 9))) for _ in "123")
        call: dict[str, Any] = {
            "url": f"{base}/fuzz/{token}",
            "method": chance.choice(("POST", "PUT", "get", "DELETE", "TRACE")),
            "headers": {"X-A": "b"},
            "body": json.dumps({"text": text}, ensure_ascii=chance.random() < 0.5),
        }
        yield chance.choice(kinds)(chance, call)


def _dumped(chance: random.Random, call: object) -> bytes:
    plain = chance.random() < 0.5
    text = json.dumps(call, ensure_ascii=plain, indent=chance.choice((None, 1)))
    return text.encode(errors="surrogatepass")


def _right(chance: random.Random, call: dict[str, Any]) -> bytes:
    return _dumped(chance, call)


def _bytes(chance: random.Random, call: dict[str, Any]) -> bytes:
    content = bytearray(_dumped(chance, call))
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(content) + 1)
        match chance.randrange(4):
            case 0:
                content[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                content[at:at] = chance.choice(_INTERESTING)
            case 2:
                del content[at : at + chance.randrange(1, 20)]
            case _:
                content += content[at : at + 50]
    return bytes(content)


def _member(chance: random.Random, call: dict[str, Any]) -> bytes:
    names = ("url", "method", "headers", "body", "requeue", "Url", "extra", "")
    call[chance.choice(names)] = chance.choice(_VALUES)
    return _dumped(chance, call)


def _url(chance: random.Random, call: dict[str, Any]) -> bytes:
    at = chance.randrange(len(call["url"]) + 1)
    call["url"] = call["url"][:at] + chance.choice(_URL_PARTS) + call["url"][at:]
    return _dumped(chance, call)


def _headers(chance: random.Random, call: dict[str, Any]) -> bytes:
    names = ("X-B", "x-a", "Content-Length", "Transfer-Encoding", "Connection", "Host")
    more = ("", "a b", "a:b", "é", "X\r\nY", "Proxy-A", "Upgrade", "Expect", "x" * 500)
    values = (*_VALUES, "close, x-b", "chunked", "5", "100-continue")
    for _ in range(chance.choice((1, 2, 200))):
        call["headers"][chance.choice(names + more)] = chance.choice(values)
    return _dumped(chance, call)


def _noise(chance: random.Random, call: dict[str, Any]) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 10, 300, MAX_BYTES + 1)))


@row(43, "malformed calls", queues=(SQLITE,))
def malformed_calls(run: Run) -> None:
    # Names resolve to a denied address, and the mirror's is the only one allowed.
    with own_dns(run, otherwise="denied") as (_, prefix):
        _malformed_calls(run, prefix, 3_000 if run.quick else 100_000)


def _malformed_calls(run: Run, prefix: tuple[str, ...], count: int) -> None:
    mirror = Mirror(run)
    service = run.service(
        prefix=prefix,
        MAX_REQUEST_BYTES=str(MAX_BYTES),
        REQUEUE_FAILED_AFTER_MILLISECONDS="600000",
        FORWARD_DENY_NETWORKS="0.0.0.0/0, ::/0",
        FORWARD_ALLOW_NETWORKS=f"{ADDRESS}/32",
        LOG_LEVEL="warning",
    )
    said: Counter[int] = Counter()
    payloads = malformed(run.random, mirror.base)

    def client() -> None:
        connection = service.connect()
        while run.injections < count:
            run.injected()
            post_malformed(run, connection, next(payloads), mirror, said)
        connection.close()

    try:
        with flat(run, service):
            gevent.joinall([gevent.spawn(client) for _ in range(8)], raise_error=True)
            with suppress(AssertionError):
                eventually(lambda: not run.log.ids("ok") - run.ledger.delivered, 60)
    finally:
        mirror.stop()
    strange = set(said) - {202, 400, 413, 422}
    run.expect(not strange, f"answered with {sorted(strange)}")
    run.expect(not mirror.wrong, f"{len(mirror.wrong)} arrived otherwise")
    for line in mirror.wrong[:3]:
        run.expect(False, line)
    run.expect(service.get("/health/ready").status == 200, "not ready afterwards")
    run.remark(", ".join(f"{code}: {said[code]}" for code in sorted(said)))


def post_malformed(
    run: Run,
    connection: http.client.HTTPConnection,
    payload: bytes,
    mirror: Mirror,
    said: Counter[int],
) -> None:
    found = oracle(payload, mirror.port)
    if found is not None:
        if found[0] in mirror.expected:
            return  # two calls to the same place could not be told apart
        mirror.expected[found[0]] = found[1]
    at = time.monotonic()
    try:
        connection.request("POST", "/", payload)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as exc:
        run.expect(False, f"{exc!r} on {payload[:100]!r}")
        connection.close()
        return
    said[response.status] += 1
    if response.status == 202 and found is not None:
        run.log.add(Sent(found[0], "ok", 202, at, time.monotonic() - at))


# Poison


@row(44, "poison in the queue", queues=BROKERS)
def poison(run: Run) -> None:
    service = run.service()
    run.load(rate=50)
    rounds = 3 if run.quick else 50
    good = json.dumps(call_to(run.base, "with-odd-properties")).encode()
    bodies = (b"", b"\0", b"junk", b"[]", b"null", b'{"url": 5}', b"\xff" * 100_000)
    odd: tuple[dict[str, Any], ...] = (
        {},
        {"message_id": "a b\nc", "delivery_mode": 1},
        {
            "headers": {
                "x-mspc-attempts": "many",
                "x-mspc-due-ms": -1,
                "deep": {"a": []},
            }
        },
        {"headers": {"x-mspc-accepted-ms": 2**62, "x-mspc-error": 5}, "priority": 9},
        {
            "content_type": "text/plain",
            "content_encoding": "gzip",
            "expiration": "60000",
        },
    )
    published = 0
    queues = (run.queue_name, f"{run.queue_name}.retry.0")
    with run.broker.connect() as connection, connection.channel() as channel:
        channel.confirm_deliveries()
        for _ in range(rounds):
            for body in bodies:
                properties = dict(run.random.choice(odd))
                queue = run.random.choice(queues)
                channel.basic.publish(body, queue, properties=properties)
                published += 1
                run.injected()
        run.log.promise("with-odd-properties")
        properties = {"message_id": "x" * 200, "headers": {"x-mspc-attempts": 10**12}}
        channel.basic.publish(good, run.queue_name, properties=properties)
        dead = f"{run.queue_name}.dead"

        def count() -> int:
            declared = channel.queue.declare(dead, passive=True)
            return int(declared["message_count"])

        with suppress(AssertionError):
            eventually(lambda: count() >= published, 60)
        run.expect(count() == published, f"{count()} dead letters of {published}")
    run.expect(service.running, "mspc has ended")
    with run.recovering():
        pass
    run.remark(f"{published} dead letters")
    run.drain()


# Authorization

KEY = "a key of the tests' own"


def token(timestamp: object, key: str = KEY) -> str:
    digest = hashlib.sha256(f"{timestamp}:{key}".encode()).hexdigest()
    return base64.b64encode(f"{digest}:{timestamp}".encode()).decode()


def forged(chance: random.Random) -> str | None:
    """An authorization that must not do."""
    now = int(time.time())
    right = token(now)
    at = chance.randrange(len(right))
    other = chance.choice("ABCDEFGHabcdefgh0123")
    return chance.choice(
        (
            *(None, "", " ", ":", "=", "A", "not base64!", "x" * 600, "x" * 8000),
            *(token(now, "another key"), token(now, ""), token(now, KEY + " ")),
            *(token(now - 301), token(now + 330), token(""), token("now"), token(-now)),
            *(token(f"{now} "), token("9" * 30), token(f"+{now}"), token(1482938098)),
            *(right[:-8], right + "=", right + "AAAA", f"Basic {right}", right[::-1]),
            base64.b64encode(f"{KEY}:{now}".encode()).decode(),
            base64.b64encode(b"\xff" * 64 + b":" + str(now).encode()).decode(),
            base64.b64encode(b":" * 100).decode(),
            (right[:at] + other + right[at + 1 :]) if right[at] != other else "",
            "\xe9\xff" * 10,
        )
    )


@row(45, "authorization under attack", queues=(SQLITE,))
def attacked(run: Run) -> None:
    service = run.service(AUTHORIZATION_KEY=KEY, AUTHORIZATION_MAX_AGE_SECONDS="300")
    wanted = 1_000 if run.quick else 10_000
    content = json.dumps(call_to(run.base, "forged")).encode()
    said: Counter[int] = Counter()
    before = len(service.output)

    def attack() -> None:
        connection = service.connect()
        while run.injections < wanted:
            run.injected()
            value = forged(run.random)
            headers = {} if value is None else {"X-Authorization": value}
            connection.request("POST", "/", content, headers)
            response = connection.getresponse()
            response.read()
            said[response.status] += 1
        connection.close()

    start = time.monotonic()
    with flat(run, service), authorized(run, service):
        gevent.joinall([gevent.spawn(attack) for _ in range(16)], raise_error=True)
    seconds = time.monotonic() - start
    run.expect(set(said) == {401}, f"answered with {dict(said)}")
    lines = service.output[before:].count("refused as unauthorized")
    run.expect(lines <= seconds + 2, f"{lines} lines in {seconds:.1f} s")
    run.expect(KEY not in service.output, "the key is in the log")
    run.remark(f"{wanted / seconds:.0f} tries a second, {lines} lines about them")
    expect_prompt(run)


@contextmanager
def authorized(run: Run, service: Service) -> Iterator[None]:
    """Calls with the right authorization, beside."""
    ending = Event()

    def posts() -> None:
        while not ending.wait(0.05):
            call_id = f"load-{len(run.log.sent)}"
            at = time.monotonic()
            headers = {"X-Authorization": token(int(time.time()))}
            response = service.post(call_to(run.base, call_id), headers)
            outcome = "ok" if response.status == 202 else "fail"
            run.expect(outcome == "ok", f"refused: {response.status}")
            if outcome == "ok":
                run.log.add(Sent(call_id, "ok", 202, at, time.monotonic() - at))

    poster = gevent.spawn(posts)
    try:
        yield
    finally:
        ending.set()
        poster.join()
