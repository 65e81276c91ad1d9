"""The texts a client sends: the payload, a JSON object, and the body inside it.

A body is JSON or XML, sent as UTF-8. Anything else is refused when the call is
accepted, because no later attempt could make it right.
"""

import json
from typing import Any, NoReturn
from xml.parsers import expat

from mspc.calls.sentences import Number, kind, shown
from mspc.errors import NotAnObject

JSON = "application/json; charset=UTF-8"
XML = "application/xml; charset=UTF-8"

_XML_ENCODINGS = {"UTF-8", "US-ASCII", "ASCII"}


class BodyRefused(Exception):
    """The text is neither JSON nor XML that can be sent; says why in a sentence."""


def read_object(payload: bytes) -> dict[str, Any]:
    """Reads a payload.

    Raises:
        NotAnObject: it is anything else than one JSON object.
    """
    try:
        # A byte order mark may be ignored: RFC 8259 8.1.
        value = _payload_decoder.decode(payload.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise NotAnObject(f"The body is not UTF-8: see byte {exc.start + 1}.") from exc
    except json.JSONDecodeError as exc:
        if not payload.strip():
            raise NotAnObject("The body is empty; it must be a JSON object.") from exc
        raise NotAnObject(f"The body is not JSON: {_fault(exc)}.") from exc
    except RecursionError as exc:
        raise NotAnObject("The body is nested too deeply.") from exc
    if not isinstance(value, dict):
        raise NotAnObject(f"The body must be a JSON object, not {kind(value)}.")
    return value


def read_body(text: str) -> tuple[bytes, str]:
    """Checks a body and names its kind.

    White space alone is neither JSON nor XML, and so is refused.

    Returns:
        the bytes to send, and the media type for a call that names none.

    Raises:
        BodyRefused: the sentence starts with what is wrong, without naming `body`.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as exc:
        raise BodyRefused(
            f"has half a surrogate pair at character {exc.start + 1}, which no UTF-8 "
            "text can hold."
        ) from exc
    if text.lstrip(" \t\r\n\ufeff").startswith("<"):
        _check_xml(content)
        return content, XML
    _check_json(text)
    return content, JSON


def _refuse_constant(name: str) -> NoReturn:
    """Python takes NaN and Infinity, JSON does not."""
    raise json.JSONDecodeError(f"{name} is not a JSON value", "", 0)


def _fault(exc: json.JSONDecodeError) -> str:
    """Python's description of a syntax error, with the place when there is one."""
    if not exc.doc:
        return exc.msg
    return f"{exc.msg} at line {exc.lineno}, column {exc.colno}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:  # which of the two counts would be a guess
                raise NotAnObject(f"The property {shown(name)} is given twice.")
            seen.add(name)
    return members


# Numbers stay text: an integer of a million digits costs nothing this way.
_payload_decoder = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_refuse_constant,
)
_body_decoder = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_refuse_constant
)


def _check_json(text: str) -> None:
    try:
        _body_decoder.decode(text)
    except json.JSONDecodeError as exc:
        raise BodyRefused(
            f"must be JSON or XML; as JSON it is wrong: {_fault(exc)}."
        ) from exc
    except RecursionError as exc:
        raise BodyRefused("is JSON that is nested too deeply.") from exc


def _check_xml(content: bytes) -> None:
    # The encoding is fixed because the bytes are UTF-8 whatever the document declares.
    parser = expat.ParserCreate("UTF-8")
    handlers = _Refusals(content)
    parser.XmlDeclHandler = handlers.declaration
    parser.StartDoctypeDeclHandler = handlers.doctype
    try:
        parser.Parse(content, True)
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
