"""What tells this instance from others, also after a restart: a word in DATA_DIR."""

import os
import secrets
from pathlib import Path


def identity_of(folder: Path) -> str:
    """16 hex digits; made at the first start, new each time where nothing can be kept.

    Args:
        folder: DATA_DIR, which each instance has for itself.
    """
    file = folder / "instance.id"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+") as opened:
            known = opened.read(100).strip()
            if known.isascii() and known.isalnum():
                return known
            new = secrets.token_hex(8)
            opened.seek(0)
            opened.truncate()
            opened.write(f"{new}\n")
            return new
    except (OSError, UnicodeDecodeError):
        return secrets.token_hex(8)
