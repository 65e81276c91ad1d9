"""Connects to whichever of several addresses answers first: RFC 8305.

One address that is dead must cost neither the call nor the time of a whole timeout.
"""

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from errno import (
    ECONNREFUSED,
    ECONNRESET,
    EHOSTUNREACH,
    EINPROGRESS,
    ENETUNREACH,
    ETIMEDOUT,
)
from itertools import zip_longest

from gevent.select import poll

from mspc.calls.words import (
    CONNECT_TIMEOUT,
    CONNECTION_REFUSED,
    CONNECTION_RESET,
    UNKNOWN,
)
from mspc.errors import NoConnection
from mspc.forwarding.names import Place

NEXT_AFTER_SECONDS = 0.25  # RFC 8305, 8: the connection attempt delay
NAMED_ADDRESSES = 4

_SILENT = "no answer"
# Of several addresses, whichever of these is first has the word: one that says no is
# nearer to the service than one that says nothing.
_WORDS = {
    ECONNREFUSED: CONNECTION_REFUSED,
    ECONNRESET: CONNECTION_RESET,
    EHOSTUNREACH: CONNECTION_REFUSED,
    ENETUNREACH: CONNECTION_REFUSED,
    ETIMEDOUT: CONNECT_TIMEOUT,
}

# What setsockopt() takes.
Options = Iterable[tuple[int, int, int | bytes]]


def in_order(places: Sequence[Place], first: Place | None) -> list[Place]:
    """The order in which to try: `first`, then the families in turn (RFC 8305, 4)."""
    families: dict[int, list[Place]] = {}
    for place in sorted(dict.fromkeys(places), key=lambda place: place != first):
        families.setdefault(place[0], []).append(place)
    turns = zip_longest(*families.values())
    return [place for turn in turns for place in turn if place is not None]


class Race:
    """One connection to any of some places, each begun a little after the one before.

    In the usual case, the first place answers at once, it is a plain connect().
    """

    def __init__(
        self,
        places: Iterable[Place],
        timeout: float,
        options: Options = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout`: seconds for all of them together."""
        self._waiting = deque(places)
        self._options = tuple(options)
        self._clock = clock
        self._until = clock() + timeout
        self._pending: dict[int, tuple[socket.socket, Place]] = {}
        self._failed: dict[Place, str] = {}
        self._errors: set[int | None] = set()  # what the kernel has said

    def run(self) -> tuple[socket.socket, Place]:
        """The socket, connected, and the place that it is connected to.

        Raises:
            NoConnection: none of them answers in time.
        """
        try:
            while self._waiting or self._pending:
                now = self._clock()
                if now >= self._until:
                    break
                place = self._waiting.popleft() if self._waiting else None
                due = self._until
                if self._waiting:
                    due = min(due, now + NEXT_AFTER_SECONDS)
                winner = self._begin(place, due - now) if place else None
                winner = winner or self._wait(due)
                if winner is not None:
                    return winner
            raise NoConnection(self._said(), self._word())
        finally:
            for sock, _ in self._pending.values():
                sock.close()

    def _begin(
        self, place: Place, patience: float
    ) -> tuple[socket.socket, Place] | None:
        """Connects; what is not connected when the next one is due stays pending."""
        if self._pending:
            patience = 0.0  # _wait() waits for all of them
        sock = None
        try:
            # The kernel may lack the family, or the process a descriptor.
            sock = socket.socket(place[0], socket.SOCK_STREAM)
            for option in self._options:
                sock.setsockopt(*option)
            sock.settimeout(patience)
            sock.connect(place[1])
            return sock, place
        except BaseException as exc:
            if sock is not None and _is_connecting(exc):
                self._pending[sock.fileno()] = sock, place
                return None
            if sock is not None:
                sock.close()
            if not isinstance(exc, OSError):  # the deadline of the whole attempt
                raise
            self._failed[place] = exc.strerror or str(exc)
            self._errors.add(exc.errno)
        return None

    def _wait(self, due: float) -> tuple[socket.socket, Place] | None:
        """Waits until one of those pending is settled, or the next one is due."""
        if not self._pending:
            return None
        waiter = poll()
        for fd in self._pending:
            waiter.register(fd, select.POLLOUT)
        for fd, _ in waiter.poll(max(0.0, due - self._clock()) * 1000):
            sock, place = self._pending.pop(fd)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not error:
                return sock, place
            sock.close()
            self._failed[place] = os.strerror(error)
            self._errors.add(error)
        return None

    def _word(self) -> str:
        """One of calls/words.py."""
        found = (word for error, word in _WORDS.items() if error in self._errors)
        return next(found, UNKNOWN if self._errors else CONNECT_TIMEOUT)

    def _said(self) -> str:
        """Why there is no connection; with the addresses when there are several."""
        addresses: dict[str, list[str]] = {}
        for _, place in self._pending.values():
            self._failed[place] = _SILENT
        for place, reason in self._failed.items():
            addresses.setdefault(reason, []).append(place[1][0])
        several = len(self._failed) > 1
        told = [
            f"{reason} ({_listed(those)})" if several else reason
            for reason, those in addresses.items()
        ]
        if [*addresses] == [_SILENT]:
            return f"no connection in time: {told[0]}"
        return f"no connection: {'; '.join(told)}"


def _is_connecting(exc: BaseException) -> bool:
    """Whether connect() gave up waiting only: the kernel may say ETIMEDOUT as well."""
    if isinstance(exc, TimeoutError):
        return exc.errno is None
    return isinstance(exc, BlockingIOError) and exc.errno == EINPROGRESS


def _listed(addresses: Sequence[str]) -> str:
    more = ["..."] if len(addresses) > NAMED_ADDRESSES else []
    return ", ".join([*addresses[:NAMED_ADDRESSES], *more])
