"""Calls: a list of them, one of them, and what can be done to one or many."""

from dataclasses import replace
from urllib.parse import unquote

import falcon

from mspc.admin.calls import with_flying
from mspc.admin.curl import curl_line
from mspc.admin.cursor import read_cursor, write_cursor
from mspc.admin.guard import refuse_guessing
from mspc.admin.queries import CallFilter, CallsQuery
from mspc.admin.reading import read_query
from mspc.api.shown import Showing, rfc3339
from mspc.calls.masks import masked_headers
from mspc.calls.words import ERRORS, REASONS, STATES
from mspc.errors import NoSuchCall
from mspc.journal.base import Filter
from mspc.pages.bodies import shown_body
from mspc.pages.desk import Page
from mspc.pages.forms import delay, first, query_of, read_form, selected
from mspc.pages.looking import ShownCall, shown_call
from mspc.pages.wording import utc
from mspc.steering.base import Action, Plan
from mspc.steering.reach import STATES as STATES_OF

PAGE_CALLS = 50
MOST_SHOWN = 5  # of those that were selected
USUAL_CALLS = 1000  # of a job, when nobody has counted all that match
VERBS = {"retry": "Retry", "cancel": "Cancel", "delete": "Delete"}
_MEANINGS = {
    "retry": "Dead letters are made again from their first attempt, and calls that"
    " wait as soon as they can.",
    "cancel": "They are not made any more.",
    "delete": "Dead letters are gone for good.",
}
_PAST = {"retry": "retried", "cancel": "cancelled", "delete": "deleted"}


class Calls(Page):
    """GET /calls: a list. POST: what a job would do to those chosen."""

    here = "calls"

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        query = read_query(CallsQuery, _given(req))
        wanted = query.wanted()
        refuse_guessing(req.context.who, wanted)
        after = read_cursor(query.cursor, query) if query.cursor else None
        asked = with_flying(wanted, self.desk.steering)
        page = self.desk.view.calls(asked, after, PAGE_CALLS)
        showing = Showing(self.desk.steering, answers=True)
        counts = self.desk.view.tally().states
        more = ""
        if page.next is not None:
            # Its dates may be coarser than those that were asked for.
            following = read_query(CallsQuery, query_of(wanted))
            more = query_of(wanted, cursor=write_cursor(page.next, following))
        self.show(
            req,
            resp,
            "calls.html",
            "Calls",
            calls=[shown_call(one, showing) for one in page.calls],
            filter=wanted,
            filtered=bool(query_of(wanted)),
            dates=_dates(wanted),
            query=query_of(wanted),
            more=more,
            newest=query_of(wanted) or "state=" if query.cursor else "",
            tabs=_tabs(wanted, counts, self.desk.in_flight()),
            errors=ERRORS,
            reasons=REASONS,
        )

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = read_form(req)
        everything = first(form, "all")
        action = action_of(everything or first(form, "action"))
        query = first(form, "query")
        ids = [] if everything else list(filter(None, selected(form)))
        wanted = fitting(action, read_query(CallFilter, query).wanted())
        if not (ids or everything):
            told = "No call is selected: go back and tick some."
            raise falcon.HTTPBadRequest(description=told)
        if ids:
            ids = self.desk.steering.named(action, ids)
            plan = Plan(len(ids), False, ids[:MOST_SHOWN])
        else:
            plan = self.desk.steering.plan(action, wanted, soon=True)
        self.show(
            req,
            resp,
            "plan.html",
            VERBS[action],
            verb=VERBS[action],
            meaning=_MEANINGS[action],
            past=_PAST[action],
            action=action,
            plan=plan,
            ids=ids,
            query=query,
            what="" if ids else query_of(wanted),
            limit=len(ids) or _limit(plan),
        )


class OneCall(Page):
    """GET /calls/{id}; POST to show its secrets."""

    here = "calls"

    def on_get(self, req: falcon.Request, resp: falcon.Response, call_id: str) -> None:
        self._show(req, resp, unquote(call_id), revealed=False)

    def on_post_reveal(
        self, req: falcon.Request, resp: falcon.Response, call_id: str
    ) -> None:
        self._show(req, resp, unquote(call_id), revealed=True)

    def on_post_verb(
        self, req: falcon.Request, resp: falcon.Response, call_id: str, verb: str
    ) -> None:
        steering, who = self.desk.steering, req.context.who
        call_id = unquote(call_id)
        match verb:
            case "retry":
                steering.retry(call_id, who, delay=delay(read_form(req)))
            case "cancel":
                steering.cancel(call_id, who)
            case "delete":
                steering.begin("delete", [call_id], who)
                self.go(req, resp, "dead")
                return
            case _:
                raise falcon.HTTPNotFound
        self.go(req, resp, f"calls/{falcon.uri.encode_value(call_id)}")

    def _show(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        call_id: str,
        *,
        revealed: bool,
    ) -> None:
        view = self.desk.view
        seen = view.call(call_id)
        if seen is None:
            raise NoSuchCall(f"{call_id} is not known: it may be too old, or misspelt.")
        if revealed:  # nothing is shown of which nobody could learn
            self.desk.steering.revealed(seen.id, req.context.who)
        showing = Showing(self.desk.steering, answers=True)
        call = shown_call(seen, showing)
        headers = seen.headers if revealed else masked_headers(seen.headers)
        body, told = shown_body(seen)
        self.show(
            req,
            resp,
            "call.html",
            f"{call.method} {call.url}",
            call=call if not revealed else replace(call, url=seen.url),
            why=why(call),
            attempts=view.attempts(call_id),
            headers=headers,
            body=body,
            body_told=told,
            curl=curl_line(seen, seen.body, reveal=revealed),
            revealed=revealed,
        )


def action_of(word: str) -> Action:
    """
    Raises:
        HTTPBadRequest: it is none.
    """
    for action in STATES_OF:
        if action == word:
            return action
    raise falcon.HTTPBadRequest(description="Nobody knows what is to be done.")


def fitting(action: Action, wanted: Filter) -> Filter:
    """What of the calls that are wanted an action is for."""
    states = STATES_OF[action]
    if wanted.states:
        states &= wanted.states
    return replace(wanted, states=states or frozenset({"none"}))


def why(call: ShownCall) -> str:
    """Why the next attempt comes when it does; empty when there is none to come."""
    if call.cut_off_at is not None:
        return (
            "mspc was killed, or could not write its journal, and nothing was heard of"
            f" the call since {utc(call.cut_off_at)}: it may have ended before."
        )
    if call.held == "paused":
        return "Its destination is paused: it goes on when somebody resumes it."
    if call.held == "breaker":
        return "Its destination does not answer; one call now and then asks again."
    if call.held == "rate":
        return "Its destination gets no more calls at once than its limits allow."
    if call.state == "in_flight":
        return "An attempt is being made now."
    if call.state == "waiting" and call.last is None:
        return "It waits for its first attempt, which was asked for no sooner."
    if call.state == "waiting":
        return f"Attempt {call.attempts} failed, and it waits for the next one."
    if call.state == "queued":
        return "It is made as soon as it has its turn."
    return ""


def _limit(plan: Plan) -> int:
    """How many calls a job is for unless somebody says otherwise."""
    return max(plan.matched, USUAL_CALLS) if plan.more else max(plan.matched, 1)


def _given(req: falcon.Request) -> str:
    """The query, without the fields that a form sends though they are empty."""
    pairs = req.query_string.split("&")
    return "&".join(pair for pair in pairs if not pair.endswith("="))


def _dates(wanted: Filter) -> dict[str, str]:
    """The dates of a filter that a form keeps though it does not show them."""
    dates = {"created_after": wanted.created_after}
    dates |= {"created_before": wanted.created_before}
    return {name: rfc3339(at) for name, at in dates.items() if at is not None}


def _tabs(
    wanted: Filter, counts: dict[str, int], in_flight: int
) -> list[dict[str, object]]:
    """A tab for each state, with how many there are, and one for all."""
    values = {name: getattr(wanted, name) for name in wanted.__slots__}
    tabs: list[dict[str, object]] = []
    for state in ("", *STATES):
        states = frozenset({state}) if state else frozenset()
        query = query_of(Filter(**values | {"states": states}))
        count = in_flight if state == "in_flight" else counts.get(state, 0)
        tabs.append(
            {
                "name": state.replace("_", " ") or "all",
                "query": query,
                "here": wanted.states == states,
                "count": count if state else None,
            }
        )
    return tabs
