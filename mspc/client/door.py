"""Which mspc is asked, and with which key: from the environment, else the settings."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mspc.client.failures import NotAllowed, WrongUse

if TYPE_CHECKING:
    from mspc.settings.config import AdminConfig

_HERE = frozenset(("127.0.0.1", "::1", "localhost"))
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class Door:
    """The operators' door of an mspc.

    Attributes:
        url: without a slash at its end.
        key: opens it.
        source: where the key comes from, for a sentence.
    """

    # No dataclass in this room: importing them is a sixth of the start of a command.
    def __init__(self, url: str, key: str, source: str) -> None:
        self.url = url
        self.key = key
        self.source = source


def find_door(
    environ: Mapping[str, str], settings: Callable[[], "AdminConfig"]
) -> Door:
    """Looks at MSPC_URL, MSPC_KEY and MSPC_KEY_FILE, and at the settings if it must.

    Args:
        environ: the environment.
        settings: reads them, which takes as long as all the rest.

    Raises:
        WrongUse: what is there cannot be used.
        NotAllowed: there is no key.
        ConfigError: the settings are wrong.
    """
    url = environ.get("MSPC_URL") or _url(settings())
    host = _checked(url)
    if environ.get("MSPC_KEY"):
        key, source = environ["MSPC_KEY"], "MSPC_KEY"
    elif environ.get("MSPC_KEY_FILE"):
        key, source = _named(Path(environ["MSPC_KEY_FILE"])), "MSPC_KEY_FILE"
    elif host in _HERE or not environ.get("MSPC_URL"):
        key, source = _own_key(settings())
    else:  # this machine's key is nothing for another one
        raise NotAllowed(
            f"MSPC_URL is {url}, another machine: MSPC_KEY or MSPC_KEY_FILE has to say"
            " its key."
        )
    if not re.fullmatch(r"[!-~]+", key.strip()):
        raise WrongUse(f"{source} is no key: it must be one line without spaces.")
    return Door(url.rstrip("/"), key.strip(), source)


def _url(admin: "AdminConfig") -> str:
    if not admin.on:
        raise WrongUse(
            "ADMIN is 0 in the settings: mspc has no door for operators. Set ADMIN: 1"
            " and start it again, or set MSPC_URL to another mspc."
        )
    host = _EVERYWHERE.get(admin.host, admin.host)
    place = f"[{host}]" if ":" in host else host
    return f"http://{place}:{admin.port}{admin.prefix}"


def _checked(url: str) -> str:
    """The host, of a URL that is one."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and parts.port != 0 and not parts.query and not parts.username
        (parts.hostname or "").encode("idna")  # else nobody can look it up
    except ValueError:
        usable = False
    if not (usable and re.fullmatch(r"[!-~]+", url)):
        raise WrongUse(
            f"MSPC_URL must be like http://127.0.0.1:8010, not {url!r}: the address of"
            " the operators' door."
        )
    return parts.hostname or ""


def _own_key(admin: "AdminConfig") -> tuple[str, str]:
    if admin.key:
        return admin.key, "ADMIN_KEY of the settings"
    try:
        return _read(admin.key_file), str(admin.key_file)
    except NotAllowed as exc:
        raise NotAllowed(
            f"{exc} mspc makes it at its first start, for its own user only: run this"
            " as that user, or set MSPC_KEY or MSPC_KEY_FILE."
        ) from exc


def _named(file: Path) -> str:
    try:
        return _read(file)
    except NotAllowed as exc:
        raise NotAllowed(
            f"{exc} MSPC_KEY_FILE names it: have it name a file with the key that this"
            " user may read, or set MSPC_KEY."
        ) from exc


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except OSError as exc:
        raise NotAllowed(f"There is no key in {file}: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise WrongUse(f"{file} is no key: it must be one line of ASCII.") from exc
