"""What the field reports: readers that stall, disks that were full once, answers that
come too early.
"""

import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gevent
from gevent.server import StreamServer

from tests.faults.ledger import fail_first, ok, status
from tests.faults.rows import QUORUM, SQLITE, Run, Service, row
from tests.faults.rows.disk import end, small_disk
from tests.support.waiting import eventually

STOP_SECONDS = 40.0
BODY_BYTES = 1_000_000


def pipe(run: Run, name: str) -> Path:
    path = run.directory / name
    os.mkfifo(path)
    return path


def unread(path: Path) -> int:
    """A descriptor that keeps a pipe open and never reads it; to be closed."""
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


def ends_in_order(run: Run, service: Service, what: str) -> None:
    service.terminate()
    code = service.wait(STOP_SECONDS)
    run.expect(code == 0, f"exit code {code} after SIGTERM with {what}")


@row(50, "standard output that nobody reads", queues=(SQLITE, QUORUM))
def stalled_output(run: Run) -> None:
    """A pipe that is full; it is read again after a while, and tells what it missed."""
    calls = 600 if run.quick else 3000
    run.ledger.behave(fail_first(1, every=10))
    path = pipe(run, "stdout")
    held = unread(path)
    try:
        command = 'out=$1; shift; exec "$@" > "$out" 2>&1'
        service = run.service(prefix=("sh", "-c", command, "sh", str(path)))
        with run.recovering(), run.fault():
            run.load(rate=300, count=calls).join()
        alive = service.get("/health/live").status
        run.expect(alive == 200, f"/health/live is {alive}")
        run.drain()
        told = _read_what_is_there(held)
        with run.recovering():
            pass
        # What has waited in the buffer comes out, up to the last line.
        eventually(lambda: "/call/probe-" in _more(told, held), 20)
        _fill(held)
        ends_in_order(run, service, "a full standard output")
    finally:
        os.close(held)
    refused = len(run.log.ids("unknown", "fail"))
    run.expect(not refused, f"{refused} calls were not accepted")


def _read_what_is_there(descriptor: int) -> list[bytes]:
    told: list[bytes] = []
    with suppress(BlockingIOError):
        while True:
            told.append(os.read(descriptor, 65_536))
    return told


def _more(told: list[bytes], descriptor: int) -> str:
    told += _read_what_is_there(descriptor)
    return b"".join(told).decode(errors="replace")


def _fill(descriptor: int) -> None:
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x" * 4096 + b"\n")


@row(51, "LOG_FILE that hangs", queues=(SQLITE, QUORUM))
def hung_log(run: Run) -> None:
    """A pipe that nobody reads, and one that nobody has opened: opening it blocks."""
    run.ledger.behave(fail_first(1, every=10))
    full, closed = pipe(run, "full"), pipe(run, "closed")
    held = unread(full)
    try:
        for path in (full, closed):
            service = run.service(FILE_LOG_ENABLED="1", LOG_FILE=str(path))
            with run.recovering(service), run.fault():
                count = 300 if run.quick else 2000
                run.load(rate=200, count=count, services=[service]).join()
            alive = service.get("/health/live").status
            run.expect(alive == 200, f"/health/live is {alive}")
            run.drain()
            ends_in_order(run, service, f"LOG_FILE {path.name}")
    finally:
        os.close(held)
    refused = len(run.log.ids("unknown", "fail"))
    run.expect(not refused, f"{refused} calls were not accepted")


@row(52, "small disk through a backlog and back", queues=(SQLITE,), timeout=1200)
def backlog_and_back(run: Run) -> None:
    """Posts until the disk is full, lets the calls be made, and posts as many again."""
    rounds = 2 if run.quick else 4
    with small_disk(run, "small") as disk:
        run.delay = 0.5
        service = run.service(DATA_DIR=str(disk / "data"))
        taken = []
        for _ in range(rounds):
            run.ledger.behave(status(503))
            with run.recovering(), run.fault(settles_within=5):
                before = len(run.log.ids("ok"))
                _post_until_refused(run)
                taken.append(len(run.log.ids("ok")) - before)
                run.ledger.behave(ok)
                run.drain()
        ready = service.get("/health/ready").status
        run.expect(ready == 200, f"/health/ready is {ready} of an empty queue")
        end(run, service)
    run.remark(f"calls taken until the disk was full: {', '.join(map(str, taken))}")
    run.expect(min(taken) > 0.7 * taken[0], f"the file has no room again: {taken}")


def _post_until_refused(run: Run) -> None:
    client = run.client()
    for number in range(20_000):
        call_id = f"backlog-{len(run.log.sent)}-{number}"
        if client.post(call_id, size=10_000).status == 503:
            break
    else:
        run.expect(False, "the small disk is never full")
    client.close()


class Hasty:
    """Answers as soon as it has read the head of a request, in one of several ways.

    Attributes:
        seen: how often each call was answered, by the path of its url.
    """

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self.seen: dict[str, int] = {}
        self._answer = answer
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, connection: socket.socket, _: object) -> None:
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                received = connection.recv(1024)
                if not received:
                    return
                head += received
            path = head.split()[1].decode()
            self.seen[path] = self.seen.get(path, 0) + 1
            self._answer(connection)


def _and_close(head: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)

    return answer


def _and_stop_reading(head: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        gevent.sleep(30)

    return answer


DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
HASTY = {
    "done, closed": (_and_close(DONE), "200"),
    "done, reads no more": (_and_stop_reading(DONE), "200"),
    "too large, closed": (_and_close(TOO_LARGE), "413"),
    "too large, reads no more": (_and_stop_reading(TOO_LARGE), "413"),
}


@row(53, "answers before the end of the body", queues=(SQLITE, QUORUM))
def early_answers(run: Run) -> None:
    """The answer counts: a 2xx ends the call, after one attempt, and soon."""
    service = run.service(FORWARD_TIMEOUT_SECONDS="20")
    each = 3 if run.quick else 20
    beside = run.load(rate=30)
    for number, (name, (answer, expected)) in enumerate(HASTY.items()):
        hasty = Hasty(answer)
        client = run.client(service)
        ids = [f"early-{number}-{n}" for n in range(each)]
        run.forgiven |= set(ids)  # the ledger does not see them
        for call_id in ids:
            more = {"url": f"{hasty.base}/{call_id}", "requeue": False}
            client.post(call_id, size=BODY_BYTES, properties=more)
        client.close()
        run.injected(each)
        eventually(lambda ids=ids: all(_ended(service, one) for one in ids), 60)  # type: ignore[misc]
        hasty.stop()
        outcomes = {_ended(service, one) for one in ids}
        run.expect(outcomes == {expected}, f"{name}: {outcomes}")
        run.expect(set(hasty.seen.values()) == {1}, f"{name}: {hasty.seen}")
    beside.stop()
    run.drain()


def _ended(service: Service, call_id: str) -> str:
    """What the log says an attempt gave; empty before its end."""
    found = re.search(rf"/{call_id} -> (.*?) in \d+ ms: ", service.output)
    return found[1] if found else ""
