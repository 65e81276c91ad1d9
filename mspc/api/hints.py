"""What the headers tell of a body that could not be read."""

import re

import falcon

from mspc.calls.sentences import shown

_CHARSET = re.compile(r'charset\s*=\s*"?([^\s";]+)', re.IGNORECASE)
_UTF8 = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))
_FORMS = ("multipart/", "application/x-www-form-urlencoded")


def hint(req: falcon.Request, payload: bytes) -> str:
    """A sentence with a space before it; empty when the headers explain nothing."""
    coding = (req.get_header("Content-Encoding") or "").strip()
    if coding and coding.lower() != "identity":
        told = (
            f"It came with Content-Encoding: {shown(coding)}, which mspc does not undo"
        )
        return f" {told}: send the text itself."
    kind = (req.content_type or "").strip()
    charset = _CHARSET.search(kind)
    if charset and charset[1].lower() not in _UTF8:
        return f" It came as charset {shown(charset[1])}: send it as UTF-8."
    # curl calls whatever -d sends a form, the object that mspc wants too.
    if kind.lower().startswith(_FORMS) and not payload.lstrip().startswith(b"{"):
        sent = kind.partition(";")[0]
        return f" It came as {shown(sent)}: send the JSON object itself, not a form."
    return ""
