"""Posts healthy calls at a steady rate, alone and then beside others in trouble.

`python -m benchmarks.probe PLAN` gets a `Plan` as JSON and prints JSON: how long the
healthy calls took from their POST to their target, alone (null for none) and beside the
trouble; how many there were, how many were missing at the end, and
how often one came again.
"""

from gevent import monkey

monkey.patch_all()

import gc
import http.client
import itertools
import json
import socket
import sys
import time
from dataclasses import asdict, dataclass, field

import gevent
from gevent.queue import Queue

from benchmarks.load import body
from benchmarks.measure import percentiles
from benchmarks.origins import Origin, listening, trouble
from benchmarks.probing import Plan, Window

CLIENTS = 32
READY_SECONDS = 60.0
# After the calls that were alone, before the trouble; they should have come long since.
BETWEEN_SECONDS = 2.0


class Clients:
    """Post what they are given, on kept connections.

    Attributes:
        posted: when each path was handed to them, `time.monotonic()`: what waits for a
            free connection waits for mspc.
    """

    def __init__(self, url: str) -> None:
        self.posted: dict[str, float] = {}
        self._host, self._port = url.removeprefix("http://").rstrip("/").split(":")
        self._jobs: Queue[bytes] = Queue()
        self._clients: list[gevent.Greenlet[..., None]] = []

    def start(self) -> None:
        """As soon as mspc is ready."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            if time.monotonic() > deadline:
                raise SystemExit(f"mspc was not ready within {READY_SECONDS:g} s")
            gevent.sleep(0.02)
        self._clients = [gevent.spawn(self._work) for _ in range(CLIENTS)]

    def post(self, origin: str, path: str) -> None:
        content = body(f"{origin}{path}")
        self.posted[path] = time.monotonic()
        self._jobs.put(content)

    def check(self) -> None:
        """Raises what has ended one of them."""
        for client in self._clients:
            if client.dead:
                client.get()

    def _ready(self) -> bool:
        client = self._client()
        try:
            client.request("GET", "/health/ready")
            return client.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            client.close()

    def _client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, int(self._port), timeout=60)

    def _work(self) -> None:
        client = self._client()
        client.connect()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            content = self._jobs.get()
            client.request("POST", "/", content, {"Content-Type": "application/json"})
            answer = client.getresponse()
            answer.read()
            if answer.status != http.client.ACCEPTED:
                raise SystemExit(f"mspc answered {answer.status}")


@dataclass(slots=True)
class Sent:
    """Healthy calls that were posted, each with the seconds since the first one."""

    paths: dict[str, float] = field(default_factory=dict)

    def within(self, window: Window) -> list[str]:
        return [
            path for path, at in self.paths.items() if window.begin <= at < window.end
        ]


class Probe:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._healthy = Origin(listening())
        self._bad = [f"http://127.0.0.1:{port}" for port in plan.ports]
        self._clients = Clients(plan.url)

    def run(self) -> dict[str, object]:
        """Begins when mspc is ready."""
        plan = self._plan
        self._clients.start()
        timed = Window(plan.warm_up, plan.warm_up + plan.alone)
        alone = self._send("alone", timed.end, posted=False)
        self._wait([*alone.paths], BETWEEN_SECONDS)
        beside = self._send("beside", plan.window.end, posted=plan.posted)
        sent = [*alone.paths, *beside.paths]
        self._wait(sent, plan.patience)
        self._clients.check()
        times = self._healthy.times
        return {
            "alone": self._waits(alone.within(timed)) if plan.alone else None,
            "beside": self._waits(beside.within(plan.window)),
            "healthy": len(sent),
            "missing": sum(path not in times for path in sent),
            "twice": sum(times[path] - 1 for path in sent if path in times),
        }

    def _send(self, prefix: str, seconds: float, *, posted: bool) -> Sent:
        """Healthy calls, evenly spread; with `posted` a bad one between each two."""
        sent, bad = Sent(), itertools.cycle(self._bad if posted else [])
        pause = 1 / self._plan.rate
        started = time.monotonic()
        for number in range(round(seconds * self._plan.rate)):
            self._until(started + number * pause)
            path = f"/{prefix}/{number}"
            sent.paths[path] = number * pause
            self._clients.post(self._healthy.url, path)
            if origin := next(bad, None):
                self._until(started + (number + 0.5) * pause)
                self._clients.post(origin, f"/bad{path}")
        return sent

    def _wait(self, paths: list[str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        missing = set(paths)
        while missing and time.monotonic() < deadline:
            gevent.sleep(0.05)
            missing -= self._healthy.arrived.keys()

    def _waits(self, paths: list[str]) -> dict[str, float]:
        """Of calls that have not come, the time that they have waited so far counts."""
        now = time.monotonic()
        arrived, posted = self._healthy.arrived, self._clients.posted
        waits = [(arrived.get(path, now) - posted[path]) * 1000 for path in paths]
        return asdict(percentiles(waits))

    @staticmethod
    def _until(moment: float) -> None:
        gevent.sleep(max(0.0, moment - time.monotonic()))


def main(plan: Plan) -> None:
    gc.disable()  # its pauses would be taken for mspc's
    _kept = trouble(plan)
    print(json.dumps(Probe(plan).run()), flush=True)


if __name__ == "__main__":
    main(Plan.of_json(sys.argv[1]))
