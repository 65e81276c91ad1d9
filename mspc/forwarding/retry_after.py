"""Retry-After: for how long a service wants to be left alone. RFC 9110 10.2.3."""

import time
from datetime import UTC
from email.utils import parsedate_to_datetime

_LONGEST_DIGITS = 15


def seconds_from_now(text: str) -> float:
    """How many seconds that is; 0 for what nobody understands, and for the past.

    Args:
        text: seconds, or a date; in a clock of the service's own, so that it may be off
            by as much as that clock is.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_LONGEST_DIGITS])
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # -0000, or none: it is in UTC
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0.0
