"""Exactly one HTTP attempt: a Request goes in, an Outcome comes out.

No retries, no redirects: a hidden second request would be a duplicate nobody counted,
and a POST that follows a redirect turns into a GET, which would be a silent loss.
"""

import re
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple

import gevent
from gevent.event import Event
from urllib3 import exceptions as http

from mspc import __version__
from mspc.calls.call import Outcome, Request
from mspc.calls.policy import Policy
from mspc.calls.words import (
    BAD_STATUS,
    CONNECT_TIMEOUT,
    CONNECTION_RESET,
    DENIED_NETWORK,
    PROTOCOL,
    TIMEOUT,
    TLS,
    UNKNOWN,
)
from mspc.errors import MspcError, NoConnection
from mspc.forwarding.answer import NoAnswer
from mspc.forwarding.connections import Connections
from mspc.forwarding.dialer import AddressDenied, Dialer
from mspc.forwarding.exchange import Stale, TargetConnection
from mspc.forwarding.retry_after import seconds_from_now
from mspc.forwarding.tls import ClientContext
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
            ClientContext(config),
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
        answer, failure = _NO_ANSWER, _NO_FAILURE
        deadline = _Deadline.start_new(request.policy.timeout or self._deadline)
        try:
            head = written_head(request, call_id, number)
            answer = self._answer(request, head, deadline)
            if answer.status in REDIRECTS:
                failure = _Failure("a redirect, not followed")
            crash.at("response_read")
        except gevent.Timeout as exc:
            if exc is not deadline:
                raise
            failure = deadline.explained()
        except Exception as exc:  # noqa: BLE001 - whatever a target can provoke
            failure = _explain(exc)
        finally:
            deadline.close()
            # The frames that it came through know it, and would keep the body, and the
            # connection, until garbage is looked for.
            deadline.__traceback__ = None
        taken = time.monotonic() - started
        error, word, permanent = failure
        retry_after = seconds_from_now(answer.asked) if answer.asked else 0.0
        return Outcome(
            answer.status, error, taken, permanent, retry_after, word, answer.reason
        )

    def _answer(
        self, request: Request, head: bytes, deadline: "_Deadline"
    ) -> "_Answer":
        """Sends the request; what is of interest of its answer.

        A target may close a connection that was used before just when the request is on
        its way, which says nothing about the call: it is sent once more, on a new one.
        With a single attempt, a new one is all that it gets.
        """
        if request.requeue:
            connection = self._connections.kept(request.origin)
            if connection is not None:
                try:
                    return self._over(connection, request, head, deadline)
                except Stale:
                    pass
        deadline.connecting = True
        connection = self._connections.open(request)
        deadline.connecting = False
        return self._over(connection, request, head, deadline)

    def _over(
        self,
        connection: TargetConnection,
        request: Request,
        head: bytes,
        deadline: "_Deadline",
    ) -> "_Answer":
        try:
            status = connection.exchange(request.method, head, request.body)
            if 200 <= status < 300:
                answer = _Answer(status)
            else:
                # It has answered in time: what else it says has bounds of its own.
                deadline.close()
                asked = connection.retry_after() if status in BUSY else ""
                answer = _Answer(status, asked, connection.reason())
        except BaseException:  # the deadline, for example
            connection.close()
            raise
        self._connections.give_back(request, connection)
        return answer

    def _sweep(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            self._connections.sweep()


class _Answer(NamedTuple):
    """What is of interest of one.

    Attributes:
        status: None without an answer.
        asked: its Retry-After.
        reason: what it says, if it is a failure and text.
    """

    status: int | None = None
    asked: str = ""
    reason: str = ""


class _Failure(NamedTuple):
    """Why an attempt failed.

    Attributes:
        text: for people.
        word: one of calls/words.py.
        permanent: whether no later attempt can do better.
    """

    text: str = ""
    word: str = BAD_STATUS
    permanent: bool = False


_NO_ANSWER = _Answer()
_NO_FAILURE = _Failure()


class _Deadline(gevent.Timeout):
    """That of an attempt.

    Attributes:
        connecting: whether there is no connection yet.
    """

    connecting = False

    def explained(self) -> _Failure:
        if self.connecting:
            text, word = "no connection", CONNECT_TIMEOUT
        else:
            text, word = "no answer", TIMEOUT
        return _Failure(f"{text} within {self.seconds:g} s", word)


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
    if request.policy.traceparent:
        lines += _trace_lines(request.policy, given)
    if request.body or request.method in _METHODS_WITH_BODY:
        lines.append(f"Content-Length: {len(request.body)}")
    head = "\r\n".join([*lines, "\r\n"])
    # One for each line, and no others: looking at each line would take as long as all
    # that is above.
    if not head.count("\r") == head.count("\n") == len(lines) + 1 or "\0" in head:
        (found, *_) = filter(None, map(_FORBIDDEN.search, lines))
        raise Unwritable(f"{found[0]!r} in its head")
    try:
        return head.encode()
    except UnicodeError as exc:
        raise Unwritable(str(exc)) from exc


def _trace_lines(policy: Policy, given: set[str]) -> list[str]:
    """What says which trace it is; nothing if its headers say that themselves."""
    if "traceparent" in given:
        return []
    lines = [f"traceparent: {policy.traceparent}"]
    if policy.tracestate and "tracestate" not in given:
        lines.append(f"tracestate: {policy.tracestate}")
    return lines


def _target(request: Request) -> str:
    if request.target:
        return request.target
    if request.method == "CONNECT":  # authority form, RFC 9110 9.3.6
        return request.authority
    return "/"


def _explain(exc: Exception) -> _Failure:
    """Why there is no answer."""
    match exc:
        case AddressDenied():
            return _Failure(str(exc), DENIED_NETWORK, permanent=True)
        case Unwritable():
            text = f"the request cannot be written: {exc}"
            return _Failure(text, PROTOCOL, permanent=True)
        case NoConnection(word=word):
            return _Failure(str(exc), word)
        case TimeoutError(errno=None):  # not the kernel's, of a connection that was
            text = "no connection in time: no end of the TLS handshake"
            return _Failure(text, CONNECT_TIMEOUT)
        case ssl.SSLError() | http.SSLError():
            return _Failure(f"TLS: {exc}", TLS)
        case NoAnswer(word=word):
            return _Failure(f"no proper answer: {exc}", word)
        case OSError():
            word = TIMEOUT if isinstance(exc, TimeoutError) else CONNECTION_RESET
            return _Failure(f"no proper answer: {exc}", word)
    return _Failure(f"{type(exc).__name__}: {exc}", UNKNOWN)
