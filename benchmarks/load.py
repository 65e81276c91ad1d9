"""The clients: h2load over HTTP/1.1, as fast as answers come or at a steady rate."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Percentiles, percentiles
from benchmarks.processes import Child, Failed

CONNECTIONS = 64
TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw.

    Attributes:
        started: when the first request was sent, Unix seconds.
        rate: answers a second between the first request and the last answer.
        latency: from a request to the end of its answer.
    """

    count: int
    started: float
    rate: float
    latency: Percentiles


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a call is posted, and as what."""

    url: str
    body: bytes


def body(url: str) -> bytes:
    """The call that every benchmark sends, as mspc and its peers' front read it."""
    return json.dumps(
        {
            "url": url,
            "method": "POST",
            "headers": {
                "X-Auth": "MyAuthKey",
                "Content-Type": "application/json; charset=UTF-8",
            },
            "body": '{"receiver": "john.doe@domain.tld", '
            '"text": "Welcome to the machine!"}',
        }
    ).encode()


class Clients:
    """Posts one body again and again. Its files go to `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory

    def closed(self, entry: Entry, count: int, connections: int = CONNECTIONS) -> Load:
        """`count` requests; each connection sends its next one after an answer."""
        return self._run(entry, count, ["-c", str(min(connections, count))])

    def steady(self, entry: Entry, rate: float, seconds: float) -> Load:
        """Requests at a steady rate, whatever the answers take.

        One connection is opened after the other, so that their requests are spread
        evenly. A connection waits for its answer before its next request; with 64
        connections that delays none until an answer takes 64 times the pause
        between two requests.
        """
        each = rate / CONNECTIONS
        pause = max(1, round(1000 / each / CONNECTIONS))
        count = CONNECTIONS * max(1, round(each * seconds))
        options = ["-c", str(CONNECTIONS), "--rps", f"{each:.4f}"]
        spread = ["-r", "1", "--rate-period", f"{pause}ms"]
        return self._run(entry, count, options + spread)

    def _run(self, entry: Entry, count: int, options: list[str]) -> Load:
        log = self._directory / "requests.tsv"
        log.unlink(missing_ok=True)
        post = self._directory / "post.json"
        post.write_bytes(entry.body)
        command = ["h2load", "--h1", "-n", str(count), *options, "-d", str(post)]
        command += ["-H", "Content-Type: application/json", f"--log-file={log}"]
        command.append(entry.url)
        child = Child(command, self._directory / "h2load.log")
        try:
            output = child.finish(TIMEOUT_SECONDS)
        finally:
            child.stop()
        good = re.search(r"status codes: (\d+) 2xx", output)
        if good is None or int(good[1]) != count:
            raise Failed(f"not all of {count} requests were answered 2xx:\n{output}")
        return _read(log)


def _read(log: Path) -> Load:
    rows = [tuple(map(int, row.split())) for row in log.read_text().splitlines()]
    first = min(row[0] for row in rows)
    last = max(row[0] + row[2] for row in rows)
    latency = percentiles([row[2] / 1000 for row in rows])
    return Load(len(rows), first / 1e6, len(rows) / ((last - first) / 1e6), latency)
