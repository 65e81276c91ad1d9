"""A call and its attempts as the values of a row, in the order of its columns.

The names of the columns, and what they are for, are in statements.py.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from mspc.journal.base import Seen
from mspc.journal.events import Accepted, Attempted
from mspc.journal.folding import Row
from mspc.journal.keys import time_of

# Of statements.SEEN_TOGETHER.
rows_together: msgspec.json.Decoder[list[Sequence[Any]]] = msgspec.json.Decoder(
    list[Sequence[Any]]
)
_NO_ATTEMPT = (None,) * 7


def of_call(row: Row, number: int) -> tuple[object, ...]:
    """For INSERT.

    Args:
        row: of a new call.
        number: of its destination.
    """
    assert row.call is not None  # noqa: S101 - it is new
    last = _NO_ATTEMPT if row.last is None else _of_last(row.last)
    state = _of_state(row)
    described = _described(row.call)
    return (*state, row.status, row.error, *last, row.id, number, *described)


def of_delivered(key: int, number: int, event: Attempted) -> tuple[object, ...]:
    """For DELIVERED: of a new call, and its only attempt.

    Args:
        key: the call's.
        number: of its destination.
        event: the attempt.
    """
    call = event.call
    return (
        key,
        event.at + event.seconds,
        event.number,
        event.status,
        event.at,
        event.seconds,
        event.answer,
        call.id,
        number,
        *_described(call),
    )


def of_change(row: Row) -> tuple[object, ...]:
    """For UPDATE, and for UPDATE_LAST when there is a new attempt."""
    state = _of_state(row)
    if row.last is None:
        return state
    return (*state, row.status, row.error, *_of_last(row.last))


def _of_state(row: Row) -> tuple[object, ...]:
    return (
        row.key,
        row.state,
        row.changed_at,
        row.due,
        row.attempts,
        row.finished_at,
        row.reason,
    )


def of_missing(row: Row) -> tuple[object, ...]:
    """For FILL."""
    assert row.call is not None  # noqa: S101 - it is what was missing
    return (*_described(row.call), row.key)


def of_attempt(key: int, one: Attempted) -> tuple[object, ...]:
    """For FAILED."""
    return (
        key,
        one.at,
        one.number,
        one.seconds,
        one.status,
        one.error,
        one.text,
        one.answer,
        one.decision,
        one.next_at,
        one.reason,
    )


def _of_last(one: Attempted) -> tuple[object, ...]:
    return (
        one.number,
        one.at,
        one.seconds,
        one.text,
        one.answer,
        one.decision,
        one.next_at,
    )


def _described(call: Accepted) -> tuple[object, ...]:
    # A label has no blanks: with one on either side it is found among others.
    labels = f" {' '.join(call.labels)} " if call.labels else ""
    headers = msgspec.json.encode(call.headers) if call.headers else b""
    return (
        call.method,
        call.url,
        labels,
        call.max_attempts,
        call.body_bytes,
        headers,
        call.body,
    )


def seen(found: Sequence[Any], headers: bytes = b"", body: bytes = b"") -> Seen:
    """
    Args:
        found: the columns of SEEN.
        headers: as they are stored.
        body: its beginning.
    """
    key, call_id, state, method, url, destination, labels, due, attempts = found[:9]
    max_attempts, body_bytes, finished_at, reason, status, error = found[9:15]
    number, at, seconds, text, answer, decision, next_at = found[15:]
    created_at = time_of(key)
    named = tuple(labels.split()) if labels else ()
    last = None
    if number is not None:
        call = Accepted(
            call_id,
            created_at,
            method,
            url,
            destination,
            named,
            max_attempts=max_attempts,
            body_bytes=body_bytes,
        )
        died = reason if decision == "dead" else ""
        last = Attempted(
            call,
            number,
            at,
            seconds,
            status,
            error,
            text,
            answer,
            decision,
            next_at,
            died,
        )
    return Seen(
        call_id,
        state,
        method,
        url,
        destination,
        named,
        created_at,
        due,
        attempts,
        max_attempts,
        body_bytes,
        finished_at,
        reason,
        last,
        _headers(headers),
        body,
    )


def _headers(stored: bytes) -> tuple[tuple[str, str], ...]:
    if not stored:
        return ()
    return msgspec.json.decode(stored, type=tuple[tuple[str, str], ...])
