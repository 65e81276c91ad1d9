"""Posts calls at a steady rate and notes when each one reaches its target.

`python -m benchmarks.probe URL FAULT SHARE RATE SECONDS PATIENCE` prints the figures of
the healthy calls as JSON. FAULT says what SHARE percent of the calls meet: `down`, a
port that refuses, or `hang`, a server that never answers.
"""

from gevent import monkey

monkey.patch_all()

import http.client
import json
import socket
import sys
import time
from dataclasses import asdict

import gevent
from gevent.queue import Queue
from gevent.server import StreamServer

from benchmarks.load import body
from benchmarks.measure import percentiles

CLIENTS = 32
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Healthy:
    """Answers 200 at once; remembers when each path came first."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.server = StreamServer(("127.0.0.1", 0), self._serve)
        self.server.start()

    def _serve(self, connection: socket.socket, _: object) -> None:
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                self.arrived.setdefault(line.split(b" ")[1].decode(), time.monotonic())
                length = 0
                while (header := stream.readline()) not in (b"\r\n", b""):
                    name, _separator, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                stream.read(length)
                connection.sendall(_ANSWER)


def never_answer(connection: socket.socket, _: object) -> None:
    """Reads whatever comes until the client has had enough."""
    with connection:
        while connection.recv(65_536):
            pass


def post(url: str, jobs: "Queue[tuple[str, bytes]]", sent: dict[str, float]) -> None:
    """Posts what it is given, on one kept connection, for ever."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    client = http.client.HTTPConnection(host, int(port), timeout=60)
    client.connect()
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        path, content = jobs.get()
        sent[path] = time.monotonic()
        client.request("POST", "/", content, {"Content-Type": "application/json"})
        answer = client.getresponse()
        answer.read()
        if answer.status != 202:
            raise SystemExit(f"mspc answered {answer.status}")


def bad_origin(fault: str) -> tuple[str, object]:
    """Where the bad calls go, and what has to be kept until the end."""
    if fault == "hang":
        server = StreamServer(("127.0.0.1", 0), never_answer)
        server.start()
        return f"http://127.0.0.1:{server.server_port}", server
    refusing = socket.socket()  # bound but not listening: connections are refused
    refusing.bind(("127.0.0.1", 0))
    return f"http://127.0.0.1:{refusing.getsockname()[1]}", refusing


def main(
    url: str, fault: str, share: int, rate: float, seconds: float, patience: float
) -> None:
    healthy = Healthy()
    bad, _kept = bad_origin(fault)
    good = f"http://127.0.0.1:{healthy.server.server_port}"
    jobs: Queue[tuple[str, bytes]] = Queue()
    sent: dict[str, float] = {}
    clients = [gevent.spawn(post, url, jobs, sent) for _ in range(CLIENTS)]
    expected = set()
    started = time.monotonic()
    for number in range(round(rate * seconds)):
        gevent.sleep(max(0.0, started + number / rate - time.monotonic()))
        # Spread evenly: with 10 percent every tenth call is a bad one.
        is_bad = (number + 1) * share // 100 > number * share // 100
        path = f"/{'bad' if is_bad else 'good'}/{number}"
        if not is_bad:
            expected.add(path)
        jobs.put((path, body(f"{bad if is_bad else good}{path}")))
    deadline = time.monotonic() + patience
    while not expected <= healthy.arrived.keys() and time.monotonic() < deadline:
        gevent.sleep(0.05)
    for client in clients:
        if client.dead:
            client.get()
    print(json.dumps(figures(expected, sent, healthy.arrived)), flush=True)


def figures(
    expected: set[str], sent: dict[str, float], arrived: dict[str, float]
) -> dict[str, float]:
    """Of calls that have not come, the time that they have waited so far counts."""
    now = time.monotonic()
    waits = [(arrived.get(path, now) - sent.get(path, now)) * 1000 for path in expected]
    missing = len(expected - arrived.keys())
    names = {f"{name}_ms": value for name, value in asdict(percentiles(waits)).items()}
    return {**names, "healthy": len(expected), "undelivered": missing}


if __name__ == "__main__":
    main(
        sys.argv[1],
        sys.argv[2],
        int(sys.argv[3]),
        *map(float, sys.argv[4:7]),
    )
