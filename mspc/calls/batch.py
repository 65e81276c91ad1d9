"""Several calls in one payload: taken apart, each byte for byte as it was sent."""

import codecs

import msgspec
from msgspec import UNSET, Raw, UnsetType

from mspc.calls import json_text
from mspc.calls.sentences import shown
from mspc.errors import InvalidProperties, NotAnObject

MOST_CALLS = 500
_WANTED = f"calls must be a list of 1 to {MOST_CALLS} calls"
_HALF_A_PAIR = 'has half a surrogate pair, as in "\\ud800"'

# What is behind the last field of such an array is skipped, not built: of 1 MiB of `[]`
# a list would take 40 ms, in which nobody else is served.
_Calls = msgspec.defstruct(
    "_Calls",
    [(f"call_{number}", Raw | UnsetType, UNSET) for number in range(MOST_CALLS + 1)],
    array_like=True,
)


class _Name:
    """A member's name, which equals no other: none gets lost."""


def split(payload: bytes) -> list[bytes]:
    """The payloads of the calls in `{"calls": [...]}`.

    Raises:
        NotAnObject: it is not a JSON object, or has them twice.
        InvalidProperties: it has something else than 1 to MOST_CALLS calls.
    """
    text = payload.removeprefix(codecs.BOM_UTF8)
    _check(text)
    try:
        (listed,) = _members(text) or (b"null",)
    except msgspec.DecodeError as exc:
        is_object = text.lstrip().startswith(b"{")
        told = _HALF_A_PAIR if is_object else 'must be an object, {"calls": [...]}'
        raise NotAnObject(f"The body {told}.") from exc
    try:
        found = msgspec.structs.astuple(_calls(listed))
    except msgspec.ValidationError as exc:
        raise InvalidProperties([f"{_WANTED}."]) from exc
    calls = [bytes(call) for call in found if call is not UNSET]
    if len(calls) > MOST_CALLS:
        raise InvalidProperties([f"{_WANTED}, not more."])
    if not calls:
        raise InvalidProperties([f"{_WANTED}, not 0."])
    return calls


def _members(text: bytes) -> list[Raw]:
    """The value of `calls`, or none; whatever else there is ends the reading."""
    names: list[str] = []

    def name(_type: type, text: str) -> _Name:
        if text != "calls":
            raise InvalidProperties(
                [f"{shown(text)} is not a property of a batch; there is calls alone."]
            )
        if names:  # which of the two counts would be a guess
            raise NotAnObject('The property "calls" is given twice.')
        names.append(text)
        return _Name()

    found = msgspec.json.decode(text, type=dict[_Name, Raw], dec_hook=name)
    return list(found.values())


def _check(text: bytes) -> None:
    try:
        text.decode()
        json_text.check(text)
    except UnicodeDecodeError as exc:
        raise NotAnObject(f"The body is not UTF-8: see byte {exc.start + 1}.") from exc
    except json_text.Malformed as exc:
        raise NotAnObject(f"The body is not JSON: {exc}.") from exc
    except json_text.TooDeep as exc:
        raise NotAnObject("The body is nested too deeply.") from exc


_calls = msgspec.json.Decoder(_Calls).decode
