"""The headers of a call: which are refused, which are dropped, which are added."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from voluptuous import Invalid, MultipleInvalid

from mspc.calls.sentences import kind

MAX_HEADERS = 1000
# What is known of names, of which callers have few; longer ones are looked at anew.
KNOWN_NAMES = 1000
SHORT_NAME = 64

# RFC 9110 7.6.1, and what the sending side makes itself: framing and Expect.
_HOP_BY_HOP = "connection, keep-alive, te, trailer, transfer-encoding, upgrade"
_DROPPED = frozenset(f"{_HOP_BY_HOP}, content-length, expect".split(", "))
_CONTENT_TYPE_LENGTH = len("Content-Type")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE_FORBIDS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")

Headers = list[tuple[str, str]]


def read_headers(value: object) -> Headers:
    """Name and value pairs in the client's order, without hop-by-hop headers.

    Raises:
        MultipleInvalid: with every header that breaks a rule.
    """
    if not isinstance(value, dict):
        raise Invalid(f"must be an object, not {kind(value)}.")
    if len(value) > MAX_HEADERS:
        raise Invalid(f"must not be more than {MAX_HEADERS}.")
    headers: Headers = []
    errors: list[Invalid] = []
    seen: set[str] = set()
    passed_on = True
    for name, content in value.items():
        try:
            passed_on &= _check_name(name, seen)
            headers.append((name, _check_value(content)))
        except Invalid as exc:
            exc.prepend([name])
            errors.append(exc)
    if errors:
        raise MultipleInvalid(errors)
    return headers if passed_on else end_to_end(headers)


def has_content_type(headers: object) -> bool:
    """Whether these, as a client wrote them, say what the body is."""
    if isinstance(headers, dict):
        for name in headers:
            if len(name) == _CONTENT_TYPE_LENGTH and name.lower() == "content-type":
                return True
    return False


def value_of(headers: Iterable[tuple[str, str]], wanted: str) -> str | None:
    """That of the header whose name, in lower case, is `wanted`; None without one."""
    for name, content in headers:
        if len(name) == len(wanted) and name.lower() == wanted:
            return content
    return None


class _Name(NamedTuple):
    """What is known of a name.

    Attributes:
        lowered: empty for what is none.
        passed_on: whether its header goes on whatever the others say: is none that is
            dropped, and names none.
    """

    lowered: str
    passed_on: bool


def _named(name: str) -> _Name:
    lowered = name.lower() if TOKEN.fullmatch(name) else ""
    return _Name(lowered, not _is_dropped(lowered))


_known_name = lru_cache(KNOWN_NAMES)(_named)


def _check_name(name: str, seen: set[str]) -> bool:
    """Whether the header is passed on as it is."""
    lowered, passed_on = (_known_name if len(name) <= SHORT_NAME else _named)(name)
    if not lowered:
        raise Invalid("is not a header name: letters, digits and !#$%&'*+-.^_`|~ are.")
    if lowered in seen:
        raise Invalid("is given twice: header names are the same in any case.")
    seen.add(lowered)
    return passed_on


def _check_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise Invalid(f"must be a string, a number or a boolean, not {kind(value)}.")
    content = value.strip(" \t")
    if _VALUE_FORBIDS.search(content):
        raise Invalid("must not have control characters or half a surrogate pair.")
    return content


def end_to_end(headers: Iterable[tuple[str, str]]) -> Headers:
    """Without what is meant for the next hop only, and so for this proxy."""
    headers = list(headers)
    lowered = {name.lower(): content for name, content in headers}
    named = {*map(str.strip, lowered.get("connection", "").lower().split(","))}
    return [
        (name, content)
        for name, content in headers
        if name.lower() not in named and not _is_dropped(name.lower())
    ]


def _is_dropped(lowered: str) -> bool:
    return lowered in _DROPPED or lowered.startswith("proxy-")


def completed(
    headers: Headers, authorization: str | None, media_type: str | None
) -> tuple[tuple[str, str], ...]:
    """With what the url and the body imply, where the client did not say otherwise."""
    for name, content in (
        ("Authorization", authorization),
        ("Content-Type", media_type),
    ):
        if content is not None and value_of(headers, name.lower()) is None:
            headers = [*headers, (name, content)]
    return tuple(headers)
