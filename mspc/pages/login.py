"""Who looks at the pages: a key, once, and a cookie afterwards.

The cookie says which right it has and until when, signed with the keys: nothing is kept
here, a restart logs nobody out, and new keys log everybody out.
"""

import hashlib
import hmac
import time
from collections.abc import Callable

from mspc.admin.keys import Keys
from mspc.settings.once import LINK_SECONDS, once

ADMIN, READ = "admin", "read"
COOKIE_SECONDS = 12 * 3600


class Logins:
    """Makes and checks cookies, and links that log in once.

    Attributes:
        cookie_name: another one for other keys. A browser sends a cookie to every port
            of a host (RFC 6265 8.5): whoever logs in to one mspc through a tunnel stays
            logged in to another.
    """

    def __init__(
        self, key: str, read_key: str, now: Callable[[], float] = time.time
    ) -> None:
        """
        Args:
            key: may do everything.
            read_key: may look; empty: nobody has it.
            now: Unix seconds.
        """
        self._key = key
        self._keys = Keys(key, read_key)
        secret = f"mspc pages:{key}:{read_key}"
        self._secret = hashlib.sha256(secret.encode()).digest()
        self.cookie_name = f"mspc-{self._sign('name')[:8]}"
        self._now = now
        self._used: dict[str, float] = {}

    def right_of(self, key: str) -> str | None:
        """`admin` or `read`; None for a wrong key."""
        return self._keys.right_of(key)

    def cookie(self, right: str) -> str:
        """The value for somebody who has this right."""
        told = f"{right}.{int(self._now()) + COOKIE_SECONDS}"
        return f"{told}.{self._sign(told)}"

    def check(self, value: str) -> str | None:
        """The right of a cookie; None when it is forged or too old."""
        told, _, signature = value.rpartition(".")
        right, _, until = told.partition(".")
        # Bytes: compare_digest refuses text beyond ASCII.
        given = signature.encode(errors="replace")
        if not hmac.compare_digest(given, self._sign(told).encode()):
            return None
        return right if int(until) > self._now() else None

    def use_link(self, token: str) -> bool:
        """Whether a link of once() logs in now; it does not a second time."""
        now = self._now()
        self._used = {one: until for one, until in self._used.items() if until > now}
        until = _until(token)
        if until <= now or until > now + LINK_SECONDS or token in self._used:
            return False
        if not hmac.compare_digest(token.encode(), once(self._key, until).encode()):
            return False
        self._used[token] = until
        return True

    def _sign(self, text: str) -> str:
        signed = hmac.new(self._secret, text.encode(errors="replace"), hashlib.sha256)
        return signed.hexdigest()


def _until(token: str) -> int:
    until = token.partition(".")[0]
    return (
        int(until) if until.isdecimal() and len(until) <= 12 and until.isascii() else 0
    )
