"""The body of a call, as it goes to its service.

A text that the caller has named the type of is sent as it is, in UTF-8, and bytes can
be given in base64. Any other body is JSON or XML; anything else is refused when the
call is accepted, because no later attempt could make it right.
"""

import binascii
import re
import time
from typing import Any, NoReturn
from xml.parsers import expat

from mspc.calls import json_text

JSON = "application/json; charset=UTF-8"
XML = "application/xml; charset=UTF-8"

# 1 MiB of XML takes 10 to 40 ms to check; between two pieces others have their turn.
XML_PIECE_BYTES = 65_536
# But for an element, whose attributes are looked at together, each whether it is there
# twice. So many do not fit into a piece: an element with more is seen at its end.
MOST_ATTRIBUTES = 10_000
_TOO_MANY = re.compile(
    rb"""<[^<>"'!?]*+(?:"[^"<]*+"[^<>"']*+|'[^'<]*+'[^<>"']*+){%d}"""
    % (MOST_ATTRIBUTES + 1)
)

# Patched by gevent it lets them; 0 would not: see give_way() of process/greenlets.py.
_MOMENT = 1e-9

_XML_ENCODINGS = {"UTF-8", "US-ASCII", "ASCII"}


class BodyRefused(Exception):
    """The text is neither JSON nor XML that can be sent; says why in a sentence."""


def read_body(text: str) -> tuple[bytes, str]:
    """Checks a body and names its kind.

    White space alone is neither JSON nor XML, and so is refused.

    Returns:
        the bytes to send, and the media type for a call that names none.

    Raises:
        BodyRefused: the sentence starts with what is wrong, without naming `body`.
    """
    content, _ = read_text(text)
    if text.lstrip(" \t\r\n\ufeff").startswith("<"):
        _check_xml(content)
        return content, XML
    _check_json(content)
    return content, JSON


def read_text(text: str) -> tuple[bytes, None]:
    """A body of a type that its caller knows.

    Raises:
        BodyRefused: it cannot be sent as UTF-8.
    """
    try:
        return text.encode(), None
    except UnicodeEncodeError as exc:
        raise BodyRefused(
            f"has half a surrogate pair at character {exc.start + 1}, which no UTF-8 "
            "text can hold."
        ) from exc


def read_base64(text: str) -> tuple[bytes, None]:
    """Any bytes, sent as they are.

    Raises:
        BodyRefused: it is not base64 (RFC 4648 4, with its padding).
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True), None
    except ValueError as exc:  # binascii's own, or a character beyond ASCII
        raise BodyRefused(
            "must be base64: A-Z, a-z, 0-9, + and /, filled up with = to a multiple of"
            " four characters, without line breaks."
        ) from exc


def _check_json(content: bytes) -> None:
    try:
        json_text.check(content)
    except json_text.Malformed as exc:
        raise BodyRefused(f"must be JSON or XML; as JSON it is wrong: {exc}.") from exc
    except json_text.TooDeep as exc:
        raise BodyRefused("is JSON that is nested too deeply.") from exc


def _check_xml(content: bytes) -> None:
    # The encoding is fixed because the bytes are UTF-8 whatever the document declares.
    parser = expat.ParserCreate("UTF-8")
    handlers = _Refusals(content)
    parser.XmlDeclHandler = handlers.declaration
    parser.StartDoctypeDeclHandler = handlers.doctype
    waits = -1
    try:
        for start in range(0, len(content) - XML_PIECE_BYTES, XML_PIECE_BYTES):
            parser.Parse(content[start : start + XML_PIECE_BYTES], False)
            # Where it waits for the rest of a tag, which may take many pieces.
            before, waits = waits, parser.CurrentByteIndex
            if waits != before and _TOO_MANY.match(content, waits):
                raise BodyRefused(
                    f"is XML with an element of more than {MOST_ATTRIBUTES:,}"
                    " attributes."
                )
            time.sleep(_MOMENT)
        left = len(content) % XML_PIECE_BYTES or min(len(content), XML_PIECE_BYTES)
        parser.Parse(content[len(content) - left :], True)
    except expat.ExpatError as exc:
        fault = expat.ErrorString(exc.code)
        raise BodyRefused(
            f"must be JSON or XML; as XML it is wrong: {fault} at line {exc.lineno}, "
            f"column {exc.offset + 1}."
        ) from exc


class _Refusals:
    """What is well-formed XML, but not sent."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def doctype(self, *_: Any) -> NoReturn:
        # Entities of a DTD are how a small document makes its reader fetch files or
        # run out of memory; the services behind should not have to fear that.
        raise BodyRefused("is XML with a document type declaration (DTD): remove it.")

    def declaration(self, _version: str, encoding: str | None, _alone: int) -> None:
        if encoding is None:
            return
        name = encoding.upper()
        if name not in _XML_ENCODINGS:
            raise BodyRefused(
                f"is XML declared as {encoding[:40]}, but it is sent as UTF-8: declare "
                "UTF-8 or nothing."
            )
        if name != "UTF-8" and not self._content.isascii():
            raise BodyRefused(f"is XML declared as {name}, but not all of it is ASCII.")
