"""What the calls' port lets in."""

import base64
import hashlib


def authorization(key: str) -> str:
    """The authorization header for a key, with a time long ago."""
    digest = hashlib.sha256(f"1:{key}".encode()).hexdigest()
    return base64.b64encode(f"{digest}:1".encode()).decode()
