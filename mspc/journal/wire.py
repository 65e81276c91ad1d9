"""Batches of events as they travel between instances, of other versions too.

A JSON array with an object for each event. The kind is in `k`, and its number changes
when its fields mean something else: who does not know a kind passes it over, as every
field that it does not know. Fields with their default are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from mspc.journal.events import Accepted, Attempted, Decided, Decision, Event, Kind


class _Accepted(Struct, tag="a1", tag_field="k", omit_defaults=True, gc=False):
    id: str = field(name="i")
    at: float = field(name="t")
    method: str = field(name="m")
    url: str = field(name="u")
    destination: str = field(name="d")
    labels: tuple[str, ...] = field(name="l", default=())
    due: float = field(name="w", default=0.0)
    max_attempts: int = field(name="x", default=0)
    headers: tuple[tuple[str, str], ...] = field(name="h", default=())
    body_bytes: int = field(name="n", default=0)
    body: bytes = field(name="b", default=b"")  # in base64


class _Attempted(Struct, tag="t1", tag_field="k", omit_defaults=True, gc=False):
    call: _Accepted = field(name="c")
    number: int = field(name="n")
    at: float = field(name="t")
    seconds: float = field(name="s", default=0.0)
    status: int | None = field(name="r", default=None)
    error: str = field(name="e", default="")
    text: str = field(name="x", default="")
    answer: str = field(name="a", default="")
    decision: Decision = field(name="d", default="done")
    next_at: float | None = field(name="w", default=None)
    reason: str = field(name="y", default="")


class _Decided(Struct, tag="d1", tag_field="k", omit_defaults=True):
    kind: Kind = field(name="o")
    at: float = field(name="t")
    who: str = field(name="w")
    targets: tuple[str, ...] = field(name="c")
    reason: str = field(name="y", default="")
    details: Mapping[str, Any] = field(name="v", default_factory=dict)
    id: str = field(name="i", default="")


_Packed = _Accepted | _Attempted | _Decided

_encoder = msgspec.json.Encoder()
_array = msgspec.json.Decoder(list[Raw])
_event = msgspec.json.Decoder(_Packed)

# Their fields are in the order of ours: all of them at once, at the speed of C.
_accepted, _attempted, _decided = (
    attrgetter(*kind.__struct_fields__) for kind in (_Accepted, _Attempted, _Decided)
)

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)


def encode(events: Sequence[Event]) -> bytes:
    """A batch, in 1 to 3 us an event. Half a surrogate pair becomes a `?`."""
    try:
        return _encoder.encode([_packed(event) for event in events])
    except _UNWRITABLE:
        return b"[%s]" % b",".join(_each(events))


def decode(data: bytes) -> list[Event]:
    """What can be read of a batch, in order, in 5 to 10 us an event. Never raises."""
    try:
        found = _array.decode(data)
    except _UNREADABLE:
        return []
    return list(_read(found))


def _read(found: Sequence[Raw]) -> Iterator[Event]:
    for one in found:
        try:
            yield _unpacked(_event.decode(one))
        except _UNREADABLE:
            continue  # another version's, or nobody's


def _each(events: Sequence[Event]) -> Iterator[bytes]:
    """One that cannot be written at all is left out: the others can."""
    for event in events:
        try:
            yield _encoder.encode(_packed(_whole(event)))
        except _UNWRITABLE:
            continue


def _packed(event: Event) -> _Packed:
    if isinstance(event, Accepted):
        return _Accepted(*_accepted(event))
    if isinstance(event, Attempted):
        call, *rest = _attempted(event)
        return _Attempted(_Accepted(*_accepted(call)), *rest)
    return _Decided(*_decided(event))


def _unpacked(packed: _Packed) -> Event:
    if isinstance(packed, _Accepted):
        return Accepted(*_accepted(packed))
    if isinstance(packed, _Attempted):
        call, *rest = _attempted(packed)
        return Attempted(Accepted(*_accepted(call)), *rest)
    return Decided(*_decided(packed))


def _whole(value: Any) -> Any:
    """The same without halves of surrogate pairs, wherever they are."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, tuple | list):
        return tuple(map(_whole, value))
    if isinstance(value, Mapping):
        return {_whole(name): _whole(one) for name, one in value.items()}
    if isinstance(value, Accepted):
        return Accepted(*map(_whole, _accepted(value)))
    if isinstance(value, Attempted):
        return Attempted(*map(_whole, _attempted(value)))
    if isinstance(value, Decided):
        return Decided(*map(_whole, _decided(value)))
    return value
