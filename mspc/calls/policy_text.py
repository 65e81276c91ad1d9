"""The properties of a call that make its policy, as clients write them.

A number keeps the text that it was written with (see sentences.Number).
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from voluptuous import Invalid, MultipleInvalid

from mspc.calls.policy import YEAR_SECONDS, Backoff, Policy
from mspc.calls.sentences import Number, kind, shown
from mspc.calls.trace import read_traceparent, read_tracestate

MAX_ATTEMPTS = 1000
MAX_STEPS = 20
MAX_GIVEN = 20  # members of a backoff, of which there are four
MAX_LABELS = 10
MAX_STATUSES = 100
LONGEST_TIMEOUT_SECONDS = 600.0
# As the settings have it: REQUEUE_FAILED_AFTER_MILLISECONDS is 1 or more.
SHORTEST_DELAY_SECONDS = 0.001

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
# RFC 3339 5.6; Python reads more than that, a date without an offset for example.
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:([0-9]{2})(?:\.[0-9]{1,12})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_STATUS = re.compile(r"[345](?:[0-9]{2}|[xX]{2})")
_LABEL = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_LONGEST_NUMBER = 40  # characters; what is longer means nothing that is in a range

Read = Callable[[object], Any]
Key = TypeVar("Key", str, int)


def read_number(value: object, low: float, high: float, what: str) -> float:
    """A JSON number from `low` to `high`.

    Raises:
        Invalid: it is none, or another one.
    """
    told = f"must be {what} from {_plain(low)} to {_plain(high)}, not {_found(value)}."
    if type(value) is not Number or len(value) > _LONGEST_NUMBER:
        raise Invalid(told)
    number = float(value)
    if not low <= number <= high:
        raise Invalid(told)
    return number


def read_integer(value: object, low: int, high: int) -> int:
    number = read_number(value, low, high, "a whole number")
    if number != int(number):
        raise Invalid(f"must be a whole number, not {_found(value)}.")
    return int(number)


def read_duration(value: object, low: float, high: float) -> float:
    """Seconds: a number of them, or a text such as "10s", "5m", "2h", "7d".

    Raises:
        Invalid: it is neither, or not from `low` to `high` seconds.
    """
    if type(value) is str:
        parts = _DURATION.fullmatch(value)
        if parts is None:
            raise Invalid(
                'must be a number of seconds, or a text such as "500ms", "10s", "5m",'
                f' "2h" or "7d", not {_found(value)}.'
            )
        seconds = float(parts[1]) * _UNITS[parts[2]]
        if low <= seconds <= high:
            return seconds
        told = f"from {_plain(low)} to {_plain(high)} seconds"
        raise Invalid(f"must be {told}, not {_found(value)}.")
    return read_number(value, low, high, "seconds")


def read_date(value: object) -> float:
    """Unix seconds: a number of them, or a date of RFC 3339.

    Raises:
        Invalid: it is neither.
    """
    if type(value) is Number:
        return read_number(value, 0, 10**15, "Unix seconds")
    found = _DATE.fullmatch(value) if type(value) is str else None
    if found is not None:
        # A leap second is the last one of its minute, to a clock that has none.
        text = str(value).upper()
        if found[1] == "60":
            text = f"{text[:17]}59{text[19:]}"
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            pass
    raise Invalid(
        'must be a date with its offset, such as "2030-01-31T08:00:00+01:00", or Unix'
        f" seconds, not {_found(value)}."
    )


def read_backoff(value: object) -> Backoff:
    """An object with initial, factor, max and jitter, or a list of delays.

    Raises:
        Invalid: it is neither, or breaks a rule.
    """
    if isinstance(value, list):
        if not 1 <= len(value) <= MAX_STEPS:
            told = f"must be 1 to {MAX_STEPS} delays, not {len(value)}."
            raise Invalid(told)
        numbered = dict(enumerate(value))
        return Backoff(steps=tuple(_each(numbered, lambda _: _read_delay).values()))
    if not isinstance(value, dict):
        raise Invalid(
            "must be an object with initial, factor, max and jitter, or a list of"
            f" delays, not {_found(value)}."
        )
    if len(value) > MAX_GIVEN:  # before each has its sentence
        raise Invalid(
            "must be an object with initial, factor, max and jitter, not one with"
            f" {len(value)} members."
        )
    given = {name: one for name, one in value.items() if one is not None}
    read = _each(given, _reader_of_backoff)
    backoff = Backoff(
        read.get("initial"), read.get("factor"), read.get("max"), read.get("jitter")
    )
    if backoff.initial and backoff.longest and backoff.initial > backoff.longest:
        raise Invalid("must not have an initial delay that is longer than max.")
    return backoff


def read_statuses(value: object) -> frozenset[str]:
    """A list of statuses and classes of them: [400, "410", "4xx"].

    Raises:
        Invalid: it is none.
    """
    told = f'must be a list of at most {MAX_STATUSES} statuses, such as [410, "4xx"]'
    return frozenset(map(read_status, _list(value, MAX_STATUSES, told)))


def read_status(value: object) -> str:
    """A status of 300 to 599, or 3xx, 4xx, 5xx.

    Raises:
        Invalid: it is none; 2xx is never a failure.
    """
    if isinstance(value, str) and _STATUS.fullmatch(value):
        return value.lower()
    raise Invalid(
        f'must have statuses from 300 to 599, "3xx", "4xx" and "5xx", not'
        f" {_found(value)}."
    )


def read_labels(value: object) -> tuple[str, ...]:
    labels = _list(value, MAX_LABELS, f"must be a list of at most {MAX_LABELS}")
    for label in labels:
        if type(label) is not str or not _LABEL.fullmatch(label):
            raise Invalid(
                "must be texts of 1 to 64 letters, digits and . _ : / -, not"
                f" {_found(label)}."
            )
    return tuple(labels)


def _list(value: object, most: int, told: str) -> list[Any]:
    """A list of so many at most; `told` says what it must be."""
    if not isinstance(value, list):
        raise Invalid(f"{told}, not {_found(value)}.")
    if len(value) > most:
        raise Invalid(f"{told}, not {len(value)}.")
    return value


def _read_delay(value: object) -> float:
    return read_duration(value, SHORTEST_DELAY_SECONDS, YEAR_SECONDS)


_BACKOFF: dict[str, Read] = {
    "initial": _read_delay,
    "factor": lambda value: read_number(value, 1, 100, "a number"),
    "max": _read_delay,
    "jitter": lambda value: read_number(value, 0, 1, "a number"),
}
# Each property that makes a policy, and what it may be.
READERS: dict[str, Read] = {
    "delay": lambda value: read_duration(value, 0, YEAR_SECONDS),
    "not_before": read_date,
    "max_attempts": lambda value: read_integer(value, 1, MAX_ATTEMPTS),
    "max_age": lambda value: read_duration(value, 1, YEAR_SECONDS),
    "backoff": read_backoff,
    "timeout": lambda value: read_duration(value, 0.1, LONGEST_TIMEOUT_SECONDS),
    "permanent": read_statuses,
    "labels": read_labels,
    "traceparent": read_traceparent,
    "tracestate": read_tracestate,
}


def policy(read: Mapping[str, Any]) -> Policy:
    """The policy of a call.

    Args:
        read: what READERS have made of its properties, and None for those that are
            null; other properties are of no interest.
    """
    return Policy(
        **{name: value for name in READERS if (value := read.get(name)) is not None}
    )


def contradictions(properties: Mapping[str, object], now: float) -> list[str]:
    """What is wrong with properties that may be right one by one.

    Args:
        properties: of a call, as they were written.
        now: Unix seconds.
    """
    given = {name for name, value in properties.items() if value is not None}
    wrong = [
        f"{one} and {other} must not both be given."
        for one, other in (("delay", "not_before"), ("body", "body_base64"))
        if one in given and other in given
    ]
    attempts = properties.get("max_attempts")
    if properties.get("requeue") is False and not (
        attempts is None or _is_one(attempts)
    ):
        wrong.append("requeue is false, which means max_attempts 1: give one of them.")
    if "tracestate" in given and "traceparent" not in given:
        wrong.append("tracestate says nothing without a traceparent.")
    if "not_before" in given:
        wrong += _too_late(properties["not_before"], now)
    return wrong


def _is_one(value: object) -> bool:
    if type(value) is not Number or len(value) > _LONGEST_NUMBER:
        return False
    return float(value) == 1


def _too_late(value: object, now: float) -> list[str]:
    try:
        date = read_date(value)
    except Invalid:
        return []  # it has its sentence
    if date <= now + YEAR_SECONDS:
        return []
    hint = " Unix seconds are meant, not milliseconds." if date > 10**11 else ""
    return [f"not_before must be within a year from now.{hint}"]


def _reader_of_backoff(name: str) -> Read:
    if name in _BACKOFF:
        return _BACKOFF[name]
    raise Invalid(f"is unknown; there are {', '.join(_BACKOFF)}.")


def _each(
    values: Mapping[Key, object], reader: Callable[[Key], Read]
) -> dict[Key, Any]:
    """All of them, read.

    Args:
        values: by their names, or by their places in a list.
        reader: what reads the one of that name.

    Raises:
        MultipleInvalid: with every one that breaks a rule.
    """
    read: dict[Key, Any] = {}
    errors: list[Invalid] = []
    for name, value in values.items():
        try:
            read[name] = reader(name)(value)
        except Invalid as exc:
            exc.prepend([name])
            errors.append(exc)
    if errors:
        raise MultipleInvalid(errors)
    return read


def _found(value: object) -> str:
    if type(value) is Number:
        return shown(value)[1:-1]
    return shown(value) if type(value) is str else kind(value)


def _plain(number: float) -> str:
    return f"{number:,.9g}".replace(",", "") if number < 1e9 else f"{number:.0f}"
