"""Several calls in one payload: taken apart, each byte for byte as it was sent."""

import msgspec
from msgspec import Raw

from mspc.calls import json_text
from mspc.calls.sentences import shown
from mspc.errors import InvalidProperties, NotAnObject

MOST_CALLS = 500


class _Batch(msgspec.Struct):
    calls: list[Raw]


def split(payload: bytes) -> list[bytes]:
    """The payloads of the calls in `{"calls": [...]}`.

    Raises:
        NotAnObject: it is not a JSON object.
        InvalidProperties: it has something else than 1 to MOST_CALLS calls.
    """
    try:
        json_text.check(payload)
    except json_text.Malformed as exc:
        raise NotAnObject(f"The body is not JSON: {exc}.") from exc
    except json_text.TooDeep as exc:
        raise NotAnObject("The body is nested too deeply.") from exc
    try:
        members = _members(payload)
    except msgspec.DecodeError as exc:
        raise NotAnObject('The body must be an object, {"calls": [...]}.') from exc
    unknown = [name for name in members if name != "calls"]
    if unknown:
        raise InvalidProperties(
            [
                f"{shown(name)} is not a property of a batch; there is calls."
                for name in unknown[:10]
            ]
        )
    try:
        calls = _calls(payload).calls
    except msgspec.ValidationError as exc:
        raise InvalidProperties([_WANTED]) from exc
    if not 1 <= len(calls) <= MOST_CALLS:
        raise InvalidProperties([f"{_WANTED[:-1]}, not {len(calls)}."])
    return [bytes(call) for call in calls]


_WANTED = f"calls must be a list of 1 to {MOST_CALLS} calls."
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_calls = msgspec.json.Decoder(_Batch).decode
