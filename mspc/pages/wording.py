"""How values read on a page: the filters of the templates."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from mspc.api.shown import rfc3339
from mspc.pages.bodies import pretty
from mspc.steering.base import Limits

SHORT_ID = 12
LONGEST_SHOWN = 120
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))
_MILLISECOND = 0.001
_HELD = {
    "breaker": "no answer",
    "paused": "paused",
    "rate": "limited",
}


def utc(at: float) -> str:
    """Unix seconds for people."""
    return f"{rfc3339(at)[:19].replace('T', ' ')} UTC"


def seconds(value: float) -> str:
    """A duration, two digits that matter."""
    for size, unit in _UNITS:
        if value >= size:
            return f"{value / size:.1f} {unit}".replace(".0 ", " ")
    if value >= 1:
        return f"{value:.1f} s".replace(".0 ", " ")
    return f"{max(value, 0.0) / _MILLISECOND:.0f} ms"


def number(value: int) -> str:
    return f"{value:,}"


def plain(value: float) -> str:
    return f"{value:g}"


def words(name: str) -> str:
    """`connection_refused` for people."""
    return name.replace("_", " ")


def held(word: str) -> str:
    return _HELD.get(word, word)


def short(call_id: str) -> str:
    """The end of an id: that is where two of the same time differ."""
    return call_id if len(call_id) <= SHORT_ID else f"…{call_id[-SHORT_ID:]}"


def middle(text: str) -> str:
    """What is long without its middle: beginning and end tell the most."""
    if len(text) <= LONGEST_SHOWN:
        return text
    kept = LONGEST_SHOWN // 2
    return f"{text[:kept]} … {text[-kept:]}"


def path(text: str) -> str:
    """One segment of a path, or a value in a query."""
    return quote(text, safe="", errors="replace")


def limits(value: Limits) -> str:
    """What is set, for people; empty when nothing is."""
    told = []
    if value.rate is not None:
        period = "second" if value.period == 1 else f"{value.period:g} s"
        told.append(f"{value.rate} per {period}")
    if value.parallelism is not None:
        told.append(f"{value.parallelism} at once")
    return ", ".join(told)


FILTERS: dict[str, Callable[[Any], str]] = {
    "iso": rfc3339,
    **{
        one.__name__: one
        for one in (
            utc,
            seconds,
            number,
            plain,
            words,
            held,
            short,
            middle,
            path,
            limits,
            pretty,
        )
    },
}
