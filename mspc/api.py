"""The Falcon app: what a client sees."""

import json
import logging
from collections.abc import Callable
from typing import Any

import falcon

from mspc import crash, validation
from mspc.accepted import Accepted
from mspc.auth import Authorization
from mspc.call import Call
from mspc.config import AuthConfig, HttpConfig
from mspc.errors import InvalidProperties, NotAnObject, QueueError
from mspc.networks import NetworkRules
from mspc.queues.base import Queue

log = logging.getLogger(__name__)

JSON = "application/json; charset=UTF-8"
RETRY_AFTER_SECONDS = "1"
ALLOWED = {
    "/": ("POST",),
    "/health/live": ("GET", "HEAD"),
    "/health/ready": ("GET", "HEAD"),
}


class ExactPaths:
    """Falcon middleware: 404 where Falcon would take // for /."""

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: Any
    ) -> None:
        if req.path not in ALLOWED:
            raise falcon.HTTPNotFound


class CallsResource:
    """POST /: stores a call, then answers."""

    protected = True

    def __init__(
        self, queue: Queue, networks: NetworkRules, accepted: Accepted, http: HttpConfig
    ) -> None:
        self._queue = queue
        self._networks = networks
        self._accepted = accepted
        self._max_bytes = http.max_request_bytes
        self._fast = http.fast_publish

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        payload = self._read(req)
        if self._fast:
            if payload:
                call = Call(payload)
                self._put(call)
                log.info("%s accepted unread, %d bytes", call.id, len(payload))
            _answer(resp, falcon.HTTP_200, "OK")
            return
        request = validation.parse(payload, self._networks)
        call = Call(payload)
        self._accepted.remember(call, request)  # before somebody takes it
        self._put(call)
        log.info("%s accepted %s %s", call.id, request.method, request.url)
        _answer(resp, falcon.HTTP_202, "Accepted", id=call.id)

    def on_options(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise falcon.HTTPMethodNotAllowed(["POST"])  # else Falcon answers by itself

    def _put(self, call: Call) -> None:
        crash.at("before_put")
        self._queue.put(call)
        crash.at("after_put")

    def _read(self, req: falcon.Request) -> bytes:
        """The body, whether it came with a length or in chunks.

        Falcon's bounded_stream takes a chunked body for an empty one.
        """
        if (req.content_length or 0) > self._max_bytes:
            raise falcon.HTTPContentTooLarge
        try:
            body: bytes = req.env["wsgi.input"].read(self._max_bytes + 1)
        except OSError as exc:  # hung up, or chunks that are none
            raise falcon.HTTPBadRequest(
                description="The body ended early or is not properly chunked."
            ) from exc
        if len(body) > self._max_bytes:
            raise falcon.HTTPContentTooLarge
        return body


class HealthResource:
    """GET /health/...: 200, or 503 with the reason."""

    def __init__(
        self,
        good: str,
        problem: Callable[[], str | None] = lambda: None,
        remark: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._good = good
        self._problem = problem
        self._remark = remark

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        problem = self._problem()
        if problem:
            _answer(resp, falcon.HTTP_503, problem, error=True)
        else:
            remark = self._remark()
            text = f"{self._good}. {remark}" if remark else self._good
            _answer(resp, falcon.HTTP_200, text)

    on_head = on_get

    def on_options(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise falcon.HTTPMethodNotAllowed(["GET", "HEAD"])


def create_app(
    http: HttpConfig,
    auth: AuthConfig,
    networks: NetworkRules,
    queue: Queue,
    accepted: Accepted,
    problem: Callable[[], str | None],
) -> falcon.App[Any, Any]:
    """The WSGI application.

    Args:
        http: the limits, and whether requests are read before they are stored.
        auth: who may send calls.
        networks: addresses that a call may not name.
        queue: where calls are stored.
        accepted: where their requests are remembered for the consumers.
        problem: why the service is not ready; None when it is.
    """
    middleware: list[Any] = [ExactPaths(), Authorization(auth)]
    app = falcon.App(middleware=middleware)
    calls = CallsResource(queue, networks, accepted, http)
    app.add_route("/", calls)
    app.add_route("/health/live", HealthResource("Alive"))
    app.add_route("/health/ready", HealthResource("Ready", problem, queue.remark))

    def too_large(
        req: falcon.Request, resp: falcon.Response, ex: Exception, params: Any
    ) -> None:
        limit = http.max_request_bytes
        text = f"The body is larger than {limit} bytes (MAX_REQUEST_BYTES)."
        _answer(resp, falcon.HTTP_413, text, error=True)

    app.add_error_handler(Exception, _bug)
    app.add_error_handler(falcon.HTTPError, _http_error)
    app.add_error_handler(falcon.HTTPContentTooLarge, too_large)
    app.add_error_handler(falcon.HTTPMethodNotAllowed, _not_allowed)
    app.add_error_handler(falcon.HTTPBadRequest, _bad_request)
    app.add_error_handler(NotAnObject, _unprocessable)
    app.add_error_handler(InvalidProperties, _invalid)
    app.add_error_handler(QueueError, _not_stored)
    return app


def _answer(
    resp: falcon.Response, status: str, message: str, error: bool = False, **more: str
) -> None:
    resp.status = status
    resp.content_type = JSON
    resp.data = json.dumps({"error": error, "message": message, **more}).encode()


def _http_error(
    req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: Any
) -> None:
    message = ex.description or ex.title or str(ex.status)
    if isinstance(ex, falcon.HTTPUnauthorized):
        message = "Unauthorized"
    elif isinstance(ex, falcon.HTTPNotFound):
        message = f"{req.path} not found."
    _answer(resp, falcon.code_to_http_status(ex.status), message, error=True)


def _bad_request(
    req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: Any
) -> None:
    # Falcon's answer to a method that no RFC knows is this one too.
    handle = _http_error if req.method in falcon.COMBINED_METHODS else _not_allowed
    handle(req, resp, ex, params)


def _not_allowed(
    req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: Any
) -> None:
    # Not the exception's own list: Falcon adds OPTIONS, which it would answer itself.
    allowed = ALLOWED[req.uri_template or "/"]
    resp.set_header("Allow", ", ".join(allowed))
    text = f"{req.method} is not possible here, {' or '.join(allowed)} is."
    _answer(resp, falcon.HTTP_405, text, error=True)


def _unprocessable(
    req: falcon.Request, resp: falcon.Response, ex: NotAnObject, params: Any
) -> None:
    _answer(resp, falcon.HTTP_422, str(ex), error=True)


def _invalid(
    req: falcon.Request, resp: falcon.Response, ex: InvalidProperties, params: Any
) -> None:
    _answer(resp, falcon.HTTP_400, str(ex), error=True)


def _not_stored(
    req: falcon.Request, resp: falcon.Response, ex: QueueError, params: Any
) -> None:
    log.warning("A call was refused, it could not be stored: %s", ex)
    resp.set_header("Retry-After", RETRY_AFTER_SECONDS)
    _answer(resp, falcon.HTTP_503, f"Not stored, send it again: {ex}", error=True)


def _bug(
    req: falcon.Request, resp: falcon.Response, ex: Exception, params: Any
) -> None:
    log.exception("A request failed")
    _answer(resp, falcon.HTTP_500, "Internal error; nothing is promised.", error=True)
