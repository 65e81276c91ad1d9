"""Clients that send calls at a steady pace, and remember what each was answered."""

import http.client
import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import gevent
from gevent.pool import Group

from tests.support.waiting import eventually

TIMEOUT_SECONDS = 30.0
PAUSE_SECONDS = 0.025  # between two calls of one client
MOST_CALLS = 20_000

# Bytes of the bodies, in turn: most are small, some do not fit into a packet, into a
# socket's buffer, or into the buffers that proxies have by default.
_SIZES = (300,) * 60 + (9_000,) * 5 + (40_000,) * 4 + (900_000,)


@dataclass(slots=True)
class SteadyLoad:
    """`keeping` clients that keep their connection, `fresh` that take a new one a call.

    Attributes:
        port: where to, on loopback.
        url: what call number n names; each is told apart by it.
        answers: for each call its status, or why there is none.
    """

    port: int
    url: Callable[[int], str]
    keeping: int = 5
    fresh: int = 3
    answers: dict[int, int | str] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _clients: Group = field(default_factory=Group)
    _ended: bool = False

    def start(self) -> None:
        for number in range(self.keeping + self.fresh):
            self._clients.spawn(self._send_calls, keeps=number < self.keeping)

    def stop(self) -> None:
        """Returns when each call that was begun has its answer."""
        self._ended = True
        self._clients.join()

    def wait_for(self, more: int) -> None:
        """Returns when so many further calls have been answered."""
        wanted = len(self.answers) + more
        eventually(lambda: len(self.answers) >= wanted, TIMEOUT_SECONDS)

    def statuses(self) -> Counter[int | str]:
        return Counter(self.answers.values())

    def _send_calls(self, keeps: bool) -> None:
        client = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=TIMEOUT_SECONDS
        )
        while not self._ended and (number := next(self._numbers)) < MOST_CALLS:
            try:
                self.answers[number] = self._send(client, number, keeps)
            except (OSError, http.client.HTTPException) as exc:
                self.answers[number] = f"{type(exc).__name__}: {exc}"
                client.close()
            if not keeps:
                client.close()
            gevent.sleep(PAUSE_SECONDS)
        client.close()

    def _send(
        self, client: http.client.HTTPConnection, number: int, keeps: bool
    ) -> int:
        text = json.dumps("x" * _SIZES[number % len(_SIZES)])
        call = {"url": self.url(number), "method": "POST", "body": text}
        headers = {} if keeps else {"Connection": "close"}
        client.request("POST", "/", json.dumps(call).encode(), headers)
        answer = client.getresponse()
        answer.read()
        return answer.status
