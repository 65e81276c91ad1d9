"""`mspc decisions`: what somebody changed, and who."""

from mspc.client.grammar import Words
from mspc.client.session import Session
from mspc.client.table import Column, member

COLUMNS: tuple[Column, ...] = (
    ("at", member("at")),
    ("who", member("who")),
    ("what", member("kind")),
    ("of", member("targets")),
    ("reason", member("reason")),
    ("details", member("details")),
)


def add(words: Words) -> None:
    told = "what somebody changed, newest first, and who"
    decisions = words.verb("decisions", _decisions, told)
    decisions.add_argument("--limit", metavar="N", type=int, default=100)
    decisions.add_argument("--of", metavar="ID", help="a call, a destination or a job")


def _decisions(session: Session) -> int:
    query = {"limit": session.options.limit, "target": session.options.of}
    found = session.mspc.get("/v1/decisions", query)["decisions"]
    session.output.items(found, COLUMNS)
    return 0
