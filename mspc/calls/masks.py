"""What is not shown of a request: the values of what is named like a secret."""

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

MASK = "***"

# `sig` alone is what Azure signs its URLs with.
_SECRET = re.compile(
    r"auth|cookie|token|secret|key|passw|pwd|signature|^sig$|credential", re.IGNORECASE
)
_OPEN = frozenset({"idempotency-key"})  # of mspc's own making, mostly
# A parameter of a query: what is before its value. A value may be a URL with a query of
# its own, and what is secret goes on to the next `&`, whatever else is in it.
_NAME = re.compile(r"[?&;]([^=?&;#]+)=")
_END = re.compile(r"[&#]")


def is_secret(name: str) -> bool:
    """Whether what is called so is one, a header or a parameter."""
    return bool(_SECRET.search(name)) and name.lower() not in _OPEN


def masked_headers(
    headers: Iterable[tuple[str, str]],
) -> tuple[tuple[str, str], ...]:
    return tuple((name, MASK if is_secret(name) else value) for name, value in headers)


def masked_url(url: str) -> str:
    """The URL with the values of its query that are secret masked."""
    if "?" not in url:
        return url
    shown: list[str] = []
    begin = 0
    for found in _NAME.finditer(url, url.index("?")):
        if found.end() > begin and is_secret(unquote_plus(found[1])):
            shown.append(url[begin : found.end()] + MASK)
            end = _END.search(url, found.end())
            begin = len(url) if end is None else end.start()
    return "".join(shown) + url[begin:]
