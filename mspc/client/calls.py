"""`mspc calls`: what became of calls; one or many are stopped, or made now."""

from collections.abc import Callable
from typing import Any

from mspc.client import jobs
from mspc.client.choosing import chosen, in_path
from mspc.client.decisions import COLUMNS as DECISIONS
from mspc.client.failures import NotFound, SaidNo, WrongUse
from mspc.client.grammar import JOB_STATES, Words, add_filter, add_job, add_later
from mspc.client.listing import list_calls
from mspc.client.moments import delay
from mspc.client.session import Session
from mspc.client.table import Column, Item, member

ATTEMPTS: tuple[Column, ...] = (
    ("attempt", member("number")),
    ("started", member("started_at")),
    ("ms", member("duration_ms")),
    ("status", member("status")),
    ("error", member("error")),
    ("text", member("text")),
    ("answer", member("answer")),
    ("decision", member("decision")),
)
_TABLES = (("attempts_log", ATTEMPTS), ("decisions", DECISIONS))


def add(words: Words) -> None:
    calls = words.noun("calls", "what became of calls, and what shall become of them")
    listing = calls.verb("list", _list, "calls, newest first")
    add_filter(listing)
    listing.add_argument("--limit", metavar="N", type=int, default=100)

    show = calls.verb("show", _show, "one call with its attempts")
    show.add_argument("id")
    show.add_argument("--body", action="store_true", help="with its body")

    curl = calls.verb("curl", _curl, "the call as a line for curl")
    curl.add_argument("id")
    told = "with its secrets; that is written down"
    curl.add_argument("--reveal", action="store_true", help=told)

    told = "make waiting calls now, or dead letters again"
    retry = calls.verb("retry", _retry, told)
    cancel = calls.verb("cancel", _cancel, "make calls no more")
    for verb in (retry, cancel):
        verb.add_argument("ids", nargs="*", metavar="ID", help="or a filter")
        add_filter(verb, JOB_STATES)
        add_job(verb, fast=verb is retry)
    add_later(retry)


def _list(session: Session) -> int:
    return list_calls(session, chosen(session.options, session.now()))


def _show(session: Session) -> int:
    query = {"include": "body"} if session.options.body else {}
    call: dict[str, Any] = session.mspc.get(_path(session.options.id), query)
    if session.options.form != "text":
        session.output.item(call)
        return 0
    tables = [(call.pop(name, ()), columns) for name, columns in _TABLES]
    body = call.pop("body", None)
    session.output.item(call)
    for items, columns in tables:
        if items:
            session.output.text("")
            session.output.items(items, columns)
    if body:
        session.output.text(f"\n{body}")
    return 0


def _curl(session: Session) -> int:
    query = {"reveal": 1} if session.options.reveal else {}
    line = session.mspc.text(f"{_path(session.options.id)}/curl", query)
    session.output.text(line.rstrip("\n"))
    return 0


def _retry(session: Session) -> int:
    if session.options.ids:
        return retry_each(session)
    return jobs.of_matching(session, "retry")


def _cancel(session: Session) -> int:
    if not session.options.ids:
        return jobs.of_matching(session, "cancel")
    query = {"reason": session.options.reason}
    return _each(session, lambda i: session.mspc.ask("DELETE", _path(i), query))


def retry_each(session: Session) -> int:
    """Makes the calls again that the option `ids` names; returns the exit code."""
    body = {"reason": session.options.reason}
    if session.options.later is not None:
        body["delay"] = delay(session.options.later)
    return _each(
        session, lambda i: session.mspc.ask("POST", f"{_path(i)}/retry", body=body)
    )


def _each(session: Session, ask: Callable[[str], Item]) -> int:
    """Goes on after a no; the exit code is that of the last one."""
    no_filter(session)
    _no_job(session)
    code = 0
    done: list[Item] = []
    try:
        for call_id in session.options.ids:
            try:
                done.append(ask(call_id))
            except (SaidNo, NotFound) as exc:
                session.say(f"{call_id}: {exc}")
                code = exc.exit_code
            else:
                _tell(session, call_id, done[-1])
    finally:  # also when nobody answers any more: these were done
        if session.options.form == "json":
            session.output.items(done, ())
    return code


def _tell(session: Session, call_id: str, answer: Item) -> None:
    """Of one that was done, at once; one JSON text has to wait for the others."""
    if session.options.form == "text":
        session.output.text(call_id)
    elif session.options.form == "jsonl":
        session.output.item(answer)


def no_filter(session: Session) -> None:
    """Raises WrongUse when there is one: ids were given."""
    options = session.options
    if options.all or options.dry_run or chosen(options, session.now()):
        raise WrongUse(
            "Ids, and no filter, --all or --dry-run: or the other way round."
        )


def _no_job(session: Session) -> None:
    """Raises WrongUse for what only a job heeds: else a service that somebody wants
    to spare gets all of them at once.
    """
    options = session.options
    if options.limit is not None or getattr(options, "per_second", None) is not None:
        raise WrongUse(
            "--limit and --per-second go with a filter, or --all: calls that are named"
            " are all done, and at once. Name fewer of them, or say which by a filter."
        )


def _path(call_id: str) -> str:
    return f"/v1/calls/{in_path(call_id)}"
