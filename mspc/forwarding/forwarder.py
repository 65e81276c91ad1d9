"""Exactly one HTTP attempt: a Request goes in, an Outcome comes out.

No retries, no redirects: a hidden second request would be a duplicate nobody counted,
and a POST that follows a redirect turns into a GET, which would be a silent loss.
"""

import re
import ssl
import time
from collections.abc import Callable

import gevent
from gevent.event import Event
from urllib3 import exceptions as http

from mspc import __version__
from mspc.calls.call import Outcome, Request
from mspc.errors import MspcError, NoConnection
from mspc.forwarding.answer import NoAnswer
from mspc.forwarding.connections import Connections
from mspc.forwarding.dialer import AddressDenied, Dialer
from mspc.forwarding.exchange import Stale, TargetConnection
from mspc.forwarding.retry_after import seconds_from_now
from mspc.forwarding.tls import client_context
from mspc.process import crash
from mspc.process.greenlets import Watched
from mspc.settings.config import ForwardConfig

# What says for how long a service is to be left alone: RFC 9110 10.2.3, RFC 6585 4.
BUSY = frozenset({429, 503})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = f"mspc/{__version__}"
# How often connections that no call asks for are looked at.
SWEEP_SECONDS = 1.0
# Without a body, these say so: RFC 9110 8.6.
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
# validation.py lets none of them through; whoever else makes a Request may not.
_FORBIDDEN = re.compile(r"[\x00\r\n]")


class Unwritable(MspcError):
    """The call itself cannot be written as a request: no attempt can do better."""


class Forwarder:
    """Makes attempts; safe to use from many greenlets at once."""

    def __init__(
        self, config: ForwardConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._deadline = config.timeout
        self._connections = Connections(
            Dialer(config.networks),
            config.connect_timeout,
            client_context(config),
            config.timeout,
            clock,
        )
        self._stopping = Event()
        self._sweeper = Watched("sweeping of idle connections", self._sweep)

    def start(self) -> None:
        """Closes connections that are of no use when no call does, from now on."""
        self._sweeper.start()

    def close(self) -> None:
        self._stopping.set()
        self._sweeper.stop(timeout=0)
        self._connections.close()

    def attempt(self, request: Request, call_id: str, number: int = 1) -> Outcome:
        """Makes the call once. Never raises for what a target or a network does.

        The final status line decides, whenever it comes: what happens to the rest of
        the answer, or to the rest of the request, does not make a 2xx a failure.

        Args:
            request: what to send.
            call_id: sent as Idempotency-Key unless the request has one, so that the
                target can tell a repetition.
            number: which attempt it is, from 1; sent as Mspc-Attempt.
        """
        started = time.monotonic()
        status = None
        error, permanent, retry_after = "", False, 0.0
        deadline = _Deadline.start_new(request.policy.timeout or self._deadline)
        try:
            head = written_head(request, call_id, number)
            status, asked = self._answer(request, head, deadline)
            if asked:
                retry_after = seconds_from_now(asked)
            if status in REDIRECTS:
                error = "a redirect, not followed"
            crash.at("response_read")
        except gevent.Timeout as exc:
            if exc is not deadline:
                raise
            what = "no connection" if deadline.connecting else "no answer"
            error = f"{what} within {deadline.seconds:g} s"
        except Exception as exc:  # noqa: BLE001 - whatever a target can provoke
            error, permanent = _explain(exc)
        finally:
            deadline.close()
        taken = time.monotonic() - started
        return Outcome(status, error, taken, permanent, retry_after)

    def _answer(
        self, request: Request, head: bytes, deadline: "_Deadline"
    ) -> tuple[int, str]:
        """Sends the request; the status of its answer, and its Retry-After.

        A target may close a connection that was used before just when the request is on
        its way, which says nothing about the call: it is sent once more, on a new one.
        With a single attempt, a new one is all that it gets.
        """
        if request.requeue:
            connection = self._connections.kept(request.origin)
            if connection is not None:
                try:
                    return self._over(connection, request, head)
                except Stale:
                    pass
        deadline.connecting = True
        connection = self._connections.open(request)
        deadline.connecting = False
        return self._over(connection, request, head)

    def _over(
        self, connection: TargetConnection, request: Request, head: bytes
    ) -> tuple[int, str]:
        try:
            status = connection.exchange(request.method, head, request.body)
            asked = connection.retry_after() if status in BUSY else ""
        except BaseException:  # the deadline, for example
            connection.close()
            raise
        self._connections.give_back(request, connection)
        return status, asked

    def _sweep(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            self._connections.sweep()


class _Deadline(gevent.Timeout):
    """That of an attempt.

    Attributes:
        connecting: whether there is no connection yet.
    """

    connecting = False


def written_head(request: Request, call_id: str, number: int) -> bytes:
    """The request up to its body, as it goes over the wire.

    Raises:
        Unwritable: it has a character that would end a line, or that is none.
    """
    lines = [f"{request.method} {_target(request)} HTTP/1.1"]
    given = set()
    for name, value in request.headers:
        given.add(name.lower())
        lines.append(f"{name}: {value}")
    if "host" not in given:
        lines.insert(1, f"Host: {request.place}")
    for name, line in (
        ("accept-encoding", "Accept-Encoding: identity"),
        ("user-agent", f"User-Agent: {USER_AGENT}"),
        ("idempotency-key", f"Idempotency-Key: {call_id}"),
        ("mspc-attempt", f"Mspc-Attempt: {number}"),
    ):
        if name not in given:
            lines.append(line)
    if request.body or request.method in _METHODS_WITH_BODY:
        lines.append(f"Content-Length: {len(request.body)}")
    for line in lines:
        if found := _FORBIDDEN.search(line):
            raise Unwritable(f"{found[0]!r} in its head")
    try:
        return "\r\n".join([*lines, "\r\n"]).encode()
    except UnicodeError as exc:
        raise Unwritable(str(exc)) from exc


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
        case Unwritable():
            return f"the request cannot be written: {exc}", True
        case NoConnection():
            return str(exc), False
        case TimeoutError(errno=None):  # not the kernel's, of a connection that was
            return "no connection in time: no end of the TLS handshake", False
        case ssl.SSLError() | http.SSLError():
            return f"TLS: {exc}", False
        case NoAnswer() | OSError():
            return f"no proper answer: {exc}", False
    return f"{type(exc).__name__}: {exc}", False
