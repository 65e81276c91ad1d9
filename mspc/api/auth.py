"""Who may send calls: base64(hex(sha256(timestamp + ":" + key)) + ":" + timestamp)."""

import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from typing import Any

import falcon

from mspc.settings.config import AuthConfig

log = logging.getLogger(__name__)

# 64 hex digits, a colon and a timestamp take about 104 characters.
LONGEST_HEADER = 512


class Unauthorized(falcon.HTTPUnauthorized):
    """The authorization is missing, malformed, wrong or too old."""


def is_authorized(value: str | None, config: AuthConfig, now: float) -> bool:
    """Whether `value`, the authorization header, was made with our key.

    Args:
        value: the header as it came; None when it is missing.
        config: the key, and how old a timestamp may be.
        now: Unix seconds.
    """
    if not value or len(value) > LONGEST_HEADER:
        return False
    try:
        decoded = base64.b64decode(value, validate=True)
        digest, separator, timestamp = decoded.decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        return False
    if base64.b64encode(decoded).decode() != value:  # any padding passes b64decode
        return False
    expected = hashlib.sha256(f"{timestamp}:{config.key}".encode()).hexdigest()
    if not separator or not hmac.compare_digest(digest, expected):
        return False
    if not config.max_age_seconds:
        return True
    known = timestamp.isdecimal() and len(timestamp) <= 20
    return known and abs(now - int(timestamp)) <= config.max_age_seconds


class Authorization:
    """Falcon middleware: lets a POST to a protected resource pass, or raises 401.

    It runs before the body is read.
    """

    def __init__(
        self, config: AuthConfig, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._clock = clock
        self._refused = 0
        self._last_logged = float("-inf")

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        params: dict[str, Any],
    ) -> None:
        protected = req.method == "POST" and getattr(resource, "protected", False)
        if not self._config.key or not protected:
            return
        now = self._clock()
        if is_authorized(req.get_header(self._config.header), self._config, now):
            return
        self._refused += 1
        if abs(now - self._last_logged) >= 1:  # a flood must not fill the log
            log.warning(
                "%d calls refused as unauthorized, the last from %s",
                self._refused,
                req.remote_addr,
            )
            self._refused, self._last_logged = 0, now
        raise Unauthorized
