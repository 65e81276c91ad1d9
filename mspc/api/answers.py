"""The one form that every answer has, whoever gives it: a JSON object."""

import json
from typing import TYPE_CHECKING

from mspc.api import codes

if TYPE_CHECKING:
    import falcon

MEDIA_TYPE = "application/json; charset=UTF-8"


def answer_body(message: str, error: bool = False, **more: object) -> bytes:
    """`{"error": bool, "message": str, ...}`, as it is sent.

    Args:
        message: a sentence for people.
        error: whether what was asked for was not done.
        more: further members.
    """
    return json.dumps({"error": error, "message": message, **more}).encode()


# What every call is answered is made once, but for its id: hexadecimal digits.
_ID = "id"
_ACCEPTED = answer_body("Accepted", id=_ID).rsplit(_ID.encode(), 1)


def accepted_body(call_id: str) -> bytes:
    """`answer_body("Accepted", id=...)` for an id of ours, at a tenth of its price."""
    begin, end = _ACCEPTED
    return b"%b%b%b" % (begin, call_id.encode(), end)


def error_body(status: str, message: str) -> bytes:
    """The same for an error of which nothing is known but its status line."""
    return answer_body(message, error=True, code=codes.of(status))


def answer(
    resp: "falcon.Response",
    status: str,
    message: str,
    error: bool = False,
    **more: object,
) -> None:
    """Fills `resp`; `status` is a whole status line, `202 Accepted`."""
    fill(resp, status, answer_body(message, error, **more))


def fill(resp: "falcon.Response", status: str, body: bytes) -> None:
    """The same, with a body that is made already."""
    resp.status = status
    resp.content_type = MEDIA_TYPE
    resp.data = body
