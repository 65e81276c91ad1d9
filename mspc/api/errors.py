"""What becomes of an exception: one answer, with the sentence that it carries."""

import logging
from collections.abc import Callable
from typing import Any

import falcon

from mspc.api.answers import answer
from mspc.api.paths import ALLOWED
from mspc.errors import InvalidProperties, NotAnObject, QueueError

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "1"

Handler = Callable[[falcon.Request, falcon.Response, Any, Any], None]


def add_error_handlers(app: falcon.App[Any, Any], max_request_bytes: int) -> None:
    """Gives every exception that may leave a resource its answer.

    Args:
        app: the application.
        max_request_bytes: the limit that a 413 names.
    """
    handlers: dict[type[Exception], Handler] = {
        Exception: _bug,
        falcon.HTTPError: _http_error,
        falcon.HTTPContentTooLarge: _too_large(max_request_bytes),
        falcon.HTTPMethodNotAllowed: _not_allowed,
        falcon.HTTPBadRequest: _bad_request,
        NotAnObject: _unprocessable,
        InvalidProperties: _invalid,
        QueueError: _not_stored,
    }
    for kind, handler in handlers.items():
        app.add_error_handler(kind, handler)


def _http_error(
    req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: Any
) -> None:
    message = ex.description or ex.title or str(ex.status)
    if isinstance(ex, falcon.HTTPUnauthorized):
        message = "Unauthorized"
    elif isinstance(ex, falcon.HTTPNotFound):
        message = f"{req.path} not found."
    answer(resp, falcon.code_to_http_status(ex.status), message, error=True)


def _too_large(limit: int) -> Handler:
    text = f"The body is larger than {limit} bytes (MAX_REQUEST_BYTES)."

    def handle(
        req: falcon.Request, resp: falcon.Response, ex: Exception, params: Any
    ) -> None:
        answer(resp, falcon.HTTP_413, text, error=True)

    return handle


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
    answer(resp, falcon.HTTP_405, text, error=True)


def _unprocessable(
    req: falcon.Request, resp: falcon.Response, ex: NotAnObject, params: Any
) -> None:
    answer(resp, falcon.HTTP_422, str(ex), error=True)


def _invalid(
    req: falcon.Request, resp: falcon.Response, ex: InvalidProperties, params: Any
) -> None:
    answer(resp, falcon.HTTP_400, str(ex), error=True)


def _not_stored(
    req: falcon.Request, resp: falcon.Response, ex: QueueError, params: Any
) -> None:
    log.warning("A call was refused, it could not be stored: %s", ex)
    resp.set_header("Retry-After", RETRY_AFTER_SECONDS)
    answer(resp, falcon.HTTP_503, f"Not stored, send it again: {ex}", error=True)


def _bug(
    req: falcon.Request, resp: falcon.Response, ex: Exception, params: Any
) -> None:
    log.exception("A request failed")
    answer(resp, falcon.HTTP_500, "Internal error; nothing is promised.", error=True)
