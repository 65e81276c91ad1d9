"""The one form that every answer has, whoever gives it: a JSON object."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import falcon

MEDIA_TYPE = "application/json; charset=UTF-8"


def answer_body(message: str, error: bool = False, **more: str) -> bytes:
    """`{"error": bool, "message": str, ...}`, as it is sent.

    Args:
        message: a sentence for people.
        error: whether what was asked for was not done.
        more: further members.
    """
    return json.dumps({"error": error, "message": message, **more}).encode()


def answer(
    resp: "falcon.Response",
    status: str,
    message: str,
    error: bool = False,
    **more: str,
) -> None:
    """Fills `resp`; `status` is a whole status line, `202 Accepted`."""
    resp.status = status
    resp.content_type = MEDIA_TYPE
    resp.data = answer_body(message, error, **more)
