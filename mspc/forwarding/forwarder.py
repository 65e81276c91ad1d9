"""Exactly one HTTP attempt: a Request goes in, an Outcome comes out.

No retries, no redirects: a hidden second request would be a duplicate nobody counted,
and a POST that follows a redirect turns into a GET, which would be a silent loss.
"""

import re
import ssl
import time
from collections.abc import Callable

import gevent
from urllib3 import exceptions as http

from mspc import __version__
from mspc.calls.call import Outcome, Request
from mspc.errors import NoConnection
from mspc.forwarding.answer import NoAnswer
from mspc.forwarding.connections import FRESH_SECONDS, Connections, TargetConnection
from mspc.forwarding.dialer import AddressDenied, Dialer
from mspc.forwarding.tls import client_context
from mspc.process import crash
from mspc.settings.config import ForwardConfig

REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = f"mspc/{__version__}"
# Without a body, these say so: RFC 9110 8.6.
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
# validation.py lets none of them through; whoever else makes a Request may not.
_FORBIDDEN = re.compile(r"[\x00\r\n]")


class Forwarder:
    """Makes attempts; safe to use from many greenlets at once."""

    def __init__(
        self, config: ForwardConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._fresh_since = clock()
        self._deadline = config.timeout
        self._connections = Connections(
            Dialer(config.networks), config.connect_timeout, client_context(config)
        )

    def attempt(self, request: Request, call_id: str) -> Outcome:
        """Makes the call once. Never raises for what a target or a network does.

        The status line decides: what happens to the rest of the answer does not make
        a 2xx a failure.

        Args:
            request: what to send.
            call_id: sent as Idempotency-Key unless the request has one, so that the
                target can tell a repetition.
        """
        started = time.monotonic()
        status = None
        error, permanent = "", False
        deadline = gevent.Timeout.start_new(self._deadline)
        connection = None
        try:
            head = written_head(request, call_id)
            connection = self._connect(request)
            connection.send(head, request.body)
            reader = connection.reader()
            answer = reader.head(request.method)
            status = answer.status
            if status in REDIRECTS:
                error = "a redirect, not followed"
            # After CONNECT the rest would be a tunnel.
            if request.method != "CONNECT" and reader.skip_body(answer):
                self._connections.give_back(request, connection)
                connection = None
            crash.at("response_read")
        except gevent.Timeout as exc:
            if exc is not deadline:
                raise
            what = "no answer" if connection else "no connection"
            error = f"{what} within {self._deadline:g} s"
        except Exception as exc:  # noqa: BLE001 - whatever a target can provoke
            error, permanent = _explain(exc)
        finally:
            deadline.close()
            if connection is not None:
                connection.close()
        seconds = time.monotonic() - started
        if status is not None and error and 200 <= status < 300:
            error = ""
        return Outcome(status, error, seconds, permanent and status is None)

    def close(self) -> None:
        self._connections.close_idle()

    def _connect(self, request: Request) -> TargetConnection:
        now = self._clock()
        if now - self._fresh_since > FRESH_SECONDS:
            self._fresh_since = now
            self._connections.close_idle()
        return self._connections.take(request)


def written_head(request: Request, call_id: str) -> bytes:
    """The request up to its body, as it goes over the wire.

    Raises:
        ValueError: it has a character that would end a line.
    """
    lines = [f"{request.method} {_target(request)} HTTP/1.1"]
    given = set()
    for name, value in request.headers:
        given.add(name.lower())
        lines.append(f"{name}: {value}")
    if "host" not in given:
        lines.insert(1, f"Host: {request.place}")
    if "accept-encoding" not in given:
        lines.append("Accept-Encoding: identity")
    if "user-agent" not in given:
        lines.append(f"User-Agent: {USER_AGENT}")
    if "idempotency-key" not in given:
        lines.append(f"Idempotency-Key: {call_id}")
    if request.body or request.method in _METHODS_WITH_BODY:
        lines.append(f"Content-Length: {len(request.body)}")
    for line in lines:
        if found := _FORBIDDEN.search(line):
            raise ValueError(f"{found[0]!r} in its head")
    return "\r\n".join([*lines, "\r\n"]).encode()


def _target(request: Request) -> str:
    if request.target:
        return request.target
    if request.method == "CONNECT":  # authority form, RFC 9110 9.3.6
        return request.authority
    return "/"


def _explain(exc: Exception) -> tuple[str, bool]:
    """Why there is no answer, for the log; and whether there can never be one."""
    match exc:
        case AddressDenied():
            return str(exc), True
        case NoConnection():
            return str(exc), False
        case TimeoutError(errno=None):  # not the kernel's, of a connection that was
            return "no connection in time: no end of the TLS handshake", False
        case ssl.SSLError() | http.SSLError():
            return f"TLS: {exc}", False
        case NoAnswer() | OSError():
            return f"no proper answer: {exc}", False
        case UnicodeError() | ValueError():
            return f"the request cannot be written: {exc}", True
    return f"{type(exc).__name__}: {exc}", False
