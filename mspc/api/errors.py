"""What becomes of an exception: one answer, with the sentence that it carries."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import falcon

from mspc.api import codes
from mspc.api.answers import answer
from mspc.api.problems import problem_of
from mspc.errors import (
    Crowded,
    InvalidProperties,
    JournalUnavailable,
    MspcError,
    NoSuchCall,
    NotAnObject,
    NotPossible,
    QueueError,
)

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "1"

Handler = Callable[[falcon.Request, falcon.Response, Any, Any], None]
Allowed = Mapping[str, Sequence[str]]

# Of MspcError, what a resource lets out; whatever else it is, is a bug.
_ANSWERED = (
    NotAnObject,
    InvalidProperties,
    NoSuchCall,
    NotPossible,
    JournalUnavailable,
    QueueError,
    Crowded,
)
_STORING = frozenset({"/", "/v1/calls"})


class Denied(falcon.HTTPForbidden):
    """Not with this key, or not from there.

    Attributes:
        word: one of codes.CODES.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(description=text)
        self.word = code


class Missing(falcon.HTTPNotFound):
    """What was asked for does not exist; says it in a sentence.

    Attributes:
        word: one of codes.CODES.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(description=text)
        self.word = code


def add_error_handlers(
    app: falcon.App[Any, Any], max_request_bytes: int, allowed: Allowed
) -> None:
    """Gives every exception that may leave a resource its answer.

    Args:
        app: the application.
        max_request_bytes: the limit that a 413 names.
        allowed: the methods of each of its paths.
    """
    handlers: dict[type[Exception], Handler] = {
        Exception: _bug,
        falcon.HTTPError: _http_error,
        falcon.HTTPContentTooLarge: _too_large(max_request_bytes),
        falcon.HTTPMethodNotAllowed: _not_allowed(allowed),
        falcon.HTTPBadRequest: _bad_request(allowed),
    }
    for kind, handler in handlers.items():
        app.add_error_handler(kind, handler)
    for known in _ANSWERED:
        app.add_error_handler(known, _known)


def _tell(
    req: falcon.Request, resp: falcon.Response, status: str, message: str, **more: Any
) -> None:
    """In JSON, unless whoever was asked has a way of its own: `req.context.tell`."""
    tell = getattr(req.context, "tell", None)
    if tell is None:
        answer(resp, status, message, error=True, **more)
    else:
        tell(resp, status, message)


def _http_error(
    req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: Any
) -> None:
    status = falcon.code_to_http_status(ex.status)
    code = ex.word if isinstance(ex, Denied | Missing) else codes.of(status)
    message = ex.description or ex.title or status
    if isinstance(ex, falcon.HTTPUnauthorized):
        message = "Unauthorized"
    elif isinstance(ex, falcon.HTTPNotFound) and not isinstance(ex, Missing):
        message = f"{req.path} not found."
    for name, value in dict(ex.headers or ()).items():
        resp.set_header(name, value)
    _tell(req, resp, status, message, code=code)


def _too_large(limit: int) -> Handler:
    text = f"The body is larger than {limit} bytes (MAX_REQUEST_BYTES)."

    def handle(
        req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: Any
    ) -> None:
        told = ex.description or text
        _tell(req, resp, falcon.HTTP_413, told, code=codes.TOO_LARGE)

    return handle


def _bad_request(allowed: Allowed) -> Handler:
    not_allowed = _not_allowed(allowed)

    def handle(
        req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: Any
    ) -> None:
        # Falcon's answer to a method that no RFC knows is this one too.
        known = req.method in falcon.COMBINED_METHODS
        (_http_error if known else not_allowed)(req, resp, ex, params)

    return handle


def _not_allowed(allowed: Allowed) -> Handler:
    def handle(
        req: falcon.Request, resp: falcon.Response, ex: falcon.HTTPError, params: Any
    ) -> None:
        # Not the exception's own list: Falcon adds OPTIONS, which it would answer.
        methods = allowed[req.uri_template or "/"]
        resp.set_header("Allow", ", ".join(methods))
        text = f"{req.method} is not possible here, {' or '.join(methods)} is."
        code = codes.METHOD_NOT_ALLOWED
        _tell(req, resp, falcon.HTTP_405, text, code=code)

    return handle


def _known(
    req: falcon.Request, resp: falcon.Response, ex: MspcError, params: Any
) -> None:
    storing = req.uri_template in _STORING
    problem = problem_of(ex, storing)
    if isinstance(ex, QueueError):
        if storing:
            log.warning("A call was refused, it could not be stored: %s", ex)
        else:
            log.warning("What was asked for could not be done: %s", ex)
    if problem.status == 503:
        resp.set_header("Retry-After", RETRY_AFTER_SECONDS)
    status = falcon.code_to_http_status(problem.status)
    _tell(req, resp, status, problem.message, **problem.more)


def _bug(
    req: falcon.Request, resp: falcon.Response, ex: Exception, params: Any
) -> None:
    log.exception("A request failed")
    text = "Internal error; nothing is promised."
    _tell(req, resp, falcon.HTTP_500, text, code=codes.INTERNAL)
