"""`mspc dead`: the calls that were given up."""

from mspc.client import jobs
from mspc.client.calls import no_filter, retry_each
from mspc.client.choosing import chosen
from mspc.client.grammar import Words, add_filter, add_job, add_later
from mspc.client.listing import list_calls
from mspc.client.session import Session
from mspc.client.table import Column, member

DEAD = {"state": ["dead"]}
GROUPS: tuple[Column, ...] = (
    ("count", member("count")),
    ("destination", member("destination")),
    ("reason", member("reason")),
    ("status", member("status")),
    ("error", member("error")),
    ("first", member("first_at")),
    ("last", member("last_at")),
    ("latest", member("latest_id")),
    ("answer", member("answer")),
)


def add(words: Words) -> None:
    dead = words.noun("dead", "calls that were given up: dead letters")
    dead.verb("groups", _groups, "how many there are of each cause")

    listing = dead.verb("list", _list, "dead letters, newest first")
    add_filter(listing, states=())
    listing.add_argument("--limit", metavar="N", type=int, default=100)

    retry = dead.verb("retry", _retry, "make them again, from their first attempt")
    delete = dead.verb("delete", _delete, "delete them for good")
    for verb in (retry, delete):
        verb.add_argument("ids", nargs="*", metavar="ID", help="or a filter")
        add_filter(verb, states=())
        add_job(verb, fast=verb is retry)
    add_later(retry)


def _groups(session: Session) -> int:
    session.output.items(session.mspc.get("/v1/dead/groups")["groups"], GROUPS)
    return 0


def _list(session: Session) -> int:
    return list_calls(session, {**chosen(session.options, session.now()), **DEAD})


def _retry(session: Session) -> int:
    if session.options.ids:
        return retry_each(session)
    return jobs.of_matching(session, "retry", DEAD)


def _delete(session: Session) -> int:
    if session.options.ids:
        no_filter(session)
        return jobs.of_ids(session, "delete", session.options.ids)
    return jobs.of_matching(session, "delete", DEAD)
