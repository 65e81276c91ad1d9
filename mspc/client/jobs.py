"""Many calls at once: what it would reach is shown, somebody says yes, it is done."""

from collections.abc import Mapping
from typing import Any

from mspc.client.choosing import check_name, chosen, in_path
from mspc.client.failures import INTERRUPTED, Failure, NotFound, WrongUse
from mspc.client.moments import delay
from mspc.client.session import Session
from mspc.client.table import Column, member

COLUMNS: tuple[Column, ...] = (
    ("id", member("id")),
    ("action", member("action")),
    ("status", member("status")),
    ("matched", member("matched")),
    ("done", member("done")),
    ("failed", member("failed")),
    ("started", member("started_at")),
    ("reason", member("reason")),
)
USUAL_LIMIT = 1000
LOOK_SECONDS = 0.5
SHOWN = 5


def of_matching(
    session: Session, action: str, always: Mapping[str, object] | None = None
) -> int:
    """Does `action` to the calls that the options name; returns the exit code.

    Args:
        session: with the options of grammar.add_filter and add_job.
        action: `retry`, `cancel` or `delete`.
        always: a part of the filter that is not for the options to say.
    """
    options = session.options
    wanted = chosen(options, session.now())
    if wanted and options.all:
        raise WrongUse("A filter and --all do not go together: leave one of them out.")
    if not (wanted or options.all):
        raise WrongUse(f"Which calls? Without a filter, --all is needed to {action}.")
    # What is wrong with it is told before anything is asked.
    how = {"limit": USUAL_LIMIT, **_how(session)}
    wanted = {**wanted, **(always or {})}
    if not (options.yes or options.dry_run):
        _somebody_must_be_there(session)
    body: dict[str, object] = {"action": action, "filter": wanted}
    plan = session.mspc.ask("POST", "/v1/bulk/plan", body=body)
    _show(session, action, plan, how["limit"])
    if options.dry_run:
        session.output.item({"action": action, **plan})
        return 0
    if not plan["matched"]:
        session.output.items([], COLUMNS)  # no job: an empty list where JSON is wanted
        return 0
    if not wanted:
        body["all"] = True
    question = f"{action.capitalize()} them?"
    return _decide(session, question, {**body, **how})


def of_ids(session: Session, action: str, ids: list[str]) -> int:
    """The same for calls that are named."""
    for call_id in ids:
        check_name(call_id)
    if not session.options.yes:
        _somebody_must_be_there(session)
    question = f"{action.capitalize()} {len(ids)}?"
    body = {"action": action, "ids": ids, **_how(session)}
    return _decide(session, question, body)


def _somebody_must_be_there(session: Session) -> None:
    if not session.can_ask:
        raise WrongUse("Nobody can be asked here: --yes does it without a question.")


def _how(session: Session) -> dict[str, Any]:
    options = session.options
    later = getattr(options, "later", None)
    how = {
        "limit": options.limit,
        "per_second": getattr(options, "per_second", None),
        "delay": None if later is None else delay(later),
        "reason": options.reason,
    }
    # Not without a 0: it says "now".
    return {name: value for name, value in how.items() if value not in (None, "")}


def _show(session: Session, action: str, plan: Mapping[str, Any], limit: int) -> None:
    number = f"{plan['matched']}{' and more' if plan.get('more') else ''}"
    session.say(f"{number} to {action}.")
    for one in plan["sample"][:SHOWN]:
        session.say(f"    {_example(session, one)}")
    if plan["matched"] > limit:
        session.say(f"{limit} of them at once, and no more: --limit says how many.")


def _example(session: Session, call_id: str) -> str:
    try:
        call = session.mspc.get(f"/v1/calls/{in_path(call_id)}")
    except NotFound:  # it has gone meanwhile
        return call_id
    return f"{call_id} {call['state']} {call['method']} {call['url']}"


def _decide(session: Session, question: str, body: Mapping[str, object]) -> int:
    if not session.options.yes and not session.ask(question):
        session.say("Nothing was done.")
        return 1
    return _follow(session, session.mspc.ask("POST", "/v1/bulk", body=body))


def _follow(session: Session, job: Mapping[str, Any]) -> int:
    """Until the job has ended; without us it goes on."""
    try:
        while job["status"] == "running":
            session.progress(f"{job['done']} done, {job['failed']} not reached")
            session.sleep(LOOK_SECONDS)
            job = session.mspc.get(f"/v1/bulk/{job['id']}")
    except (KeyboardInterrupt, Failure) as exc:
        session.progress("")
        session.say(
            f"The job goes on: `mspc bulk show {job['id']}` looks at it, `mspc bulk"
            f" stop {job['id']}` ends it."
        )
        if isinstance(exc, Failure):
            raise
        return INTERRUPTED
    session.progress("")
    session.output.items([job], COLUMNS)
    return _judge(session, job)


def _judge(session: Session, job: Mapping[str, Any]) -> int:
    if job["failed"]:
        session.say(
            f"{job['failed']} were not reached: they were not, or no longer, what this"
            " is for."
        )
    if job["status"] != "done":
        session.say(f"The job is {job['status']}: the rest is as it was.")
    return 0 if job["status"] == "done" and not job["failed"] else 1
