"""`mspc decisions`: what somebody changed, and who."""

from mspc.client.choosing import check_name
from mspc.client.grammar import Words
from mspc.client.session import Session
from mspc.client.table import Column, Item, member


def _targets(item: Item) -> object:
    """One of a job is of hundreds of calls."""
    first, *others = item["targets"] or [None]
    return f"{first} and {len(others)} more" if others else first


def _details(item: Item) -> object:
    """A job by ids has thousands of them."""
    details = dict(item["details"])
    if ids := details.pop("ids", None):
        details["ids"] = len(ids)
    return details


COLUMNS: tuple[Column, ...] = (
    ("at", member("at")),
    ("who", member("who")),
    ("what", member("kind")),
    ("of", _targets),
    ("reason", member("reason")),
    ("details", _details),
)


def add(words: Words) -> None:
    told = "what somebody changed, newest first, and who"
    decisions = words.verb("decisions", _decisions, told)
    decisions.add_argument("--limit", metavar="N", type=int, default=100)
    decisions.add_argument("--of", metavar="ID", help="a call, a destination or a job")
    decisions.add_argument(
        "--kind",
        action="append",
        help="paused, resumed, limited, retried and the like; may be repeated",
    )


def _decisions(session: Session) -> int:
    options = session.options
    if options.of is not None:  # what is empty would be everything
        check_name(options.of)
    query = {"limit": options.limit, "target": options.of, "kind": options.kind}
    found = session.mspc.get("/v1/decisions", query)["decisions"]
    session.output.items(found, COLUMNS)
    return 0
