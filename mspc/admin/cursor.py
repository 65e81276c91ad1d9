"""Where the next page of a list begins, in a text that only we understand."""

import base64
import binascii
import hashlib
from typing import Annotated

import msgspec

from mspc.admin.queries import CallFilter
from mspc.errors import InvalidProperties


class _Cursor(msgspec.Struct, array_like=True):
    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    of: str


def write_cursor(after: int, query: CallFilter) -> str:
    """The text for `after`, which is Page.next of a list of `query`."""
    text = msgspec.json.encode(_Cursor(after, _digest(query)))
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def read_cursor(cursor: str, query: CallFilter) -> int:
    """What write_cursor() was given.

    Raises:
        InvalidProperties: it is no cursor, or that of another list.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True)
        read = msgspec.json.decode(text, type=_Cursor)
    except (binascii.Error, ValueError, msgspec.DecodeError) as exc:
        told = "cursor must be the next_cursor of the page before, as it was given."
        raise InvalidProperties([told]) from exc
    if read.of != _digest(query):
        told = "cursor must be used with the filter of the page that it comes from."
        raise InvalidProperties([told])
    return read.after


def _digest(query: CallFilter) -> str:
    """Of what is asked for, whatever the order; the same on every instance."""
    wanted = query.wanted()
    fields = {name: getattr(wanted, name) for name in wanted.__slots__}
    fields["states"] = sorted(wanted.states)
    return hashlib.sha256(msgspec.json.encode(fields)).hexdigest()[:16]
