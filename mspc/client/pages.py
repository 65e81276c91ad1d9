"""`mspc pages`: a link that logs a browser in."""

from mspc.client.grammar import Words
from mspc.client.session import Session
from mspc.settings.once import LINK_SECONDS, once


def add(words: Words) -> None:
    words.verb("pages", _pages, "a link that logs a browser in, once, for a minute")


def _pages(session: Session) -> int:
    door = session.door
    word = once(door.key, int(session.now()) + LINK_SECONDS)
    session.output.text(f"{door.url}/login?once={word}")
    return 0
