"""Several calls in one payload: taken apart, each byte for byte as it was sent."""

import codecs

import msgspec
from msgspec import Raw

from mspc.calls import json_text
from mspc.calls.sentences import shown
from mspc.errors import InvalidProperties, NotAnObject

MOST_CALLS = 500
_WANTED = f"calls must be a list of 1 to {MOST_CALLS} calls"
_HALF_A_PAIR = 'has half a surrogate pair, as in "\\ud800"'


class _Batch(msgspec.Struct):
    calls: list[Raw]


def split(payload: bytes) -> list[bytes]:
    """The payloads of the calls in `{"calls": [...]}`.

    Raises:
        NotAnObject: it is not a JSON object.
        InvalidProperties: it has something else than 1 to MOST_CALLS calls.
    """
    text = payload.removeprefix(codecs.BOM_UTF8)
    _check(text)
    try:
        names = _names(text)
    except msgspec.DecodeError as exc:
        is_object = text.lstrip().startswith(b"{")
        told = _HALF_A_PAIR if is_object else 'must be an object, {"calls": [...]}'
        raise NotAnObject(f"The body {told}.") from exc
    if unknown := [name for name in names if name != "calls"]:
        name = shown(unknown[0])
        raise InvalidProperties(
            [f"{name} is not a property of a batch; there is calls alone."]
        )
    try:
        calls = _batch(text).calls
    except msgspec.ValidationError as exc:
        raise InvalidProperties([f"{_WANTED}."]) from exc
    if not 1 <= len(calls) <= MOST_CALLS:
        raise InvalidProperties([f"{_WANTED}, not {len(calls)}."])
    return [bytes(call) for call in calls]


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


_names = msgspec.json.Decoder(dict[str, Raw]).decode
_batch = msgspec.json.Decoder(_Batch).decode
