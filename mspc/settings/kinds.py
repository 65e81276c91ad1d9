"""What the text of a setting may be, and what it stands for.

Each kind takes the text and returns the value, or raises voluptuous.Invalid with a
sentence that continues the setting's name and never shows a secret.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voluptuous import Invalid

from mspc.calls.networks import Network, parse_network
from mspc.calls.policy_text import read_status
from mspc.errors import NotPossible

Check = Callable[[str], Any]

MOST_DESTINATIONS = 50

_TRUE = frozenset(("1", "t", "true", "y", "yes", "on"))
_FALSE = frozenset(("0", "f", "false", "n", "no", "off"))
_BROKER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]:/@,]+))(?::([0-9]+))?")


def text(value: str) -> str:
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
        raise Invalid("must be one line of UTF-8 text without control characters.")
    return value


def matching(pattern: str, meaning: str) -> Check:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise Invalid(f"must be {meaning}, not {quoted(value)}.")
        return value

    return check


def boolean(value: str) -> bool:
    if value.lower() not in _TRUE | _FALSE:
        raise Invalid(f"must be 1 or 0, true or false, yes or no, not {quoted(value)}.")
    return value.lower() in _TRUE


def number(low: float, high: int, pattern: str = "[0-9]{1,18}") -> Check:
    def check(value: str) -> float:
        if re.fullmatch(pattern, value) and low <= float(value) <= high:
            return float(value) if "." in value else int(value)
        raise Invalid(f"must be a number from {low} to {high}, not {quoted(value)}.")

    return check


def one_of(*choices: str) -> Check:
    def check(value: str) -> str:
        if value.lower() not in choices:
            raise Invalid(f"must be {' or '.join(choices)}, not {quoted(value)}.")
        return value.lower()

    return check


def if_any(check: Check) -> Check:
    return lambda value: check(value) if value else None


def path(value: str) -> Path:
    return Path(value)


port = number(1, 65535)
_DECIMAL = r"[0-9]{1,9}(\.[0-9]{1,9})?"
seconds = number(0.001, 600, _DECIMAL)
factor = number(1, 100, _DECIMAL)
share = number(0, 1, _DECIMAL)


def brokers(value: str) -> list[tuple[str, int | None]]:
    if "@" in value:  # a password may stand before it
        names = "RABBITMQ_DEFAULT_USER and RABBITMQ_DEFAULT_PASS"
        raise Invalid(f"must be hosts without user and password: {names} are for them.")
    return [_broker(part.strip()) for part in value.split(",")]


def _broker(text: str) -> tuple[str, int | None]:
    parts = _BROKER.fullmatch(text)
    if parts is None:
        meaning = "host, host:port or [IPv6]:port, several with commas between"
        raise Invalid(f"must be {meaning}, not {quoted(text)}.")
    return resolvable(parts[1] or parts[2]), if_any(port)(parts[3])


def resolvable(host: str) -> str:
    """A host that can be looked up at all: Python has no answer for others."""
    try:
        host.encode("idna")
    except UnicodeError as exc:
        meaning = "a host with 1 to 63 characters between its dots"
        raise Invalid(f"must be {meaning}, not {quoted(host)}.") from exc
    return host


def queue_name(value: str) -> str:
    # An AMQP name has at most 255 bytes, and `.retry.15` is put behind this one; the
    # characters are those that pamqp lets pass.
    if not re.fullmatch(r"[A-Za-z0-9_.:@#,/+ -]{1,200}", value) or value[:4] == "amq.":
        meaning = "at most 200 letters, digits and -_.:@#,/+, not starting with amq."
        raise Invalid(f"must be {meaning}")
    return value


def networks(value: str) -> tuple[Network, ...]:
    parts = re.findall(r"[^\s,]+", value)
    try:
        return tuple(map(parse_network, [] if parts == ["none"] else parts))
    except ValueError as exc:
        raise Invalid(f"must be networks such as 10.0.0.0/8, or none: {exc}.") from exc


def key(value: str) -> str:
    """A bearer token (RFC 6750 2.1), long enough that nobody guesses it; or empty."""
    if value and not re.fullmatch(r"[A-Za-z0-9._~+/-]{16,200}=*", value):
        meaning = "at least 16 letters, digits and ._~+/- (openssl rand -hex 32)"
        raise Invalid(f"must be {meaning}.")
    return value


def prefix(value: str) -> str:
    path = "/" + value.strip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
        raise Invalid(f"must be a path such as /mspc, not {quoted(value)}.")
    return path


def host_names(value: str) -> tuple[str, ...]:
    """As a Host header has them, without a port."""
    parts = re.findall(r"[^\s,]+", value)
    for part in parts:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", part):
            meaning = "names such as mspc.example.com, without a port"
            raise Invalid(f"must be {meaning}, not {quoted(part)}.")
    return tuple(part.lower().removesuffix(".") for part in parts)


def destinations(value: str) -> tuple[str, ...]:
    """Up to 50, spelled as lanes are: each is a handful of series for Prometheus."""
    # Here: the command line has no need of what reads URLs.
    from mspc.calls.destination import read_destination

    parts = re.findall(r"[^\s,]+", value)
    if len(parts) > MOST_DESTINATIONS:
        raise Invalid(f"must be {MOST_DESTINATIONS} destinations at most.")
    try:
        return tuple(dict.fromkeys(map(read_destination, parts)))
    except NotPossible as exc:
        meaning = "destinations such as https://host:443"
        raise Invalid(f"must be {meaning}: {exc}") from exc


def statuses(value: str) -> frozenset[str]:
    return frozenset(map(read_status, re.findall(r"[^\s,]+", value)))


def quoted(value: str) -> str:
    """As it was written, but short, and without user and password of a URL."""
    value = re.sub(r"//.*@", "//...@", value)
    return repr(value if len(value) <= 60 else f"{value[:57]}...")


# What never reaches the application as it was sent, or means something else to HTTP.
_TAKEN = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def header(value: str) -> str:
    """The name of a header that can carry the authorization."""
    value = token(value)
    if "_" in value:
        name = value.replace("_", "-")
        raise Invalid(
            f"must be without _, not {quoted(value)}: headers with one are dropped, as"
            f" proxies do. Use {quoted(name)}."
        )
    if value.lower() in _TAKEN:
        raise Invalid(f"must be a header of its own: HTTP itself uses {value}.")
    return value


token = matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}", "a header name")
endpoint = matching(
    r"https?://[^\s/?#@]+(?:/[^\s?#]*)?",
    "the URL of a collector, such as http://collector:4318",
)
_address = matching(
    r"[0-9A-Za-z._:-]+",
    "an address to listen on, without brackets: 0.0.0.0 for all of IPv4, '::' for IPv6",
)


def listen(value: str) -> str:
    return resolvable(_address(value))
