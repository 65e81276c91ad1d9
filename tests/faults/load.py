"""The client: posts calls with ids of their own and remembers what it was told."""

import contextlib
import hashlib
import http.client
import itertools
import json
import select
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import gevent
from gevent.event import Event
from gevent.pool import Pool

from tests.faults.checker import Outcome, Sent

TIMEOUT_SECONDS = 15.0
BODY_BYTES = 300
CONNECTIONS = 64
# What is behind schedule by more than this is not made up for: a stalled service
# gets the rate again afterwards, not a flood.
_CATCH_UP_SECONDS = 0.25
# mspc closes what is idle for 30 s, which may cross with a request: as a careful client
# does, this one lets a connection go before.
_KEPT_SECONDS = 20.0

# Text that a careless hand on the way would change.
_DELICATE = 'ä€😀 \\u20ac \\"quoted\\" \\\\ %41&amp; + '


# What a call has besides the usual, by its id.
Properties = Callable[[str], Mapping[str, object]]


class Log:
    """What clients know, by call id; shared by every client of a run."""

    def __init__(self) -> None:
        self.sent: dict[str, Sent] = {}
        self.known_as: dict[str, str] = {}  # by mspc, of those that were promised
        self.statuses: Counter[int] = Counter()

    def add(self, sent: Sent) -> None:
        assert sent.id not in self.sent, f"{sent.id} was used twice"
        self.sent[sent.id] = sent
        self.statuses[sent.status] += 1

    def promise(self, call_id: str) -> None:
        """For a call that was stored in another way than by a client."""
        self.add(Sent(call_id, "ok", 0, time.monotonic(), 0.0))

    def ids(self, *outcomes: Outcome) -> set[str]:
        return {call.id for call in self.sent.values() if call.outcome in outcomes}


def call_to(base: str, call_id: str, size: int = BODY_BYTES) -> dict[str, object]:
    """What to post to mspc for a call that the ledger at `base` can check."""
    body = f'{{"id": "{call_id}", "text": "{_DELICATE}"'
    padding = "x" * max(0, size - len(body.encode()) - 16)
    body += f', "padding": "{padding}"}}'
    return {
        "url": f"{base}/call/{call_id}",
        "method": "POST",
        "headers": {
            "Content-Type": "application/json",
            "X-Check": hashlib.sha256(body.encode()).hexdigest(),
        },
        "body": body,
    }


class Client:
    """Posts one call at a time per connection; connections are kept and reused."""

    def __init__(self, ports: Sequence[int], base: str, log: Log) -> None:
        self.log = log
        self._base = base
        self._ports = itertools.cycle(ports)
        self._idle: dict[int, list[tuple[float, http.client.HTTPConnection]]] = {}

    def post(
        self,
        call_id: str,
        *,
        size: int = BODY_BYTES,
        timeout: float = TIMEOUT_SECONDS,
        properties: Mapping[str, object] | None = None,
    ) -> Sent:
        """Posts the call, with other `properties` on top; logs what became of it."""
        call = call_to(self._base, call_id, size) | dict(properties or {})
        content = json.dumps(call).encode()
        at = time.monotonic()
        outcome, status, said = self._exchange(next(self._ports), content, timeout)
        sent = Sent(call_id, outcome, status, at, time.monotonic() - at)
        self.log.add(sent)
        if outcome == "ok":
            self.log.known_as[call_id] = json.loads(said).get("id", "")
        return sent

    def close(self) -> None:
        for idle in self._idle.values():
            for _, connection in idle:
                connection.close()
        self._idle.clear()

    def _exchange(
        self, port: int, content: bytes, timeout: float
    ) -> tuple[Outcome, int, bytes]:
        connection = self._take(port, timeout)
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            return "fail", 0, b""  # nothing was sent
        try:
            connection.sock.settimeout(timeout)
            kind = {"Content-Type": "application/json"}
            connection.request("POST", "/", content, kind)
            response = connection.getresponse()
            said = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return "unknown", 0, b""
        if response.will_close:
            connection.close()
        else:
            self._idle.setdefault(port, []).append((time.monotonic(), connection))
        return _outcome(response.status), response.status, said

    def _take(self, port: int, timeout: float) -> http.client.HTTPConnection:
        idle = self._idle.get(port, [])
        while idle:
            since, connection = idle.pop()
            fresh = time.monotonic() - since < _KEPT_SECONDS
            if fresh and not _readable(connection):
                return connection
            connection.close()  # the other side has closed it
        return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)


class Load:
    """Posts calls at a rate, whatever becomes of them, until it is stopped or done.

    Attributes:
        prefix: of the ids: `<prefix>-<n>`.
        sent: how many have been posted so far.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        rate: float,
        *,
        seconds: float | None = None,
        count: int | None = None,
        size: int = BODY_BYTES,
        connections: int = CONNECTIONS,
        properties: Properties | None = None,
    ) -> None:
        self.prefix = prefix
        self.sent = 0
        self._client = client
        self._pause = 1.0 / rate
        self._seconds = seconds
        self._count = count
        self._size = size
        self._properties = properties
        self._pool = Pool(connections)
        self._stopping = Event()
        self._sender: gevent.Greenlet[..., None] | None = None

    def start(self) -> "Load":
        assert self._sender is None, "the load is on already"
        self._sender = gevent.spawn(self._send)
        return self

    @property
    def endless(self) -> bool:
        """Whether only stop() ends it."""
        return self._seconds is None and self._count is None

    def stop(self) -> None:
        """Posts no more; see join()."""
        self._stopping.set()

    def join(self, timeout: float = 300.0) -> None:
        """Waits until everything is posted and answered; without an end, stop first."""
        assert self._sender is not None, "the load was not started"
        deadline = time.monotonic() + timeout
        self._sender.join(timeout)
        self._pool.join(max(0.0, deadline - time.monotonic()))
        assert self._sender.dead, "the load does not end"
        assert not len(self._pool), "calls are not answered"
        self._client.close()

    def _send(self) -> None:
        start = due = time.monotonic()
        while not self._stopping.is_set() and self.sent != self._count:
            now = time.monotonic()
            if self._seconds is not None and now >= start + self._seconds:
                return
            self.sent += 1
            call_id = f"{self.prefix}-{self.sent}"
            own = self._properties(call_id) if self._properties else None
            self._pool.spawn(
                self._client.post, call_id, size=self._size, properties=own
            )
            due = max(due + self._pause, now - _CATCH_UP_SECONDS)
            self._stopping.wait(max(0.0, due - time.monotonic()))


def _outcome(status: int) -> Outcome:
    if status in (200, 202):
        return "ok"
    return "fail" if 400 <= status < 500 else "unknown"


def _readable(connection: http.client.HTTPConnection) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return bool(select.select([connection.sock], [], [], 0)[0])
    return True
