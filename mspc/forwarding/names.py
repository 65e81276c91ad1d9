"""Names of targets, looked up so that silent name servers hold up nobody else.

getaddrinfo cannot be interrupted: a silent name server keeps a thread for 5 to 60 s.
So the threads have seats of three kinds. Names that answered lately have theirs, and
what they answered is there for when none is free; names that were silent have theirs;
all others share the rest. Threads, not c-ares: that never reads resolv.conf again, and
asks neither mDNS nor whatever else stands in nsswitch.conf.
"""

import logging
import math
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gevent.event import AsyncResult
from gevent.lock import Semaphore
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from mspc.calls.words import DNS
from mspc.errors import NoConnection

log = logging.getLogger(__name__)

# A thread that waits takes 39 kB (measured); there are as many as lookups wait.
SEATS_OF_KNOWN = 32
SEATS_OF_SILENT = 128
SEATS_OF_OTHERS = 352
# Of those of others: who calls a thousand names of one domain waits for its servers
# alone.
SEATS_OF_DOMAIN = 64
IDLE_THREAD_SECONDS = 60
# An answer this old may take the place of one that does not come.
LATELY_SECONDS = 600.0
# So long is waited for a new answer when there is an old one (RFC 8767, 5: 1.8 s).
PATIENCE_SECONDS = 1.0
LEFT_ALONE_SECONDS = 10.0
REMEMBERED_NAMES = 4096

# An answer: the name has no address. Any other failure may pass.
_DEFINITE = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))

Place = tuple[int, tuple[Any, ...]]  # family, and address and port as connect() takes
# A host's places, without a port; or why there are none.
LookUp = Callable[[str], tuple[Place, ...] | Exception]


@dataclass(slots=True)
class _Name:
    """What is known of a name. Times are those of the clock, in seconds."""

    places: tuple[Place, ...] = ()
    answered_at: float = -math.inf
    silent: bool = False
    left_alone_until: float = -math.inf


class Names:
    """Looks names up; safe to use from many greenlets at once."""

    def __init__(
        self,
        look_up: LookUp | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up or _getaddrinfo
        self._clock = clock
        self._names: dict[str, _Name] = {}
        self._lookups: dict[str, AsyncResult[Any]] = {}
        self._known = Semaphore(SEATS_OF_KNOWN)
        self._silent = Semaphore(SEATS_OF_SILENT)
        self._others = Semaphore(SEATS_OF_OTHERS)
        self._domains: Counter[str] = Counter()  # of who has a seat of others
        threads = SEATS_OF_KNOWN + SEATS_OF_SILENT + SEATS_OF_OTHERS
        self._pool = ThreadPool(threads, idle_task_timeout=IDLE_THREAD_SECONDS)

    def places(self, host: str, timeout: float) -> tuple[Place, ...]:
        """The addresses of `host`, within `timeout` seconds.

        Raises:
            NoConnection: there are none, or it is not known.
        """
        now = self._clock()
        name = self._name(host)
        last = name.places if now - name.answered_at < LATELY_SECONDS else ()
        if now < name.left_alone_until:
            if last:
                return last
            again = name.left_alone_until - now
            raise _unresolved(f"name servers are silent, asked again in {again:.0f} s")
        if last:
            timeout = min(timeout, PATIENCE_SECONDS)
        until = now + timeout
        seats = self._seats(host, name, bool(last))
        lookup = self._lookup(host, seats, 0.0 if last else timeout)
        if lookup is not None:
            lookup.wait(max(0.0, until - self._clock()))
            if lookup.ready():
                return _answer(lookup.value, last)
            if last and not name.silent:
                log.warning("%s: silent name servers, its last addresses do", host)
            self._was_silent(name)
        if last:
            return last
        raise _unresolved(
            "name servers are silent" if lookup else "too many names wait for theirs"
        )

    def _seats(self, host: str, name: _Name, known: bool) -> Semaphore:
        if name.silent:
            return self._silent
        if known:
            return self._known
        crowded = self._domains[_domain(host)] >= SEATS_OF_DOMAIN
        return self._silent if crowded else self._others

    def _lookup(
        self, host: str, seats: Semaphore, timeout: float
    ) -> "AsyncResult[Any] | None":
        """The lookup of `host`, one at a time; None when it has no seat in time.

        A deadline ends the wait, not the lookup: if each attempt began one of its own,
        the retries of a few names without an answer would take every thread.
        """
        if host in self._lookups:
            return self._lookups[host]
        if not seats.acquire(blocking=timeout > 0, timeout=timeout or None):
            return None
        if host in self._lookups:  # begun by somebody else meanwhile
            seats.release()
            return self._lookups[host]
        began = self._clock()
        try:
            lookup = self._pool.spawn(self._look_up, host)
        except BaseException:  # one thread too many for the system, for example
            seats.release()
            raise
        self._lookups[host] = lookup
        if seats is self._others:
            self._domains[_domain(host)] += 1
        # Linked first, it runs before whoever waits goes on.
        lookup.rawlink(lambda done: self._settle(host, seats, began, done.value))
        return lookup

    def _settle(self, host: str, seats: Semaphore, began: float, found: Any) -> None:
        """Runs in the hub, where nothing may wait: it does not even log."""
        del self._lookups[host]
        seats.release()
        if seats is self._others:
            domain = _domain(host)
            self._domains[domain] -= 1
            if not self._domains[domain]:
                del self._domains[domain]
        now = self._clock()
        name = self._name(host)
        if not isinstance(found, Exception):
            self._names[host] = _Name(found, now)
        elif _definite(found):
            self._names[host] = _Name()
        elif now - began > PATIENCE_SECONDS:
            self._was_silent(name)

    def _was_silent(self, name: _Name) -> None:
        name.silent = True
        name.left_alone_until = self._clock() + LEFT_ALONE_SECONDS

    def _name(self, host: str) -> _Name:
        # Last in the dict is who was used last: who is first goes when it is full.
        name = self._names.pop(host, _Name())
        self._names[host] = name
        if len(self._names) > REMEMBERED_NAMES:
            del self._names[next(iter(self._names))]
        return name


def _answer(found: Any, last: tuple[Place, ...]) -> tuple[Place, ...]:
    if not isinstance(found, Exception):
        return tuple(found)
    if last and not _definite(found):
        return last
    raise _unresolved(getattr(found, "strerror", None) or str(found)) from found


def _domain(host: str) -> str:
    """What one set of name servers is likely to answer for."""
    return ".".join(host.removesuffix(".").split(".")[-2:])


def _unresolved(reason: str) -> NoConnection:
    return NoConnection(f"the host name cannot be resolved: {reason}", DNS)


def _definite(failure: Exception) -> bool:
    return isinstance(failure, socket.gaierror) and failure.errno in _DEFINITE


def _getaddrinfo(host: str) -> tuple[Place, ...] | Exception:
    """Runs in a thread; an exception that it raised would be printed by the hub."""
    try:
        found = get_original("socket", "getaddrinfo")(host, 0, 0, socket.SOCK_STREAM)
    except Exception as exc:  # noqa: BLE001 - UnicodeError, for example
        return exc
    if not found:
        return socket.gaierror(socket.EAI_AGAIN, "no address")
    return tuple((family, address) for family, _, _, _, address in found)
