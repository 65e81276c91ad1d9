"""The keys of the operators' door: where they come from, and what each may do."""

import hmac
import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

from mspc.errors import ConfigError
from mspc.settings.config import AdminConfig

Right = Literal["read", "admin"]

# As settings/kinds.py has it for ADMIN_KEY: RFC 6750 2.1, and long enough.
_KEY = re.compile(r"[A-Za-z0-9._~+/-]{16,200}=*")
_BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE)
_LONGEST_FILE_BYTES = 1000
_MISSING = (FileNotFoundError, NotADirectoryError)


def admin_key(config: AdminConfig) -> str:
    """ADMIN_KEY, or else what is in the key's file; made at the first start.

    Raises:
        ConfigError: the file cannot be used, or not be made.
    """
    if config.key:
        return config.key
    with suppress(*_MISSING):
        return _read(config.key_file)
    try:
        _make(config.key_file)
    except OSError as exc:
        raise ConfigError(
            f"DATA_DIR: {config.key_file} cannot be written ({exc.strerror}), and the"
            " operators' door needs a key: let mspc write there, or set ADMIN_KEY, or"
            " do without the door with ADMIN: 0."
        ) from exc
    return _read(config.key_file)


def _read(file: Path) -> str:
    try:
        with file.open(encoding="ascii") as opened:
            key = opened.read(_LONGEST_FILE_BYTES).strip()
    except _MISSING:
        raise
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not ASCII"
        raise ConfigError(
            f"{file} cannot be read ({reason}): let mspc read it, or remove it, and a"
            " new key is made."
        ) from exc
    if not _KEY.fullmatch(key):
        raise ConfigError(
            f"{file} has no key of at least 16 letters, digits and ._~+/-: remove it,"
            " and a new key is made."
        )
    return key


def _make(file: Path) -> None:
    """Writes a new key, for its owner only; what somebody else made meanwhile stays.

    Whoever sees the file sees all of it, also after a crash.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(descriptor, "w") as written:  # mkstemp() gives it 0600
            written.write(f"{secrets.token_hex(32)}\n")
            written.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(name, file)
    finally:
        os.unlink(name)


class Keys:
    """Knows the keys."""

    def __init__(self, admin: str, read: str = "") -> None:
        """`read` may be empty: nobody has it."""
        self._admin = admin.encode()
        self._read = read.encode()

    def right(self, authorization: str | None) -> Right | None:
        """What the header lets its sender do; None: nothing."""
        found = _BEARER.fullmatch(authorization or "")
        return self.right_of(found[1] if found else "")

    def right_of(self, key: str) -> Right | None:
        """What a key lets its owner do; None: nothing.

        It takes as long for a wrong key as for a right one.
        """
        given = key.encode(errors="replace")
        admin = hmac.compare_digest(given, self._admin)
        read = hmac.compare_digest(given, self._read)
        if not given:
            return None
        if admin:
            return "admin"
        return "read" if read else None
