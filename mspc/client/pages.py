"""`mspc pages`: a link that logs a browser in."""

from contextlib import suppress

from mspc.client.failures import SaidNo
from mspc.client.grammar import Words
from mspc.client.session import Session
from mspc.settings.once import LINK_SECONDS, once

# What only ADMIN_KEY may ask, with an answer that costs nothing: no call is both.
_NOTHING = {"action": "delete", "filter": {"state": ["succeeded"]}}


def add(words: Words) -> None:
    words.verb("pages", _pages, "a link that logs a browser in, once, for a minute")


def _pages(session: Session) -> int:
    # The link is signed with the key, and only ADMIN_KEY signs one that works.
    with suppress(SaidNo):  # the key was taken: it is the journal that is off
        session.mspc.ask("POST", "/v1/bulk/plan", body=_NOTHING)
    door = session.door
    word = once(door.key, int(session.now()) + LINK_SECONDS)
    session.output.text(f"{door.url}/login?once={word}")
    return 0
