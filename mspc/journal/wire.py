"""Batches of events as they travel between instances, of other versions too.

A JSON array with an object for each event. The kind is in `k`, and its number changes
when its fields mean something else: who does not know a kind passes it over, as every
field that it does not know. Fields with their default are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from mspc.journal.events import Event

_encoder = msgspec.json.Encoder()
_array = msgspec.json.Decoder(list[Raw])
_event: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_events: msgspec.json.Decoder[list[Event]] = msgspec.json.Decoder(list[Event])

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)


def encode(events: Sequence[Event]) -> bytes:
    """A batch. Half a surrogate pair becomes a `?`."""
    try:
        return _encoder.encode(events)
    except _UNWRITABLE:
        return b"[%s]" % b",".join(_each(events))


def decode(data: bytes) -> list[Event]:
    """What can be read of a batch, in order. Never raises."""
    try:
        return _events.decode(data)
    except _UNREADABLE:
        return list(_readable(data))


def _readable(data: bytes) -> Iterator[Event]:
    try:
        found = _array.decode(data)
    except _UNREADABLE:
        return
    for one in found:
        try:
            yield _event.decode(one)
        except _UNREADABLE:
            continue  # another version's, or nobody's


def _each(events: Sequence[Event]) -> Iterator[bytes]:
    """One that cannot be written at all is left out: the others can."""
    for event in events:
        try:
            yield _encoder.encode(_whole(event))
        except _UNWRITABLE:
            continue


def _whole(value: Any) -> Any:
    """The same without halves of surrogate pairs, wherever they are."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, tuple | list):
        return tuple(map(_whole, value))
    if isinstance(value, Mapping):
        return {_whole(name): _whole(one) for name, one in value.items()}
    if isinstance(value, Struct):
        return type(value)(*map(_whole, structs.astuple(value)))
    return value
