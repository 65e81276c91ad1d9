"""Connections to targets: opened by urllib3, kept while idle, used by one call at once.

urllib3's pools are not used: building a key, parsing the target and polling the socket
for each call cost more than the call, and the target would be written as a browser
does, `%C3` for `%c3`, which breaks signatures over the URL.
"""

import socket
import ssl
from collections import deque
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from mspc.calls.call import Origin, Request
from mspc.forwarding.answer import AnswerReader
from mspc.forwarding.dialer import Dialer
from mspc.process import crash
from mspc.process.sockets import send_all

# After so long every idle connection is closed: many servers close one after a minute
# or less, and what a dead origin leaves open costs a descriptor each.
FRESH_SECONDS = 30.0
# Whoever calls thousands of services must not run out of descriptors.
ORIGINS = 256
# A larger body is sent after the head instead of being copied behind it.
SENT_AT_ONCE_BYTES = 65_536


class TargetConnection:
    """An open connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, head: bytes, body: bytes) -> None:
        if len(body) <= SENT_AT_ONCE_BYTES:
            send_all(self._sock, head + body)
        else:
            self._sock.sendall(head)
            self._sock.sendall(body)
        crash.at("request_sent")

    def reader(self) -> AnswerReader:
        return AnswerReader(self._sock.recv)

    @property
    def usable(self) -> bool:
        """Nothing has come since the last answer, not even the end."""
        raw: Any = self._sock  # gevent's: the one below it does not wait
        try:
            raw._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        self._sock.close()


class Connections:
    """Opens connections, and keeps those that can be used again."""

    def __init__(
        self, dialer: Dialer, connect_timeout: float, context: ssl.SSLContext
    ) -> None:
        self._dialer = dialer
        self._connect_timeout = connect_timeout
        self._context = context
        self._idle: dict[Origin, deque[TargetConnection]] = {}

    def take(self, request: Request) -> TargetConnection:
        """A connection to the request's origin, for one call.

        Raises:
            AddressDenied: no address of the host may be dialled.
            NoConnection: there is none.
            urllib3.exceptions.HTTPError, OSError: TLS says no.
        """
        idle = self._idle.get(request.origin)
        while idle:
            # The one that has been idle longest: a target that closes a connection
            # without saying so has had the most time to do it, and it is noticed.
            connection = idle.popleft()
            if connection.usable:
                return connection
            connection.close()
        return self._open(request)

    def give_back(self, request: Request, connection: TargetConnection) -> None:
        # Last in the dict is who was used last: who is first goes when it is full.
        idle = self._idle.pop(request.origin, None) or deque()
        idle.append(connection)
        self._idle[request.origin] = idle
        if len(self._idle) > ORIGINS:
            self._forget(next(iter(self._idle)))

    def close_idle(self) -> None:
        for origin in tuple(self._idle):
            self._forget(origin)

    def _forget(self, origin: Origin) -> None:
        for connection in self._idle.pop(origin):
            connection.close()

    def _open(self, request: Request) -> TargetConnection:
        place: dict[str, Any] = {
            "host": request.host,
            "port": request.port,
            "timeout": self._connect_timeout,
        }
        opening: _Plain | _OverTls
        if request.scheme == "https":
            opening = _OverTls(**place, ssl_context=self._context)
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
        return TargetConnection(sock)


class _Plain(HTTPConnection):
    dialer: Dialer

    def _new_conn(self) -> socket.socket:
        return self.dialer.dial(self)


class _OverTls(HTTPSConnection):
    dialer: Dialer

    def _new_conn(self) -> socket.socket:
        return self.dialer.dial(self)
