"""`mspc bulk`: jobs with many calls, begun here or elsewhere."""

from mspc.client.choosing import in_path
from mspc.client.grammar import Words
from mspc.client.jobs import COLUMNS
from mspc.client.session import Session


def add(words: Words) -> None:
    bulk = words.noun("bulk", "jobs with many calls")
    bulk.verb("list", _list, "jobs, newest first")
    for verb in (
        bulk.verb("show", _show, "how far one is"),
        bulk.verb("stop", _stop, "end one; what is done stays done"),
    ):
        verb.add_argument("id")


def _list(session: Session) -> int:
    session.output.items(session.mspc.get("/v1/bulk")["jobs"], COLUMNS)
    return 0


def _show(session: Session) -> int:
    session.output.item(session.mspc.get(f"/v1/bulk/{in_path(session.options.id)}"))
    return 0


def _stop(session: Session) -> int:
    path = f"/v1/bulk/{in_path(session.options.id)}"
    session.output.item(session.mspc.ask("DELETE", path))
    return 0
