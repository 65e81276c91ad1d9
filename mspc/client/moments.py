"""Moments and durations, as people write them in a command line."""

import re
import time

from mspc.client.failures import WrongUse

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_DELAY_SECONDS = 365 * _UNITS["d"]  # as admin/spans.py has it
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def seconds(text: str) -> int:
    """A duration such as 30s, 5m, 2h or 7d.

    Raises:
        WrongUse: it is none.
    """
    parts = _DURATION.fullmatch(text)
    if parts is None:
        raise WrongUse(f"A duration is like 30s, 5m, 2h or 7d, not {text!r}.")
    return int(parts[1]) * _UNITS[parts[2]]


def delay(text: str) -> int:
    """A duration that a retry may wait, in seconds.

    Raises:
        WrongUse: it is none, or longer than mspc takes.
    """
    found = seconds(text)
    if found > _LONGEST_DELAY_SECONDS:
        raise WrongUse(f"--in must not be longer than a year, 365d: not {text!r}.")
    return found


def past(option: str, text: str, now: float) -> str:
    """A moment that may be said as how long ago it was: 24h.

    Returns:
        RFC 3339. Whether a date that somebody wrote is one, mspc says.

    Raises:
        WrongUse: it is neither a duration nor the beginning of a date; names `option`.
    """
    if _DURATION.fullmatch(text):
        return rfc3339(now - seconds(text))
    if text and not _DAY.match(text):
        raise WrongUse(
            f"{option} must be like 24h (ago), 2026-01-31 or 2026-01-31T12:00:00+01:00,"
            f" not {text!r}."
        )
    return f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text


def rfc3339(moment: float) -> str:
    """Unix seconds as a date in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
