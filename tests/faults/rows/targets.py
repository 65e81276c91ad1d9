"""Targets that break off, hang, flood, lie and redirect."""

import functools
import gzip
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from tests.faults.checker import TOLERATED_SECONDS, Sent
from tests.faults.ledger import Answer, Behaviour
from tests.faults.rows import QUORUM, SQLITE, Run, Service, row
from tests.support.certificates import Certificates
from tests.support.waiting import eventually

BREAKER_FAILURES = 5  # the default
DEADLINE_SECONDS = 3.0
# On a machine that is busy with other rows, too.
LATE_SECONDS = 2.0
PROMPT_SECONDS = 3.0
MEMORY_BYTES = 48 * 1_048_576

_ATTEMPT = re.compile(r"/call/(\S+) -> (.*) in (\d+) ms: (.*)")


class Logged(NamedTuple):
    """One attempt, as mspc's log has it."""

    id: str
    outcome: str
    seconds: float
    then: str


def logged(service: Service, start: str = "") -> list[Logged]:
    """The attempts whose call's id begins like that, in order."""
    return [
        Logged(found[1], found[2], int(found[3]) / 1000, found[4])
        for found in _ATTEMPT.finditer(service.output)
        if found[1].startswith(start)
    ]


def modes(answers: Mapping[str, Answer], bad: int) -> Behaviour:
    """A call named `<mode>.<n>` gets the mode's answer `bad` times, then a 200."""

    def behave(call_id: str, attempt: int) -> Answer:
        answer = answers.get(call_id.partition(".")[0])
        return answer if answer and attempt <= bad else Answer()

    return behave


def post_all(
    run: Run,
    names: Sequence[str],
    each: int,
    url: Callable[[str, str], str] | None = None,
    services: Sequence[Service] = (),
) -> list[Sent]:
    """Posts `<name>.<n>` for each name, n from 1; `url` gets the name and the id."""
    client = run.client(*services)
    sent = []
    for n in range(1, each + 1):
        for name in names:
            call_id = f"{name}.{n}"
            more = {"url": url(name, call_id)} if url else None
            sent.append(client.post(call_id, properties=more))
    client.close()
    refused = [call.id for call in sent if call.outcome != "ok"]
    run.expect(not refused, f"not accepted: {', '.join(refused[:5])}")
    return sent


def slowest_healthy(run: Run, prefix: str = "load") -> float:
    """Seconds within which 99 % of the load's calls were attempted first."""
    first: dict[str, float] = {}
    for hit in run.ledger.hits:
        first.setdefault(hit.id, hit.at)
    waits = sorted(
        first[call.id] - call.at - call.seconds
        for call in run.log.sent.values()
        if call.id.startswith(prefix) and call.id in first
    )
    run.expect(waits, "no healthy call was delivered")
    return max(0.0, waits[len(waits) * 99 // 100]) if waits else 0.0


def expect_prompt(run: Run) -> None:
    slowest = slowest_healthy(run)
    run.expect(slowest < PROMPT_SECONDS, f"healthy calls waited for {slowest:.1f} s")
    run.remark(f"99 % of the healthy calls beside: within {slowest:.2f} s")


@contextmanager
def flat(run: Run, service: Service) -> Iterator[None]:
    """Watches the memory of `service`, which must stay within a bound."""
    start = highest = service.rss()

    def watch() -> None:
        nonlocal highest
        while service.running:
            highest = max(highest, service.rss())
            gevent.sleep(0.1)

    watcher = gevent.spawn(watch)
    try:
        yield
    finally:
        watcher.kill()
    grown = highest - start
    run.expect(grown < MEMORY_BYTES, f"memory grew by {grown / 1e6:.0f} MB")
    run.remark(f"memory +{grown / 1e6:.0f} MB at most")


# What a target may send


OK = b"HTTP/1.1 200 OK\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\n"
CHUNK = b"x" * 65_536


def say(*parts: bytes) -> Callable[[socket.socket], None]:
    """Sends something, then the connection is closed."""

    def talk(connection: socket.socket) -> None:
        send(connection, b"".join(parts))

    return talk


def say_and_hang(*parts: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        send(connection, b"".join(parts))
        with suppress(OSError):
            connection.recv(1)  # until mspc goes away

    return talk


def endless(
    first: bytes, again: bytes, pause: float = 0.0
) -> Callable[[socket.socket], None]:
    """Sends something, and something else for ever."""

    def talk(connection: socket.socket) -> None:
        going_on = send(connection, first)
        while going_on:
            going_on = send(connection, again) and not gone(connection, pause)

    return talk


def send(connection: socket.socket, data: bytes) -> bool:
    """Whether the other side was still there."""
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


def gone(connection: socket.socket, seconds: float) -> bool:
    """Waits `seconds`; whether the other side has gone away meanwhile."""
    if not seconds:
        return False
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(None)


@functools.cache
def bomb() -> bytes:
    """A gzip answer that would take 256 MiB, after its status line."""
    block = gzip.compress(bytes(16 * 1_048_576))
    content = block * 16  # members of a gzip file may follow each other
    head = f"Content-Encoding: gzip\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def hostile() -> dict[str, Answer]:
    """By kind: what the target does; the status is what mspc should make of it."""
    many = b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n"
    huge = b"X: " + b"y" * 1_048_576 + b"\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    talks: dict[str, tuple[int, Callable[[socket.socket], None]]] = {
        "slow-status-line": (0, endless(b"HTTP/1.1 2", b"0", 0.02)),
        "slow-headers": (200, endless(OK + b"X: ", b"y", 0.02)),
        "endless-headers": (200, endless(OK, b"X: y\r\n" * 1000)),
        "byte-by-byte-200": (
            200,
            endless(OK + b"Content-Length: 9999\r\n\r\n", b"x", 0.02),
        ),
        "byte-by-byte-500": (
            500,
            endless(ERROR + b"Content-Length: 9999\r\n\r\n", b"x", 0.02),
        ),
        "endless-body-200": (200, endless(OK + b"\r\n", CHUNK)),
        "endless-body-500": (500, endless(ERROR + b"\r\n", CHUNK)),
        "endless-chunks": (500, endless(ERROR + chunked, b"1\r\nx\r\n" * 5000)),
        "endless-100": (0, endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)),
        "200-headers": (200, say(OK, many)),
        "huge-header": (200, say(OK, huge)),
        "bomb-200": (200, say(OK, bomb())),
        "bomb-500": (500, say(ERROR, bomb())),
        "too-short-200": (200, say(OK, b"Content-Length: 100\r\n\r\nshort")),
        "too-short-500": (500, say(ERROR, b"Content-Length: 100\r\n\r\nshort")),
        "too-long": (500, say(ERROR, b"Content-Length: 1\r\n\r\n", CHUNK)),
        "length-of-junk": (500, say(ERROR, b"Content-Length: many\r\n\r\nx")),
        "two-lengths": (500, say(ERROR, b"Content-Length: 1, 2\r\n\r\nxy")),
        "two-lengths-200": (200, say(OK, b"Content-Length: 1, 2\r\n\r\nxy")),
        "another-version": (200, say(b"HTTP/2 200\r\n\r\n")),
        "event-stream": (200, endless(OK + b"\r\n", b"data: x\n\n", 0.02)),
        "chunked-twice": (
            200,
            say_and_hang(OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n"),
        ),
        "http-09": (0, say(b"<html>hello</html>\r\n")),
        "junk": (0, say(bytes(range(256)) * 100)),
        "closes-after-200-head": (200, say(OK, b"Content-Length: 3\r\n\r\n")),
        "hangs-after-200-head": (
            200,
            say_and_hang(OK + b"Content-Length: 3\r\n\r\n"),
        ),
    }
    answers = {name: Answer(code, raw=talk) for name, (code, talk) in talks.items()}
    return answers | {
        "hangs": Answer(0),
        "closes": Answer(0, closes=True),
        "resets": Answer(0, reset=True),
    }


@row(30, "hostile targets", queues=(SQLITE, QUORUM))
def hostile_targets(run: Run) -> None:
    answers = hostile()
    bad, each = (2, 2) if run.quick else (3, 8)
    run.consumers = 300  # more than the calls that can hang at once
    run.ledger.behave(modes(answers, bad))
    service = run.service(FORWARD_TIMEOUT_SECONDS=f"{DEADLINE_SECONDS:g}")
    door = run.proxy(run.ledger)
    door.refuse()
    # What fails five times in a row is waited for, by all of its calls.
    run.load(rate=50, properties=run.elsewhere())
    gevent.sleep(2)  # what every service takes anyway is taken then
    with flat(run, service):
        start = time.monotonic()
        post_all(run, list(answers), each)
        base = f"http://127.0.0.1:{door.port}"
        # Beyond so many failures the others wait, and may never meet a closed door.
        few = min(each, BREAKER_FAILURES)
        post_all(run, ["refuses"], few, lambda _, id_: f"{base}/call/{id_}")
        run.injected(len(answers) * each + few)
        eventually(lambda: len(logged(service, "refuses")) >= bad * few, 30)
        door.listen()
        gevent.sleep(max(0.0, start + DEADLINE_SECONDS + 2 - time.monotonic()))
        run.drain()
    for name in answers:
        judge(run, service, name, answers[name].status, bad)
    judge(run, service, "refuses", 0, 1)
    run.remark(f"{len(answers) + 1} kinds")
    expect_prompt(run)


def judge(run: Run, service: Service, name: str, status: int, bad: int) -> None:
    """What the log says of the first attempts must be what the target has deserved."""
    calls: dict[str, list[Logged]] = {}
    for line in logged(service, f"{name}."):
        calls.setdefault(line.id, []).append(line)
    run.expect(calls, f"{name}: no attempt in the log")
    for call_id, lines in calls.items():
        slowest = max(line.seconds for line in lines)
        run.expect(
            slowest < DEADLINE_SECONDS + LATE_SECONDS, f"{call_id} took {slowest:.1f} s"
        )
        if 200 <= status < 300:
            run.expect(
                (lines[0].outcome, lines[0].then) == (str(status), "done"),
                f"{call_id}: {lines[0]}",
            )
            continue
        for number, line in enumerate(lines[:bad], 1):
            right = line.then.startswith(f"attempt {number} failed")
            said = re.match(r"\d{3}\b", line.outcome)
            right = right and (said[0] if said else "0") == str(status)
            run.expect(right, f"{call_id}, attempt {number}: {line}")
        run.expect(len(lines) > bad, f"{call_id} was not attempted again")


# TLS


class TlsFront:
    """The ledger behind TLS that is broken until `heal()`."""

    def __init__(
        self, run: Run, good: ssl.SSLContext, broken: ssl.SSLContext | str
    ) -> None:
        self._run = run
        self._good = good
        self._broken: ssl.SSLContext | str | None = broken
        self.met = 0
        self._server = StreamServer(("127.0.0.1", 0), self._serve, spawn=Pool())
        self._server.start()

    @property
    def port(self) -> int:
        assert self._server.server_port is not None
        return self._server.server_port

    def heal(self) -> None:
        self._broken = None

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, connection: socket.socket, address: object) -> None:
        self.met += 1
        with connection, suppress(OSError):
            match self._broken:
                case "plain":
                    connection.recv(4096)
                    connection.sendall(OK + b"Content-Length: 0\r\n\r\n")
                    return
                case "hang":
                    while connection.recv(4096):
                        pass
                    return
                case "close":
                    connection.recv(4096)
                    return
                case "junk":
                    connection.recv(4096)
                    connection.sendall(bytes(range(256)) * 10)
                    return
                case ssl.SSLContext() as context:
                    chosen = context
                case _:
                    chosen = self._good
            with chosen.wrap_socket(connection, server_side=True) as tls:
                self._run.ledger._serve(tls, address)


@row(31, "targets whose TLS is broken", queues=(SQLITE, QUORUM))
def broken_tls(run: Run) -> None:
    certificates = Certificates(run.directory)
    good = certificates.server
    expired = certificates.make("expired", expired=True)
    elsewhere = certificates.make("elsewhere", hosts=("elsewhere.test",))
    unknown = certificates.make("unknown")
    bundle = run.directory / "trusted.pem"
    bundle.write_text(
        "".join(each.crt.read_text() for each in (good, expired, elsewhere))
    )
    kinds: dict[str, ssl.SSLContext | str] = {
        "expired": expired.server_context(),
        "wrong-name": elsewhere.server_context(),
        "self-signed": unknown.server_context(),
        **{kind: kind for kind in ("plain", "hang", "close", "junk")},
    }
    context = good.server_context()
    fronts = {name: TlsFront(run, context, kind) for name, kind in kinds.items()}
    each = 2 if run.quick else 5
    run.consumers = 100
    service = run.service(
        FORWARD_TIMEOUT_SECONDS=f"{DEADLINE_SECONDS:g}", FORWARD_CA_FILE=str(bundle)
    )
    run.load(rate=50)
    try:
        with flat(run, service):
            with_broken_tls(run, service, fronts, each)
            run.drain()
    finally:
        for front in fronts.values():
            front.stop()
    for name in kinds:
        lines = logged(service, f"{name}.")
        run.expect(any(line.then == "done" for line in lines), f"{name}: never done")
    expect_prompt(run)


def with_broken_tls(
    run: Run, service: Service, fronts: Mapping[str, TlsFront], each: int
) -> None:
    def url(name: str, call_id: str) -> str:
        return f"https://127.0.0.1:{fronts[name].port}/call/{call_id}"

    rounds = 2 if run.quick else 4
    sent = post_all(run, list(fronts), each, url)
    run.injected(len(sent))
    for name in fronts:
        eventually(
            lambda name=name: len(logged(service, f"{name}.")) >= rounds * each,  # type: ignore[misc]
            60,
        )
    reached = [call.id for call in sent if run.ledger.attempts[call.id]]
    run.expect(not reached, f"sent to a target not trusted: {', '.join(reached)}")
    for line in logged(service):
        if "." not in line.id:
            continue
        proper = line.outcome.startswith(
            ("TLS: ", "no connection", "no answer", "no proper answer")
        )
        run.expect(proper, f"{line.id}: {line.outcome}")
        run.expect("the next in" in line.then, f"{line.id}: {line.then}")
        run.expect(line.seconds < DEADLINE_SECONDS + LATE_SECONDS, f"slow: {line}")
    for front in fronts.values():
        front.heal()


# Answers that ask for something else than to come again after the delay


@row(32, "redirects, and loops of them", queues=(SQLITE, QUORUM))
def redirects(run: Run) -> None:
    answers = {
        f"redirect-{code}-{kind}": Answer(code, raw=redirect(run, code, kind))
        for code in (301, 302, 303, 307, 308)
        for kind in ("elsewhere", "loop", "relative", "junk")
    }
    again_and_again(run, answers, bad=2 if run.quick else 4)
    strange = [hit.id for hit in run.ledger.hits if "followed" in hit.id]
    run.expect(not strange, f"followed: {strange[:5]}")


def redirect(run: Run, code: int, kind: str) -> Callable[[socket.socket], None]:
    place = {
        "elsewhere": f"{run.ledger.base}/call/followed-{code}",
        "loop": f"{run.ledger.base}/call/redirect-{code}-loop.1",
        "relative": f"../call/followed-{code}-relative",
        "junk": "http://[::1",
    }[kind]
    return say(answer(f"{code} Moved", f"Location: {place}"))


def answer(status: str, header: str) -> bytes:
    """Without a body; says that the connection is closed, as it is."""
    rest = "Content-Length: 0\r\nConnection: close\r\n\r\n"
    return f"HTTP/1.1 {status}\r\n{header}\r\n{rest}".encode()


@row(33, "429 and 503 with Retry-After", queues=(SQLITE, QUORUM))
def retry_after(run: Run) -> None:
    """Obeyed when it is longer than the delay, up to REQUEUE_LONGEST_DELAY_SECONDS."""
    soon = datetime.now(UTC) + timedelta(minutes=2)
    longest = 3.0
    values = {
        "zero": ("0", run.delay),
        "seconds": ("2", 2.0),
        "minutes": ("120", longest),
        "date": (soon.strftime("%a, %d %b %Y %H:%M:%S GMT"), longest),
        "past": ("Thu, 01 Jan 1970 00:00:00 GMT", run.delay),
        "junk": ("soon; please=1", run.delay),
        "negative": ("-5", run.delay),
        "forever": ("1000000000", longest),
        "digits": ("9" * 400, longest),
    }
    codes = 429, 503
    answers = {
        f"retry-{code}-{name}": Answer(code, raw=asking(code, value))
        for code in codes
        for name, (value, _) in values.items()
    }
    delays = {
        f"retry-{code}-{name}": delay
        for code in codes
        for name, (_, delay) in values.items()
    }
    # All of them are one origin: its breaker would have them wait for one another.
    settings = {
        "REQUEUE_LONGEST_DELAY_SECONDS": f"{longest:g}",
        "BREAKER_FAILURES": "0",
    }
    bad = 2 if run.quick else 4
    again_and_again(run, answers, bad, delays=delays, settings=settings)


def asking(code: int, value: str) -> Callable[[socket.socket], None]:
    return say(answer(f"{code} Later", f"Retry-After: {value}"))


@row(34, "410, 404, 400 and 500 for ever", queues=(SQLITE, QUORUM))
def failures_for_ever(run: Run) -> None:
    answers = {f"always-{code}": Answer(code) for code in (410, 404, 400, 500)}
    again_and_again(run, answers, bad=4 if run.quick else 20)


def again_and_again(
    run: Run,
    answers: Mapping[str, Answer],
    bad: int,
    *,
    delays: Mapping[str, float] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Each call fails `bad` times, once every delay, and every failure is counted.

    Args:
        run: of the row.
        answers: by kind.
        bad: failures of each call.
        delays: by kind, seconds; the run's own unless told otherwise.
        settings: of the service.
    """
    delays = delays or dict.fromkeys(answers, run.delay)
    each = 2 if run.quick else 5
    run.ledger.behave(modes(answers, bad))
    service = run.service(**settings or {})
    run.load(rate=50)
    sent = post_all(run, list(answers), each)
    run.injected(len(sent) * bad)
    run.drain(timeout=60 + bad * max(delays.values()))
    for call in sent:
        tries = run.ledger.attempts[call.id]
        run.expect(tries == bad + 1, f"{call.id}: {tries} attempts, not {bad + 1}")
    for name, answer in answers.items():
        judge(run, service, name, answer.status, bad)
    seen = []
    for name, delay in delays.items():
        ids = {call.id for call in sent if call.id.rpartition(".")[0] == name}
        pauses = between_attempts(run, ids)
        for pause in pauses:
            in_time = delay - TOLERATED_SECONDS <= pause < delay + PROMPT_SECONDS
            run.expect(in_time, f"{name}: a pause of {pause:.1f} s, not {delay:g}")
        seen += pauses
    longest = max(seen, default=0.0)
    run.remark(f"pauses of {min(seen, default=0):.2f} to {longest:.2f} s")
    expect_prompt(run)


def between_attempts(run: Run, ids: set[str]) -> list[float]:
    ended: dict[str, float] = {}
    pauses = []
    for hit in run.ledger.hits:
        if hit.id in ids:
            if hit.id in ended:
                pauses.append(hit.at - ended[hit.id])
            ended[hit.id] = hit.ended
    return pauses
