"""`mspc config` and `mspc authorize`: what the settings are, and a caller's header."""

import base64
import hashlib

from mspc.client.failures import SaidNo
from mspc.client.grammar import Words
from mspc.client.session import Session
from mspc.client.table import Column, member

COLUMNS: tuple[Column, ...] = (
    ("setting", member("name")),
    ("value", member("value")),
    ("from", member("from")),
)


def add(words: Words) -> None:
    config = words.noun("config", "the settings")
    config.verb("show", _show, "every setting and where it comes from; no secrets")
    told = "print the header that a call needs, for AUTHORIZATION_KEY of the settings"
    words.verb("authorize", _authorize, told)


def _show(session: Session) -> int:
    from mspc.settings.sources import read_sources, shown  # slow: see Session.config

    for remark in session.config.remarks:  # raises when there is a mistake, with all
        session.say(remark)
    sources = read_sources(session.settings_file, session.environ, session.root)
    rows = (
        {"name": name, "value": text, "from": origin}
        for name, text, origin in shown(sources)
    )
    session.output.items(rows, COLUMNS)
    return 0


def _authorize(session: Session) -> int:
    auth = session.config.auth
    if not auth.key:
        raise SaidNo("AUTHORIZATION_KEY is empty: calls need no header.")
    value = authorization(auth.key, int(session.now()))
    session.output.text(f"{auth.header}: {value}")
    return 0


def authorization(key: str, timestamp: int) -> str:
    """What api/auth.py lets pass."""
    digest = hashlib.sha256(f"{timestamp}:{key}".encode()).hexdigest()
    return base64.b64encode(f"{digest}:{timestamp}".encode()).decode()
