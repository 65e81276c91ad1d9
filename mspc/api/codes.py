"""The stable words that stand in `code` of an error; docs/api.md has the same table."""

from typing import Final

BAD_REQUEST: Final = "bad_request"
INVALID_PROPERTIES: Final = "invalid_properties"
UNAUTHORIZED: Final = "unauthorized"
READ_ONLY: Final = "read_only"
CROSS_SITE: Final = "cross_site"
FOREIGN_HOST: Final = "foreign_host"
NOT_FOUND: Final = "not_found"
NO_SUCH_CALL: Final = "no_such_call"
METHOD_NOT_ALLOWED: Final = "method_not_allowed"
TOO_LARGE: Final = "too_large"
NOT_AN_OBJECT: Final = "not_an_object"
INTERNAL: Final = "internal"
JOURNAL_OFF: Final = "journal_off"
JOURNAL_UNAVAILABLE: Final = "journal_unavailable"
NOT_STORED: Final = "not_stored"
QUEUE_UNAVAILABLE: Final = "queue_unavailable"
NOT_READY: Final = "not_ready"
CROWDED: Final = "crowded"

# What a status means where nothing more is known.
_USUAL = {
    307: "https_only",
    400: BAD_REQUEST,
    401: UNAUTHORIZED,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: TOO_LARGE,
    414: "uri_too_long",
    422: NOT_AN_OBJECT,
    431: "headers_too_large",
    500: INTERNAL,
}
# Every code and its status. Those of 409 are NotPossible's, from steering.
CODES: dict[str, int] = {
    **{word: status for status, word in _USUAL.items()},
    INVALID_PROPERTIES: 400,
    READ_ONLY: 403,
    CROSS_SITE: 403,
    FOREIGN_HOST: 403,
    NO_SUCH_CALL: 404,
    "no_such_destination": 404,
    "no_such_job": 404,
    "already_succeeded": 409,
    "already_dead": 409,
    "cancelled": 409,
    "in_flight": 409,
    "queued": 409,
    "waits_in_rabbitmq": 409,
    "not_a_destination": 409,
    JOURNAL_OFF: 501,
    JOURNAL_UNAVAILABLE: 503,
    NOT_STORED: 503,
    QUEUE_UNAVAILABLE: 503,
    NOT_READY: 503,
    CROWDED: 503,
}


def of(status: str | int) -> str:
    """The code of a status, or of a whole status line."""
    number = int(str(status)[:3])
    return _USUAL.get(number, BAD_REQUEST if number < 500 else INTERNAL)
