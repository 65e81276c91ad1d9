"""The number of a call: the same on every instance, in the order of time."""

import re
from zlib import crc32

_CHANCE_BITS = 20
_CHANCE = (1 << _CHANCE_BITS) - 1
# As long as there are 63 bits for all of it: until the year 2248.
_LATEST_MS = (1 << (63 - _CHANCE_BITS)) - 1
_VERSION_DIGIT = 12
# See calls/call.py; the first digit of all milliseconds that there is room for is 0.
_LIKE_OURS = re.compile(r"0[0-7][0-9a-f]{10}7[0-9a-f]{19}")


def key_of(call_id: str, at: float) -> int:
    """Which place something has among all: first its milliseconds, then its id.

    Args:
        call_id: tells when the call was made if mspc chose it; it is the same for a
            dead letter that was made again.
        at: what counts for other ids, Unix seconds.
    """
    own = own_key(call_id)
    return first_key(at) | _chance(call_id) if own is None else own


def own_key(call_id: str) -> int | None:
    """The same of an id that mspc makes, or one as good; None of others."""
    if _LIKE_OURS.fullmatch(call_id) is None:
        return None
    return int(call_id[:_VERSION_DIGIT], 16) << _CHANCE_BITS | _chance(call_id)


def first_key(at: float) -> int:
    """The lowest one of that moment, Unix seconds."""
    return min(max(int(at * 1000), 0), _LATEST_MS) << _CHANCE_BITS


def time_of(key: int) -> float:
    """Unix seconds."""
    return (key >> _CHANCE_BITS) / 1000


def _chance(call_id: str) -> int:
    return crc32(call_id.encode(errors="replace")) & _CHANCE
