"""JSON as clients write it: checked without building it, explained where it is wrong.

msgspec skips over values at the speed of C and makes nothing of them. Only what a
sentence or a Request needs is built, and only as much as costs next to nothing: whoever
sends 1 MiB of `[]` must not hold up everybody else's calls.
"""

import codecs
import json
import re
from typing import Any, NoReturn

import msgspec
from msgspec import Raw

from mspc.calls.sentences import Number, kind, shown
from mspc.errors import NotAnObject

SMALL_BYTES = 4096  # below, building a payload is faster than looking at its members
FEW_VALUES = 10_000  # building so many takes about 1 ms
MAX_MEMBERS = 1000  # of one object: no call has as many

_TOO_DEEP = "nested too deeply"
# Half a surrogate pair ("\ud83d" without "\ude00") is grammatical, JavaScript writes
# it, msgspec refuses it. With d for c nothing is half a pair any more, and since no
# literal of JSON has either letter, the text is right or wrong as before.
_WHOLE_PAIRS = bytes.maketrans(b"dD", b"cC")
_PLACE = re.compile(r"(?:JSON is malformed: )?(.*?)(?: \(byte ([0-9]+)\))?")
_CONSTANTS = {b"true": True, b"false": False, b"null": None}


class Malformed(Exception):
    """The text is no JSON; says what is wrong and where, without a full stop."""


class TooDeep(Exception):
    """The text is nested more deeply than Python's stack allows, 1000 or less."""


class _TooMany(Exception):
    """An object has more members than are looked at."""


class _Name:
    """A member's name. Unlike a str it equals no other, so that none gets lost."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def check(content: bytes) -> None:
    """Returns when `content`, which is UTF-8, is one JSON value.

    Raises:
        Malformed: it is not.
        TooDeep: nobody can tell.
    """
    try:
        _skip(content)
    except RecursionError as exc:
        raise TooDeep from exc
    except msgspec.DecodeError as exc:
        if b"\\ud" not in content and b"\\uD" not in content:
            raise Malformed(_explained(content, str(exc))) from exc
        _check_again(content)


def read_object(payload: bytes) -> dict[str, Any]:
    """Reads a payload. Numbers stay text: a million digits cost nothing this way.

    Raises:
        NotAnObject: it is anything else than one JSON object.
    """
    text = payload.removeprefix(codecs.BOM_UTF8)  # may be ignored: RFC 8259 8.1
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as exc:
            place = exc.start + 1 + len(payload) - len(text)
            raise NotAnObject(_no_utf8(payload, place)) from exc
    value = _built(text) if len(text) <= SMALL_BYTES else _looked_at(text)
    if not isinstance(value, dict):
        raise NotAnObject(f"The body must be a JSON object, not {kind(value)}.")
    return value


def _check_again(content: bytes) -> None:
    try:
        _skip(content.translate(_WHOLE_PAIRS))
    except RecursionError as exc:
        raise TooDeep from exc
    except msgspec.DecodeError as exc:
        raise Malformed(_explained(content, str(exc))) from exc


def _explained(content: bytes, fault: str) -> str:
    """Python's words for the fault, or msgspec's, whose place is as good."""
    if is_cheap(content):
        try:
            _body_decoder.decode(content.decode())
        except json.JSONDecodeError as exc:
            return _fault(exc)
        except RecursionError as exc:
            raise TooDeep from exc
    what, place = _PLACE.fullmatch(fault).groups()  # type: ignore[union-attr]
    before = content if place is None else content[: int(place)]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode(errors="ignore")) + 1
    return f"{what} at line {line}, column {column}"


def is_cheap(content: bytes) -> bool:
    """Whether building `content` takes no longer than a small request."""
    if len(content) <= SMALL_BYTES:
        return True
    # Each value but the first comes behind one of these. One pass at the speed of C.
    return len(content) - len(content.translate(None, b",[{")) <= FEW_VALUES


def scalar(raw: bytes) -> str | bool | None:
    """The value of a JSON text that check() has passed; an array or object has none."""
    if raw.startswith(b'"'):
        return _string(raw)
    return _CONSTANTS[raw] if raw in _CONSTANTS else Number(raw.decode())


def built(raw: bytes) -> Any:
    """The value of a JSON text that check() has passed; numbers stay text.

    Raises:
        NotAnObject: nobody could want so many values, or a name is given twice.
    """
    if not is_cheap(raw):
        raise NotAnObject("It is larger than any call needs.")
    return _built(raw)


# ---- a payload


def _built(text: bytes) -> Any:
    try:
        return _payload_decoder.decode(text.decode())
    except json.JSONDecodeError as exc:
        raise NotAnObject(_no_json(text, _fault(exc))) from exc
    except RecursionError as exc:
        raise NotAnObject(f"The body is {_TOO_DEEP}.") from exc


def _looked_at(text: bytes) -> Any:
    """As _built, but a member of a member is built only when it costs little."""
    first = text.lstrip(b" \t\r\n")[:1]
    if first != b"{":
        _check_payload(text)
        # Which kind it is, not its value, is what the sentence needs.
        return {b"[": [], b'"': ""}.get(first, _CONSTANTS.get(text.strip(), Number()))
    try:
        return _members(text, nested=False)
    except RecursionError as exc:
        raise NotAnObject(f"The body is {_TOO_DEEP}.") from exc
    except msgspec.DecodeError:
        _check_payload(text)
        # Nothing is wrong but half a surrogate pair, which no property may have.
        if is_cheap(text):
            return _built(text)
        told = "The body has half a surrogate pair, as in "
        raise NotAnObject(f'{told}"\\ud800", which no UTF-8 text can hold.') from None


def _check_payload(text: bytes) -> None:
    try:
        check(text)
    except Malformed as exc:
        raise NotAnObject(_no_json(text, str(exc))) from exc
    except TooDeep as exc:
        raise NotAnObject(f"The body is {_TOO_DEEP}.") from exc


def _members(text: bytes, nested: bool) -> dict[str, Any]:
    names: list[str] = []

    def name(_type: type, text: str) -> _Name:
        names.append(text)
        if len(names) > MAX_MEMBERS:
            raise _TooMany
        return _Name(text)

    try:
        found = msgspec.json.decode(text, type=dict[_Name, Raw], dec_hook=name)
    except _TooMany:
        members: dict[str, Any] = dict.fromkeys(names)  # refused for their number
    else:
        members = {
            name.text: _member(name.text, bytes(raw), nested)
            for name, raw in found.items()
        }
    if len(members) < len(names):
        _refuse_repeated(names)
    return members


def _member(name: str, raw: bytes, nested: bool) -> Any:
    if not raw.startswith((b"{", b"[")):
        return scalar(raw)
    if is_cheap(raw):
        return _built(raw)
    if nested or raw.startswith(b"["):
        raise NotAnObject(f"The property {shown(name)} is larger than any call needs.")
    return _members(raw, nested=True)


def _no_json(text: bytes, fault: str) -> str:
    if not text.strip():
        return "The body is empty; it must be a JSON object."
    return f"The body is not JSON: {fault}."


def _no_utf8(payload: bytes, place: int) -> str:
    told = f"The body is not UTF-8: see byte {place}"
    if payload.startswith(b"\x1f\x8b"):
        return f"{told}. It is compressed with gzip: send the text itself."
    if payload.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return f"{told}. It is UTF-16: send it as UTF-8."
    return f"{told}."


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
        _refuse_repeated([name for name, _ in pairs])
    return members


def _refuse_repeated(names: list[str]) -> NoReturn:
    seen: set[str] = set()
    for name in names:
        if name in seen:  # which of the two counts would be a guess
            raise NotAnObject(f"The property {shown(name)} is given twice.")
        seen.add(name)
    raise AssertionError("no name is given twice")


_skip = msgspec.json.Decoder(Raw).decode
_string = msgspec.json.Decoder(str).decode
_payload_decoder = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_refuse_constant,
)
_body_decoder = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_refuse_constant
)
