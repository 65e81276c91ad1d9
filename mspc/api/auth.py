"""Who may send calls: base64(hex(sha256(timestamp + ":" + key)) + ":" + timestamp)."""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import Any

import falcon

from mspc.api.paths import ALLOWED
from mspc.api.refusals import Refusals
from mspc.settings.config import AuthConfig

# 64 hex digits, a colon and a timestamp take about 104 characters.
LONGEST_HEADER = 512
MILLISECONDS_DIGITS = 13  # from 2001 to 2286

_MALFORMED = "malformed: not base64(hex(sha256(timestamp:key)):timestamp)"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Unauthorized(falcon.HTTPUnauthorized):
    """The authorization is missing, malformed, wrong or too old."""


def why_refused(value: str | None, config: AuthConfig, now: float) -> str | None:
    """Why `value`, the authorization header, lets nobody in; None when it does.

    The answer does not say it, so that whoever tries keys learns nothing, nor does it
    show anything of the value: it is for the log.

    Args:
        value: the header as it came; None when it is missing.
        config: the key, and how old a timestamp may be.
        now: Unix seconds.
    """
    if not value:
        return "the header is empty" if value == "" else "the header is missing"
    if len(value) > LONGEST_HEADER:
        return f"malformed: longer than {LONGEST_HEADER} characters"
    try:
        decoded = base64.b64decode(value, validate=True)
        digest, separator, timestamp = decoded.decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        return "malformed: given twice" if "," in value else _MALFORMED
    if base64.b64encode(decoded).decode() != value:  # any padding passes b64decode
        return _MALFORMED
    if not (separator and _DIGEST.fullmatch(digest)):
        return "malformed: no 64 hex digits in lower case and a colon inside"
    expected = hashlib.sha256(f"{timestamp}:{config.key}".encode()).hexdigest()
    if not hmac.compare_digest(digest, expected):
        return "made with another key, or for another timestamp"
    return _why_too_old(timestamp, config.max_age_seconds, now)


def _why_too_old(timestamp: str, max_age: int, now: float) -> str | None:
    if not max_age:
        return None
    if not (timestamp.isdecimal() and len(timestamp) <= 20):
        return "the timestamp is no number of Unix seconds"
    age = now - int(timestamp)
    if abs(age) <= max_age:
        return None
    if age > 0:
        return f"the timestamp is {age - max_age:.0f} s too old"
    hint = ", as if in milliseconds" if len(timestamp) == MILLISECONDS_DIGITS else ""
    return f"the timestamp is {-age - max_age:.0f} s too far ahead{hint}"


class Authorization:
    """Falcon middleware: lets who may use a protected resource pass, or raises 401.

    It runs before the body is read, and asks for every method that the resource has.
    """

    def __init__(
        self, config: AuthConfig, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._clock = clock
        self._refusals = Refusals("calls", clock)

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        params: dict[str, Any],
    ) -> None:
        if not (self._config.key and getattr(resource, "protected", False)):
            return
        known = ALLOWED.get(req.uri_template or "", (req.method,))
        if req.method not in known:
            return  # there is nothing to protect
        value = req.get_header(self._config.header)
        reason = why_refused(value, self._config, self._clock())
        if reason is not None:
            self._refusals.tell(req.remote_addr, self._config.header, reason)
            raise Unauthorized
