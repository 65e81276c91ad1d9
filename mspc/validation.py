"""From a payload, the bytes a client sent, to a Request that can be made.

Runs when a call is accepted and again before each attempt, so the schema is built once.
A value is taken as it is or refused with a sentence; nothing is mended silently.
"""

import base64
import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import idna
from voluptuous import Extra, Invalid, MultipleInvalid, Optional, Required, Schema

from mspc.body import BodyRefused, kind, read_body, read_object, shown
from mspc.call import DEFAULT_PORTS, Request
from mspc.errors import InvalidProperties
from mspc.networks import NetworkRules

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT, TRACE"
PROPERTIES = "url, method, headers, body, requeue"
MAX_URL_BYTES = 8192
# Beyond these nobody is helped, and looking at each would hold up other calls.
MAX_PROBLEMS = 10
MAX_MEMBERS = 1000
REMEMBERED_PLACES = 1000  # of at most MAX_URL_BYTES each

_METHODS = frozenset(METHODS.split(", "))
# RFC 9110 7.6.1, and what the sending side makes itself: framing and Expect.
_HOP_BY_HOP = "connection, keep-alive, te, trailer, transfer-encoding, upgrade"
_DROPPED = frozenset(f"{_HOP_BY_HOP}, content-length, expect".split(", "))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE_FORBIDS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)", re.ASCII)
_PLACE = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_URL_FORBIDS = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
# A host whose last label looks like this is an IPv4 address to resolvers, or nothing.
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


class _Url(NamedTuple):
    scheme: str
    host: str
    port: int
    target: str
    literal: bool  # the host is an IP address
    authorization: str | None


class _UnknownProperty(Invalid):
    """A property that no call has."""


def parse(payload: bytes, networks: NetworkRules) -> Request:
    """Reads a payload.

    Raises:
        NotAnObject: it is not a JSON object.
        InvalidProperties: it is one, but breaks a rule; has every broken rule.
    """
    properties = read_object(payload)
    if len(properties) > MAX_MEMBERS:
        raise InvalidProperties([f"A call has no properties but {PROPERTIES}."])
    try:
        checked = _SCHEMA(properties)
    except MultipleInvalid as exc:
        problems: list[str] = []
        with suppress(Invalid):  # a url that is wrong has its sentence
            problems += _denied(_check_url(properties.get("url")), networks)
        raise InvalidProperties(problems + _sentences(exc.errors)) from exc
    url: _Url = checked["url"]
    if denied := _denied(url, networks):
        raise InvalidProperties(denied)
    body, media_type = checked["body"]
    if checked["method"] == "TRACE":  # must have no content: RFC 9110 9.3.8
        body = b""
    return Request(
        *(url.scheme, url.host, url.port, url.target),
        method=checked["method"],
        headers=_completed(checked["headers"], url, media_type if body else None),
        body=body,
        requeue=checked["requeue"],
    )


def _sentence(error: Invalid) -> str:
    name, *inner = map(str, error.path)
    if isinstance(error, _UnknownProperty):
        near = difflib.get_close_matches(name.lower()[:60], PROPERTIES.split(", "), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {PROPERTIES}."
        return f"{shown(name)} is not a property of a call; {hint}"
    return f"{name}{''.join(f'[{shown(key)}]' for key in inner)} {error.msg}"


def _sentences(errors: list[Invalid]) -> list[str]:
    more = len(errors) - MAX_PROBLEMS
    rest = [f"And {more} more mistakes."] if more > 0 else []
    return [_sentence(error) for error in errors[:MAX_PROBLEMS]] + rest


# url


def _check_url(value: object) -> _Url:
    if type(value) is not str:
        raise Invalid(f"must be a string, not {kind(value)}.")
    if found := _URL_FORBIDS.search(value):
        raise Invalid(
            f"must not have {shown(found[0])} (character {found.start() + 1}): "
            "percent-encode it."
        )
    if len(value.encode()) > MAX_URL_BYTES:
        raise Invalid(f"must not be longer than {MAX_URL_BYTES} bytes.")
    parts = _URL.match(value)
    if parts is None or (scheme := parts[1].lower()) not in DEFAULT_PORTS:
        raise Invalid("must start with http:// or https://.")
    user_info, _, place = parts[2].rpartition("@")
    if "@" in value[parts.end(2) :] and not _PLACE.fullmatch(place):
        raise Invalid("must have /, ? and # percent-encoded in the user info.")
    host, literal, port = _read_place(place, DEFAULT_PORTS[scheme])
    target = _NOT_ASCII.sub(lambda found: quote(found[0]), parts[3])
    if target.startswith("?"):
        target = f"/{target}"
    return _Url(scheme, host, port, target, literal, _basic(user_info))


@lru_cache(maxsize=REMEMBERED_PLACES)
def _read_place(place: str, default_port: int) -> tuple[str, bool, int]:
    """Host, whether it is an address, and port: most calls go to a few origins."""
    host_port = _PLACE.fullmatch(place)
    if host_port is None:
        raise Invalid(
            f"has a wrong host or port, {shown(place)}: http://name:8080/ and "
            "http://[::1]:8080/ are right."
        )
    port = int(host_port[2] or default_port)
    if not 0 < port < 65536:
        raise Invalid(f"must have a port from 1 to 65535, not {port}.")
    return *_read_host(host_port[1]), port


def _read_host(text: str) -> tuple[str, bool]:
    """An ASCII host, lower case and without brackets, and whether it is an address."""
    if not 0 < len(text) <= 253:
        raise Invalid("must name a host, in at most 253 characters.")
    try:
        if text.startswith("["):
            return _read_ipv6(text), True
        # After IDNA, which makes IPv4 addresses out of fullwidth digits.
        host = text if text.isascii() else idna.encode(text, uts46=True).decode()
        host = host.lower()
        labels = host.removesuffix(".").split(".")
        if _NUMBER_LABEL.fullmatch(labels[-1]):
            return str(ipaddress.IPv4Address(".".join(labels))), True
    except ValueError as exc:
        raise Invalid(f"has an invalid host {shown(text)}: {exc}.") from exc
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise Invalid(
            f"has an invalid host {shown(text)}: it takes letters, digits, - and _ in "
            "parts of at most 63 between dots, 253 in all."
        )
    return host, False


def _read_ipv6(text: str) -> str:
    address = text.removeprefix("[").removesuffix("]")
    if "%" in address:  # an interface of this machine is no business of a client
        raise ValueError("an address must not have a zone")
    return str(ipaddress.IPv6Address(address))


def _basic(user_info: str) -> str | None:
    if not user_info:
        return None
    user, _, password = user_info.partition(":")
    name = unquote_to_bytes(user)
    if b":" in name:  # Basic authorization ends the name at the first colon
        raise Invalid("must not have a colon in the user name.")
    token = base64.b64encode(name + b":" + unquote_to_bytes(password))
    return f"Basic {token.decode()}"


def _denied(url: _Url, networks: NetworkRules) -> list[str]:
    """The early answer; the address that is dialled is looked at again then."""
    if url.literal and networks.denies(url.host):
        return [f"url must not name the address {url.host}: FORWARD_DENY_NETWORKS."]
    return []


# headers


def _check_headers(value: object) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        raise Invalid(f"must be an object, not {kind(value)}.")
    if len(value) > MAX_MEMBERS:
        raise Invalid(f"must not be more than {MAX_MEMBERS}.")
    headers: list[tuple[str, str]] = []
    errors: list[Invalid] = []
    seen: set[str] = set()
    for name, content in value.items():
        try:
            headers.append((_check_name(name, seen), _check_value(content)))
        except Invalid as exc:
            exc.prepend([name])
            errors.append(exc)
    if errors:
        raise MultipleInvalid(errors)
    return _end_to_end(headers)


def _check_name(name: str, seen: set[str]) -> str:
    if not _TOKEN.fullmatch(name):
        raise Invalid("is not a header name: letters, digits and !#$%&'*+-.^_`|~ are.")
    if name.lower() in seen:
        raise Invalid("is given twice: header names are the same in any case.")
    seen.add(name.lower())
    return name


def _check_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise Invalid(f"must be a string, a number or a boolean, not {kind(value)}.")
    content = value.strip(" \t")
    if _VALUE_FORBIDS.search(content):
        raise Invalid("must not have control characters or half a surrogate pair.")
    return content


def _end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without what is meant for the next hop only, and so for this proxy."""
    lowered = {name.lower(): content for name, content in headers}
    named = lowered.get("connection", "").lower().split(",")
    dropped = _DROPPED.union(map(str.strip, named))
    return [
        (name, content)
        for name, content in headers
        if name.lower() not in dropped and not name.lower().startswith("proxy-")
    ]


def _completed(
    headers: list[tuple[str, str]], url: _Url, media_type: str | None
) -> tuple[tuple[str, str], ...]:
    """With what the url and the body imply, where the client did not say otherwise."""
    names = {name.lower() for name, _ in headers}
    implied = (("Authorization", url.authorization), ("Content-Type", media_type))
    added = [(n, v) for n, v in implied if v is not None and n.lower() not in names]
    return (*headers, *added)


def _check_method(value: object) -> str:
    # ASCII only, because the upper case of a long s is S too.
    method = value.upper() if isinstance(value, str) and value.isascii() else ""
    if method not in _METHODS:
        found = shown(value) if type(value) is str else kind(value)
        raise Invalid(f"must be one of {METHODS}, not {found}.")
    return method


def _check_body(value: object) -> tuple[bytes, str | None]:
    if type(value) is not str:
        raise Invalid(f"must be a string (JSON or XML text), not {kind(value)}.")
    if not value:
        return b"", None
    try:
        return read_body(value)
    except BodyRefused as exc:
        raise Invalid(str(exc)) from exc


def _check_requeue(value: object) -> bool:
    if isinstance(value, bool):
        return value
    found = f"{shown(value)} (a string)" if type(value) is str else kind(value)
    raise Invalid(f"must be true or false, not {found}.")


def _refuse_unknown(value: object) -> None:
    raise _UnknownProperty("is unknown.")


def _or_default(
    check: Callable[[object], Any], default: Any
) -> Callable[[object], Any]:
    return lambda value: default if value is None else check(value)


_SCHEMA = Schema(
    {
        Required("url", msg="is missing."): _check_url,
        Optional("method", default=None): _or_default(_check_method, "GET"),
        Optional("headers", default=None): _or_default(_check_headers, []),
        Optional("body", default=None): _or_default(_check_body, (b"", None)),
        Optional("requeue", default=None): _or_default(_check_requeue, True),
        # A silent typo in `requeue` would lose calls.
        Extra: _refuse_unknown,
    }
)
