"""Reading a URL: which host, port and target a call goes to.

A URL is taken as it is or refused with a sentence; what is sent is what was given.
"""

import base64
import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

import idna
from voluptuous import Invalid

from mspc.calls.call import DEFAULT_PORTS
from mspc.calls.sentences import kind, shown

MAX_URL_BYTES = 8192
REMEMBERED_PLACES = 1000  # of at most MAX_URL_BYTES each

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)", re.ASCII)
_PLACE = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
# A host whose last label looks like this is an IPv4 address to resolvers, or nothing.
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


class Url(NamedTuple):
    """A URL, taken apart.

    Attributes:
        host: ASCII (IDNA-encoded) and lower case, or an IP address without brackets.
        target: path and query, ASCII; empty when there is neither.
        literal: the host is an IP address.
        authorization: Basic authorization made of the user info; None without one.
    """

    scheme: str
    host: str
    port: int
    target: str
    literal: bool
    authorization: str | None


def read_url(value: object, longest: int | None = MAX_URL_BYTES) -> Url:
    """Reads a URL of at most `longest` bytes; None when it may have any number.

    Raises:
        Invalid: it breaks a rule; the sentence continues the property's name.
    """
    if type(value) is not str:
        raise Invalid(f"must be a string, not {kind(value)}.")
    if found := _FORBIDDEN.search(value):
        if "\ud800" <= found[0] <= "\udfff":
            raise Invalid(
                f"has half a surrogate pair at character {found.start() + 1}, which no"
                " UTF-8 text can hold."
            )
        raise Invalid(
            f"must not have {shown(found[0])} (character {found.start() + 1}): "
            "percent-encode it."
        )
    if longest is not None and len(value.encode()) > longest:
        raise Invalid(f"must not be longer than {longest} bytes.")
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
    return Url(scheme, host, port, target, literal, _basic(user_info))


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
