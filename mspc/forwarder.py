"""Exactly one HTTP attempt: a Request goes in, an Outcome comes out.

No retries, no redirects: a hidden second request would be a duplicate nobody counted,
and a POST that follows a redirect turns into a GET, which would be a silent loss.
"""

import ssl
import time
from collections.abc import Callable

import gevent
import urllib3
from urllib3 import exceptions as http
from urllib3.response import BaseHTTPResponse

from mspc import __version__, crash
from mspc.call import Outcome, Request
from mspc.config import ForwardConfig
from mspc.connection import TargetHeaders, pool_classes
from mspc.dialer import AddressDenied, Dialer

# So much of an answer is read, to keep the connection for the next call.
ANSWER_BYTES = 65_536
# urllib3's default of 10 would close a connection with every eleventh origin.
ORIGINS = 256
# After so long every connection is made anew: many servers close an idle one after a
# minute or less, and what a dead origin leaves open costs a descriptor each.
FRESH_POOLS_SECONDS = 30.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = f"mspc/{__version__}"


class Forwarder:
    """Makes attempts; safe to use from many greenlets at once."""

    def __init__(
        self,
        config: ForwardConfig,
        consumers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._fresh_since = clock()
        self._deadline = config.timeout
        self._timeout = urllib3.Timeout(
            connect=config.connect_timeout, read=config.timeout
        )
        self._pools = urllib3.PoolManager(
            num_pools=ORIGINS,
            maxsize=consumers,
            ssl_context=_tls_context(config),
            retries=False,
        )
        if not config.verify_tls:  # a setting is no reason for a warning per call
            urllib3.disable_warnings(http.InsecureRequestWarning)
        self._pools.pool_classes_by_scheme = pool_classes(Dialer(config.networks))

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
        try:
            response = self._send(request, call_id)
            status = response.status
            if status in REDIRECTS:
                error = "a redirect, not followed"
            _read(response, request.method)
            crash.at("response_read")
        except gevent.Timeout as exc:
            if exc is not deadline:
                raise
            error = f"no answer within {self._deadline:g} s"
        except Exception as exc:  # noqa: BLE001 - whatever a target can provoke
            error, permanent = _explain(exc)
        finally:
            deadline.close()
        seconds = time.monotonic() - started
        if status is not None and error and 200 <= status < 300:
            error = ""
        return Outcome(status, error, seconds, permanent and status is None)

    def close(self) -> None:
        self._pools.clear()

    def _send(self, request: Request, call_id: str) -> BaseHTTPResponse:
        now = self._clock()
        if now - self._fresh_since > FRESH_POOLS_SECONDS:
            self._fresh_since = now
            self._pools.clear()  # connections in use are closed when they are done
        pool = self._pools.connection_from_host(
            request.host, request.port, request.scheme
        )
        return pool.urlopen(
            request.method,
            _target(request),
            body=request.body or None,
            headers=_headers(request, call_id),
            timeout=self._timeout,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )


def _target(request: Request) -> str:
    if request.target:
        return request.target
    if request.method == "CONNECT":  # authority form, RFC 9110 9.3.6
        host = f"[{request.host}]" if ":" in request.host else request.host
        return f"{host}:{request.port}"
    return "/"


def _headers(request: Request, call_id: str) -> TargetHeaders:
    # http.client would encode text as Latin-1 and refuse the rest: bytes pass as they
    # are, though urllib3's annotations know text only.
    headers = TargetHeaders(_target(request))
    headers.update((name, value.encode()) for name, value in request.headers)
    given = {name.lower() for name in headers}
    if "idempotency-key" not in given:
        headers["Idempotency-Key"] = call_id
    if "user-agent" not in given:
        headers["User-Agent"] = USER_AGENT
    return headers


def _read(response: BaseHTTPResponse, method: str) -> None:
    """Reads the answer's body if it is small, then lets the connection go."""
    try:
        if method != "CONNECT":  # after a 2xx the rest would be a tunnel
            response.read(ANSWER_BYTES, decode_content=False)
    finally:
        # Closes the connection unless the end of the answer was read.
        response.close()
        response.release_conn()


def _tls_context(config: ForwardConfig) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if config.ca_file is not None:
        context.load_verify_locations(config.ca_file)
    if not config.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _explain(exc: Exception) -> tuple[str, bool]:
    """Why there is no answer, for the log; and whether there can never be one."""
    cause = exc.__cause__ or exc.__context__
    match exc:
        case AddressDenied():
            return str(exc), True
        case http.NameResolutionError():
            return "the host name cannot be resolved", False
        case http.NewConnectionError():  # before its base class, the next one
            return f"no connection: {getattr(cause, 'strerror', None) or exc}", False
        case http.ConnectTimeoutError():
            return "no connection in time", False
        case http.ReadTimeoutError():
            return "no answer in time", False
        case http.SSLError():
            return f"TLS: {exc}", False
        case http.ProtocolError():
            return f"no proper answer: {exc.args[-1]}", False
        case http.LocationValueError() | UnicodeError() | ValueError():
            return f"the request cannot be written: {exc}", True
    return f"{type(exc).__name__}: {exc}", False
