"""The routes of calls: a list, one, its curl line, cancel, retry, and a new one."""

import base64
import builtins
import codecs
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from msgspec import convert, structs

from mspc.admin.curl import curl_line
from mspc.admin.cursor import read_cursor, write_cursor
from mspc.admin.guard import refuse_guessing
from mspc.admin.queries import (
    CallQuery,
    CallsQuery,
    CurlQuery,
    ReasonQuery,
    RetryBody,
)
from mspc.admin.routes import JOURNAL, Asked, Reply, Route
from mspc.admin.shapes import Batch, CallList, Done, Item, OneCall, shown_decision
from mspc.api import codes
from mspc.api.batch import take_all
from mspc.api.errors import Denied
from mspc.api.one_call import known
from mspc.api.shown import Showing, ShownCall
from mspc.calls import validation
from mspc.calls.batch import MOST_CALLS
from mspc.calls.masks import masked_headers
from mspc.calls.networks import NetworkRules
from mspc.calls.words import IN_FLIGHT
from mspc.errors import BadRequest
from mspc.journal.base import Filter, Seen, View
from mspc.steering.base import Steering

ONE = "/v1/calls/{call_id}"
_UNTIL = {
    "paused": "its destination is resumed",
    "held": "its destination answers again",
}
PAYLOAD = {
    "type": "object",
    "description": "A call, as for POST / of the calls' port.",
    "required": ["url"],
    "properties": {"url": {"type": "string"}},
}
MANY = {
    "type": "object",
    "required": ["calls"],
    "additionalProperties": False,
    "properties": {"calls": {"type": "array", "minItems": 1, "maxItems": MOST_CALLS}},
}


class CallRoutes:
    """Handles the routes below /v1/calls."""

    def __init__(
        self,
        view: View,
        steering: Steering,
        put_call: Callable[[bytes], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._view = view
        self._steering = steering
        self._put_call = put_call
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        yield Route(
            "GET",
            "/v1/calls",
            "Calls, newest first, a page of them.",
            CallList,
            self.list,
            "read",
            CallsQuery,
            errors=JOURNAL,
        )
        yield Route(
            "POST",
            "/v1/calls",
            "Takes a call, as POST / of the calls' port does.",
            Done,
            self.post,
            payload=PAYLOAD,
            status=202,
        )
        yield Route(
            "POST",
            "/v1/calls:batch",
            "Takes up to 500 calls.",
            Batch,
            self.batch,
            payload=MANY,
            status=202,
        )
        yield from self._routes_of_one()

    def _routes_of_one(self) -> Iterator[Route]:
        yield Route(
            "GET",
            ONE,
            "One call with its attempts.",
            OneCall,
            self.get,
            "read",
            CallQuery,
            errors=(404, *JOURNAL),
        )
        yield Route(
            "GET",
            f"{ONE}/curl",
            "Its request as a curl line, secrets masked.",
            "text/plain",
            self.curl,
            "read",
            CurlQuery,
            errors=(404, *JOURNAL),
        )
        yield Route(
            "DELETE",
            ONE,
            "Cancels it; also when it was cancelled before.",
            Done,
            self.cancel,
            "admin",
            ReasonQuery,
            errors=(404, 409, *JOURNAL),
        )
        yield Route(
            "POST",
            f"{ONE}/retry",
            "Has it made now, or later; a dead one begins again.",
            Done,
            self.retry,
            body=RetryBody,
            errors=(404, 409, *JOURNAL),
        )

    def list(self, asked: Asked) -> Reply:
        query: CallsQuery = asked.query
        refuse_guessing(asked.who, query.wanted())
        after = read_cursor(query.cursor, query) if query.cursor else None
        calls, following = self._page(query.wanted(), after, query.limit)
        cursor = None if following is None else write_cursor(following, query)
        return Reply(CallList(calls, cursor))

    def post(self, asked: Asked) -> Reply:
        return Reply(Done("Accepted", id=asked.take(self._put_call)), 202)

    def batch(self, asked: Asked) -> Reply:
        taken = take_all(self._put_call, asked.payload)
        items = convert(taken.items, builtins.list[Item])
        all_stored = taken.stored == len(items)
        return Reply(Batch(not all_stored, taken.message, items), 202)

    def get(self, asked: Asked) -> Reply:
        query: CallQuery = asked.query
        seen = known(self._view, asked.path["call_id"])
        showing = Showing(self._steering, answers=True, clock=self._clock)
        call = showing.call(seen, self._view.attempts(seen.id))
        decisions = tuple(map(shown_decision, self._view.decisions(seen.id)))
        more = self._request(seen) if query.include else {}
        whole = {**structs.asdict(call), "decisions": decisions, **more}
        return Reply(OneCall(**whole))

    def curl(self, asked: Asked) -> Reply:
        query: CurlQuery = asked.query
        reveal = query.reveal == "1"
        if reveal and asked.who != "admin":
            raise Denied(codes.READ_ONLY, "Secrets are shown with ADMIN_KEY only.")
        seen = known(self._view, asked.path["call_id"])
        if reveal:
            self._steering.revealed(seen.id, asked.who)
        return Reply(curl_line(seen, self._body(seen), reveal=reveal))

    def cancel(self, asked: Asked) -> Reply:
        query: ReasonQuery = asked.query
        call_id = asked.path["call_id"]
        self._steering.cancel(call_id, asked.who, query.reason or "")
        return Reply(Done("Cancelled", id=call_id))

    def retry(self, asked: Asked) -> Reply:
        body: RetryBody = asked.body
        delay, call_id = body.seconds, asked.path["call_id"]
        seen = known(self._view, call_id)
        self._steering.retry(call_id, asked.who, body.reason or "", delay)
        when = f"in {delay:g} s" if delay else "now"
        until = _UNTIL.get(self._steering.standing(seen.destination).state)
        told = f"It is due {when}, and made when {until}" if until else ""
        return Reply(Done(told or f"It is made {when}", id=call_id))

    def _page(
        self, wanted: Filter, after: int | None, limit: int
    ) -> tuple[builtins.list[ShownCall], int | None]:
        """So many calls at most, and where the next page begins."""
        showing = Showing(self._steering, answers=True, clock=self._clock)
        asked, states = with_flying(wanted, self._steering), wanted.states
        calls: builtins.list[ShownCall] = []
        for page in self._view.looks(asked, after, limit):
            shown = map(showing.call, page.calls)
            calls += [call for call in shown if not states or call.state in states]
            after = page.next
        return calls, after

    def _request(self, seen: Seen) -> dict[str, Any]:
        """Its headers and its body."""
        body = self._body(seen)
        complete = len(body) >= seen.body_bytes
        more: dict[str, Any] = {
            "headers": list(masked_headers(seen.headers)),
            "body_complete": complete,
        }
        # What is kept of it may end within a character.
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            more["body"] = decoder.decode(body, final=complete)
        except UnicodeDecodeError:
            more["body_base64"] = base64.b64encode(body).decode()
        return more

    def _body(self, seen: Seen) -> bytes:
        """Its body; of one that is done, as much as is kept."""
        if len(seen.body) >= seen.body_bytes:
            return seen.body
        for _, payload in self._steering.payloads([seen.id]):
            # Else it is sent as far as it can be: see calls/salvage.py.
            with suppress(BadRequest):
                return validation.parse(payload, NetworkRules(deny=())).body
        return seen.body


def with_flying(wanted: Filter, steering: Steering) -> Filter:
    """What to ask the journal for, which does not know what is in flight."""
    if IN_FLIGHT not in wanted.states:
        return wanted
    return replace(wanted, flying=tuple(steering.flying()))
