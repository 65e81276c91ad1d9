"""What a link says that logs a browser in once: whoever has the key can make one."""

import hashlib
import hmac

# How long a link that has just been made can be used.
LINK_SECONDS = 60


def once(key: str, until: int) -> str:
    """The link's word, for the admin key, until Unix seconds."""
    signed = hmac.new(key.encode(), f"mspc link:{until}".encode(), hashlib.sha256)
    return f"{until}.{signed.hexdigest()}"
