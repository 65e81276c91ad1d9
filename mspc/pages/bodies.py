"""The body of a call for people: text, made readable, within a limit."""

import msgspec

from mspc.journal.base import Seen

MOST_PRETTY_CHARACTERS = 16_384
# What is nested deeply becomes much longer: so much is shown of it, or it as it is.
MOST_SHOWN_CHARACTERS = 131_072


def shown_body(seen: Seen) -> tuple[str, str]:
    """What is shown of a body, empty for nothing; and what is to be said about it."""
    if not seen.body_bytes:
        return "", "It has no body."
    size = f"{seen.body_bytes:,} bytes"
    if not seen.body:
        return "", f"Its body has {size}; JOURNAL_BODY_BYTES keeps nothing of it."
    cut = len(seen.body) < seen.body_bytes
    told = f"Body, the first {len(seen.body):,} of {size}" if cut else f"Body, {size}"
    try:
        text = seen.body.decode(errors="ignore" if cut else "strict")
    except UnicodeDecodeError:
        return seen.body.hex(" "), f"{told}, no text: in hexadecimal"
    return (text if cut else pretty(text)), told


def pretty(text: str) -> str:
    """JSON with line breaks, its numbers and keys untouched; anything else as it is."""
    if len(text) > MOST_PRETTY_CHARACTERS:
        return text
    try:
        shown = msgspec.json.format(text, indent=2)
    except (ValueError, RecursionError):
        return text
    return shown if len(shown) <= MOST_SHOWN_CHARACTERS else text
