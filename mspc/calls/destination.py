"""How a destination is spelled: as the lanes spell it."""

from voluptuous import Invalid

from mspc.calls.call import Request
from mspc.calls.requests import UNREADABLE
from mspc.calls.sentences import shown
from mspc.calls.url import Url, read_url
from mspc.errors import NotPossible


def read_destination(text: str) -> str:
    """`scheme://host:port`, always with the port, however somebody has written it.

    Raises:
        NotPossible: `not_a_destination`.
    """
    url = _url(text)
    if url.target not in ("", "/") or url.authorization is not None:
        raise _refused(text, "must have nothing besides scheme, host and port.")
    return _lane(url)


def destination_of(text: str) -> str:
    """The same of any URL: where it leads, whatever stands behind that.

    Raises:
        NotPossible: the same.
    """
    return _lane(_url(text))


def read_lane(text: str) -> str:
    """As read_destination(); also the lane of calls that nobody can read, which go
    nowhere.

    Raises:
        NotPossible: the same.
    """
    return text if text == UNREADABLE else read_destination(text)


def _url(text: str) -> Url:
    try:
        return read_url(text)
    except Invalid as exc:
        raise _refused(text, str(exc)) from exc


def _lane(url: Url) -> str:
    return Request(url.scheme, url.host, url.port, "").lane


def _refused(text: str, why: str) -> NotPossible:
    return NotPossible(
        "not_a_destination",
        f"{shown(text)} is no destination such as https://api.example.com:443: "
        f"it {why}",
    )
