"""`mspc stats`: how many calls there are, and how fast they go."""

from typing import Any

from mspc.client.grammar import Words
from mspc.client.moments import rfc3339
from mspc.client.session import Session
from mspc.client.table import cell, flat

WATCH_SECONDS = 2.0


def add(words: Words) -> None:
    stats = words.verb("stats", _stats, "how many calls there are, and how fast")
    stats.add_argument("--watch", action="store_true", help="again every 2 s")


def _stats(session: Session) -> int:
    if not session.options.watch:
        session.output.item(_asked(session))
        return 0
    while True:
        _look(session)
        session.sleep(WATCH_SECONDS)


def _asked(session: Session) -> dict[str, Any]:
    stats: dict[str, Any] = session.mspc.get("/v1/stats")
    if session.options.form == "text":
        for name in ("minutes", "hours"):  # many numbers, for a chart
            stats.pop(name, None)
    return stats


def _look(session: Session) -> None:
    """A new screen on a terminal, else a line more."""
    stats = {"at": rfc3339(session.now()), **_asked(session)}
    if session.output.terminal:
        session.output.clear()
    if session.output.terminal or session.options.form != "text":
        session.output.item(stats)
    else:
        pairs = (f"{name}={cell(value)}" for name, value in flat(stats))
        session.output.text("\t".join(pairs))
