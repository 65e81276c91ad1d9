"""Which calls and which destinations, as mspc wants to have it said."""

from argparse import Namespace
from urllib.parse import quote, urlsplit

from mspc.client.failures import WrongUse
from mspc.client.moments import past

_PORTS = {"http": 80, "https": 443}
# Of grammar.add_filter. Without one of them more calls would be meant.
_TEXTS = ("destination", "url_prefix", "method", "label", "status", "after", "before")


def chosen(options: Namespace, now: float) -> dict[str, object]:
    """The filter of grammar.add_filter, without what does not matter.

    Args:
        options: of the command line.
        now: Unix seconds.

    Raises:
        WrongUse: one of them cannot be read, or is empty.
    """
    for name in _TEXTS:
        if getattr(options, name) == "":  # of a variable that nobody has set
            option = f"--{name.replace('_', '-')}"
            raise WrongUse(f"{option} is empty: leave it out if it does not matter.")
    given = {
        "state": getattr(options, "state", []),
        "destination": destination(options.destination or ""),
        "url_prefix": options.url_prefix,
        "method": options.method,
        "label": options.label,
        "reason": options.death,
        "error": options.error,
        "status": options.status,
        "created_after": past("--after", options.after or "", now),
        "created_before": past("--before", options.before or "", now),
        "attempts_min": options.attempts_min,
    }
    return {name: value for name, value in given.items() if value}


def destination(text: str) -> str:
    """As mspc writes it: a URL's scheme, host and port; another name stays as it is.

    Raises:
        WrongUse: it cannot be read.
    """
    try:
        parts = urlsplit(text)
        if parts.scheme not in _PORTS or not parts.hostname:
            return text
        # Not without a 0, which would be another service: mspc refuses it.
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError as exc:
        raise WrongUse(f"{text!r} is no destination: {exc}.") from exc
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def in_path(text: str) -> str:
    """One segment of a path.

    Raises:
        WrongUse: it is empty, which would be another path.
    """
    check_name(text)
    return quote(text, safe="")


def check_name(text: str) -> None:
    """Raises WrongUse for an id, or a destination, that is empty."""
    if not text.strip():  # of a variable that nobody has set
        raise WrongUse("An id, or the name of a destination, is empty: which is it?")
