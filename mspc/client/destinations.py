"""`mspc destinations`: the services that calls go to, and how fast."""

import re

from mspc.client.choosing import destination, in_path
from mspc.client.failures import WrongUse
from mspc.client.grammar import Words, add_reason
from mspc.client.moments import rfc3339, seconds
from mspc.client.session import Session
from mspc.client.table import Column, Item, member


def _limits(item: Item) -> object:
    limits = item.get("limits") or {}
    shown = [f"{limits['rate']}/{limits['period']}"] if limits.get("rate") else []
    if limits.get("parallelism"):
        shown.append(f"{limits['parallelism']} at once")
    return ", ".join(shown)


def _minute(item: Item) -> object:
    """Attempts a minute, of the last five; nothing of an mspc that does not say."""
    tried = (item.get("rates") or {}).get("5m")
    return None if tried is None else f"{tried['attempts'] / 5:.3g}"


def _share(item: Item) -> object:
    """How many of them were answered 2xx; where none were made, of the last hour."""
    rates = item.get("rates") or {}
    for tried in (rates.get("5m"), rates.get("60m")):
        if tried and tried["attempts"]:
            return f"{100 * tried['succeeded'] // tried['attempts']}%"
    return None


COLUMNS: tuple[Column, ...] = (
    ("destination", member("destination")),
    ("state", member("state")),
    ("queued", member("queued")),
    ("in flight", member("in_flight")),
    ("waiting", member("waiting")),
    ("dead", member("dead")),
    ("a minute", _minute),
    ("2xx", _share),
    ("oldest due", member("oldest_due_at")),
    ("limits", _limits),
)
_RATE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,4})?(s|m|h)")


def add(words: Words) -> None:
    told = "the services that calls go to, and how fast"
    places = words.noun("destinations", told)
    places.verb("list", _list, "those that have calls, or are held, paused or limited")
    show = places.verb("show", _show, "one of them")
    pause = places.verb("pause", _pause, "make no calls to it; they are kept")
    resume = places.verb("resume", _resume, "make its calls again")
    limit = places.verb("limit", _limit, "so many calls in a time, or at once")
    unlimit = places.verb("unlimit", _unlimit, "as fast as it answers")
    for verb in (show, pause, resume, limit, unlimit):
        verb.add_argument("destination", help="a URL, or scheme://host:port")
    for verb in (pause, resume, limit, unlimit):
        add_reason(verb)

    until = pause.add_mutually_exclusive_group()
    until.add_argument("--for", dest="time", metavar="TIME", help="1h for example")
    until.add_argument("--until", metavar="TIME", help="2026-01-31T12:00:00Z")
    limit.add_argument("--rate", metavar="N/TIME", help="5/s, 300/m or 1/10s")
    limit.add_argument("--parallelism", metavar="N", type=int, help="so many at once")


def _list(session: Session) -> int:
    found = session.mspc.get("/v1/destinations")["destinations"]
    session.output.items(found, COLUMNS)
    return 0


def _show(session: Session) -> int:
    return _print(session, session.mspc.get(_path(session)))


def _pause(session: Session) -> int:
    options = session.options
    until = options.until
    if options.time is not None:  # what is empty would be a pause without an end
        until = rfc3339(session.now() + seconds(options.time))
    return _change(session, "POST", "/pause", {} if until is None else {"until": until})


def _resume(session: Session) -> int:
    return _change(session, "POST", "/resume", {})


def _limit(session: Session) -> int:
    options = session.options
    limits: dict[str, object] = {}
    if options.rate is not None:
        limits["rate"], limits["period"] = rate(options.rate)
    if options.parallelism is not None:
        limits["parallelism"] = options.parallelism
    if not limits:
        raise WrongUse("How much? --rate 5/s, --parallelism 10, or both.")
    return _change(session, "PUT", "/limits", limits)


def _unlimit(session: Session) -> int:
    query = {"reason": session.options.reason}
    return _print(
        session, session.mspc.ask("DELETE", f"{_path(session)}/limits", query)
    )


def rate(text: str) -> tuple[int, str]:
    """How many, and in which time.

    Raises:
        WrongUse: it is not like 5/s.
    """
    parts = _RATE.fullmatch(text)
    if parts is None:
        raise WrongUse(f"--rate must be like 5/s, 300/m or 1/10s, not {text!r}.")
    return int(parts[1]), f"{parts[2] or 1}{parts[3]}"


def _change(session: Session, method: str, end: str, body: dict[str, object]) -> int:
    if session.options.reason:
        body["reason"] = session.options.reason
    return _print(
        session, session.mspc.ask(method, f"{_path(session)}{end}", body=body)
    )


def _print(session: Session, answer: Item) -> int:
    session.output.item(answer)
    return 0


def _path(session: Session) -> str:
    return f"/v1/destinations/{in_path(destination(session.options.destination))}"
