"""Connections to targets: opened by urllib3, kept while idle, used by one call at once.

urllib3's pools are not used: building a key, parsing the target and polling the socket
for each call cost more than the call, and the target would be written as a browser
does, `%C3` for `%c3`, which breaks signatures over the URL.
"""

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pool import Pool
from urllib3.connection import HTTPConnection, HTTPSConnection

from mspc.calls.call import Origin, Request
from mspc.forwarding.dialer import Dialer
from mspc.forwarding.exchange import TargetConnection
from mspc.forwarding.rest import State
from mspc.process.greenlets import give_way

# An older connection is closed when it is idle: many servers close one after a minute
# or less, and a name may mean another address by now.
FRESH_SECONDS = 30.0
# Whoever calls thousands of services must not run out of descriptors.
ORIGINS = 256
# How long the rest of an answer may take after its status. Nobody waits for it.
REST_SECONDS = 2.0
# Connections whose answers have not ended: of each origin, and without a future.
UNFINISHED = 256
# So many of those are looked at for one call.
LOOKS = 4
# Requests that were answered before all of them had been sent, and are sent to the end.
HALF_SENT = 64


class _Kept:
    """The connections of one origin, in the order in which they were given back."""

    __slots__ = ("idle", "unfinished")

    def __init__(self) -> None:
        self.idle: deque[TargetConnection] = deque()
        self.unfinished: deque[TargetConnection] = deque()


class Connections:
    """Opens connections, and keeps those that can be used again.

    Args:
        context: gives that of TLS, when the first connection needs it.
        longest: seconds for what is left of a request that has been answered.
    """

    def __init__(
        self,
        dialer: Dialer,
        connect_timeout: float,
        context: Callable[[], ssl.SSLContext],
        longest: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dialer = dialer
        self._connect_timeout = connect_timeout
        self._context = context
        self._longest = longest
        self._clock = clock
        self._kept: dict[Origin, _Kept] = {}
        # They end with their answers. Closed now, they would break off what a target
        # is still saying.
        self._leaving: deque[TargetConnection] = deque()
        self._sending = Pool(HALF_SENT)

    def kept(self, origin: Origin) -> TargetConnection | None:
        """A connection that was used before, for one call; None without one.

        Targets close connections whenever they like: it may end before the request
        has come.
        """
        kept = self._kept.get(origin)
        if kept is None:
            return None
        oldest = self._clock() - FRESH_SECONDS
        while kept.idle:
            # The one that has been idle longest: a target that closes a connection
            # without saying so has had the most time to do it, and it is noticed.
            connection = kept.idle.popleft()
            if connection.opened >= oldest and connection.usable:
                return connection
            connection.close()
        for _ in range(min(LOOKS, len(kept.unfinished))):
            connection = kept.unfinished.popleft()
            if connection.look() is State.ENDED and connection.opened >= oldest:
                return connection
            self._put(kept, connection)
        return None

    def open(self, request: Request) -> TargetConnection:
        """A new connection to the request's origin, for one call.

        Raises:
            AddressDenied: no address of the host may be dialled.
            NoConnection: there is none.
            urllib3.exceptions.HTTPError, OSError: TLS says no.
        """
        place: dict[str, Any] = {
            "host": request.host,
            "port": request.port,
            "timeout": self._connect_timeout,
        }
        opening: _Plain | _OverTls
        if request.scheme == "https":
            opening = _OverTls(**place, ssl_context=self._context())
        else:
            opening = _Plain(**place)
        opening.dialer = self._dialer
        try:
            opening.connect()
        except BaseException:  # the deadline of the whole attempt, for example
            opening.close()
            raise
        sock: Any = opening.sock
        # From here on the deadline of the attempt counts, not that of a single read.
        sock.settimeout(None)
        return TargetConnection(sock, self._clock())

    def give_back(self, request: Request, connection: TargetConnection) -> None:
        """Takes a connection whose call has its status."""
        if connection.state is not State.ENDED:
            connection.until = self._clock() + REST_SECONDS
            if connection.half_sent:
                self._send_rest(connection)
                return
            if not connection.lasting:
                self._let_go(connection)
                return
        # Last in the dict is who was used last: who is first goes when it is full.
        kept = self._kept.pop(request.origin, None) or _Kept()
        self._kept[request.origin] = kept
        if not request.requeue and (kept.idle or kept.unfinished):
            # It was opened beside them: else they would be one more after each call.
            self._let_go(connection)
            return
        if connection.state is State.ENDED:
            kept.idle.append(connection)
        else:
            self._put(kept, connection)
        if len(self._kept) > ORIGINS:
            self._forget(next(iter(self._kept)))

    def sweep(self) -> None:
        """Closes what has no use any more: to be called every second or so."""
        for origin, kept in tuple(self._kept.items()):
            self._sweep(kept)
            if not (kept.idle or kept.unfinished) and self._kept.get(origin) is kept:
                del self._kept[origin]
            give_way()  # a thousand connections take a millisecond
        now = self._clock()
        for _ in range(len(self._leaving)):
            if not self._leaving:  # closed meanwhile
                return
            connection = self._leaving.popleft()
            if connection.until > now and connection.look() is not State.USELESS:
                self._leaving.append(connection)
            else:
                connection.close()
            give_way()

    def close(self) -> None:
        for origin in tuple(self._kept):
            self._forget(origin)
        self._sending.kill()
        while self._leaving:
            self._leaving.popleft().close()

    def _send_rest(self, connection: TargetConnection) -> None:
        if self._sending.full():
            connection.close()
        else:
            self._sending.spawn(self._send_and_close, connection)

    def _send_and_close(self, connection: TargetConnection) -> None:
        try:
            gevent.with_timeout(
                self._longest, connection.send_rest, REST_SECONDS, timeout_value=None
            )
        finally:
            connection.close()

    def _sweep(self, kept: _Kept) -> None:
        now = self._clock()
        for _ in range(len(kept.idle)):
            connection = kept.idle.popleft()
            if connection.opened >= now - FRESH_SECONDS and connection.usable:
                kept.idle.append(connection)
            else:
                connection.close()
        for _ in range(len(kept.unfinished)):
            if not kept.unfinished:  # calls have taken them meanwhile
                return
            connection = kept.unfinished.popleft()
            connection.look()
            self._put(kept, connection)
            give_way()  # a service may send what takes milliseconds to understand

    def _put(self, kept: _Kept, connection: TargetConnection) -> None:
        """Where it belongs, by the state of its answer."""
        if connection.state is State.ENDED:
            kept.idle.append(connection)
        elif connection.state is State.COMING and connection.until > self._clock():
            kept.unfinished.append(connection)
            if len(kept.unfinished) > UNFINISHED:
                kept.unfinished.popleft().close()
        else:
            self._let_go(connection)

    def _let_go(self, connection: TargetConnection) -> None:
        """Closes it, when its answer has ended or would take too long."""
        ended = connection.state in (State.ENDED, State.USELESS)
        if ended or connection.until <= self._clock():
            connection.close()
            return
        self._leaving.append(connection)
        if len(self._leaving) > UNFINISHED:
            self._leaving.popleft().close()

    def _forget(self, origin: Origin) -> None:
        kept = self._kept.pop(origin)
        for connections in (kept.idle, kept.unfinished):
            while connections:  # none is left to whoever looks at them just now
                connections.popleft().close()


class _Plain(HTTPConnection):
    dialer: Dialer

    def _new_conn(self) -> socket.socket:
        return self.dialer.dial(self)


class _OverTls(HTTPSConnection):
    dialer: Dialer

    def _new_conn(self) -> socket.socket:
        return self.dialer.dial(self)
