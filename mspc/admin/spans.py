"""How long something is to take, as clients of the operators' door say it."""

from typing import Annotated

from msgspec import Meta

from mspc.errors import InvalidProperties

LONGEST_PERIOD_SECONDS = 86_400
LONGEST_DELAY_SECONDS = 31_536_000
# Of a pattern. In Python, unlike in JavaScript, `$` matches before a last newline, too.
END = r"$(?!\n)"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

Delay = Annotated[
    Annotated[float, Meta(ge=0, le=LONGEST_DELAY_SECONDS)]
    | Annotated[str, Meta(pattern=f"^[0-9]{{1,8}}(ms|s|m|h|d){END}")],
    Meta(description='seconds up to a year, or a text such as "30s", "10m", "2h"'),
]
Period = Annotated[
    Annotated[float, Meta(ge=0.001, le=LONGEST_PERIOD_SECONDS)]
    | Annotated[str, Meta(pattern=f"^[1-9][0-9]{{0,7}}(ms|s|m|h){END}")],
    Meta(description='seconds up to a day, or a text such as "1s", "500ms", "1m"'),
]


def seconds(said: float | str) -> float:
    """Of a number of seconds, or of a text such as "10m"."""
    if not isinstance(said, str):
        return float(said)
    digits = said.rstrip("mshd")
    return int(digits) * _UNITS[said[len(digits) :]]


def seconds_of_delay(said: float | str) -> float:
    """The same.

    Raises:
        InvalidProperties: more than a year, which a text may say.
    """
    delay = seconds(said)
    if delay > LONGEST_DELAY_SECONDS:
        raise InvalidProperties(["delay must not be longer than a year."])
    return delay
