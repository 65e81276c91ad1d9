"""Destinations: how they stand, pauses and limits; dead letters by cause."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import falcon

from mspc.admin.spans import LONGEST_PERIOD_SECONDS
from mspc.calls.destination import destination_of, read_lane
from mspc.errors import NotPossible
from mspc.pages.desk import Page
from mspc.pages.forms import Form, first, read_form, reason, span, whole
from mspc.pages.looking import (
    ShownDestination,
    busiest,
    causes,
    shown_destination,
)
from mspc.pages.wording import utc
from mspc.steering.base import Limits

MOST_SHOWN = 100


Key = Callable[[ShownDestination], tuple[Any, ...]]
# By the word in the address; the first one is meant when it has none.
SORTS: dict[str, Key] = {
    "": lambda one: (one.state == "ok", -one.waiting - one.queued),
    "destination": lambda one: (one.destination,),
    "state": lambda one: (one.state, one.destination),
    "in_flight": lambda one: (one.in_flight, one.destination),
    "queued": lambda one: (one.queued, one.destination),
    "waiting": lambda one: (one.waiting, one.destination),
    "dead": lambda one: (one.dead, one.destination),
    "attempts": lambda one: (one.pace.attempts, one.destination),
    "oldest_due": lambda one: (
        one.oldest_due is None,
        one.oldest_due or 0.0,
        one.destination,
    ),
}
# The columns: what they are sorted by, which of them are numbers, what is behind one.
HEADS = (
    ("Destination", "destination", False, ""),
    ("State", "state", False, ""),
    ("In flight", "in_flight", True, ""),
    ("Queued", "queued", True, ""),
    ("Waiting", "waiting", True, ""),
    ("Dead", "dead", True, ""),
    (
        "Attempts",
        "attempts",
        False,
        "attempts a minute, and how many were answered 2xx, of the last 5 minutes",
    ),
    ("Oldest due", "oldest_due", False, ""),
    ("Limits", "", False, ""),
    ("Last result", "", False, ""),
)


class _OfDestinations(Page):
    here = "destinations"

    def _named(self, said: str, read: Callable[[str], str]) -> str:
        """The one that is meant; of some that are shown, the names are no addresses.

        Raises:
            HTTPBadRequest: it is none.
        """
        try:
            return read(said)
        except NotPossible as exc:
            desk = self.desk
            if said in desk.steering.glance() or desk.view.destinations(0, [said]):
                return said
            raise falcon.HTTPBadRequest(description=f"{exc}") from exc


class Destinations(_OfDestinations):
    """GET /destinations."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = (req.get_param("destination") or "").strip()
        if wanted:
            name = self._named(wanted, destination_of)
            self.go(req, resp, f"destinations/{falcon.uri.encode_value(name)}")
            return
        places = busiest(self.desk.view, self.desk.steering, MOST_SHOWN)
        by, down = _order(req.get_param("sort") or "")
        places.sort(key=SORTS[by], reverse=down)
        self.show(
            req,
            resp,
            "destinations.html",
            "Destinations",
            destinations=places[:MOST_SHOWN],
            heads=HEADS,
            by=by,
            down=down,
            most=MOST_SHOWN,
        )


class OneDestination(_OfDestinations):
    """GET /destinations/{key}; POST to pause, resume and limit it."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        name = self._named(unquote(key), read_lane)
        one = shown_destination(name, self.desk.view, self.desk.steering)
        self.show(
            req, resp, "destination.html", one.destination, one=one, why=_why(one)
        )

    def on_post_verb(
        self, req: falcon.Request, resp: falcon.Response, key: str, verb: str
    ) -> None:
        form, key = read_form(req), unquote(key)
        steering, who, why = self.desk.steering, req.context.who, reason(form)
        match verb:
            case "pause":
                seconds = span(form)
                until = None if seconds is None else time.time() + seconds
                steering.pause(key, who, until, why)
            case "resume":
                steering.resume(key, who, why)
            case "limits":
                steering.limit(key, who, _limits(form), why)
            case _:
                raise falcon.HTTPNotFound
        self.go(req, resp, f"destinations/{falcon.uri.encode_value(key)}")


class Dead(Page):
    """GET /dead: dead letters by cause."""

    here = "dead"

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        found = self.desk.view.groups()
        self.show(
            req,
            resp,
            "dead.html",
            "Dead letters",
            groups=causes(found[:MOST_SHOWN]),
            more=len(found) > MOST_SHOWN,
        )


def _order(said: str) -> tuple[str, bool]:
    """What the list is sorted by, and whether the last comes first: "-dead"."""
    by = said.removeprefix("-")
    return (by, by != said) if by in SORTS and by else ("", False)


def _limits(form: Form) -> Limits | None:
    """What a form asks for; None to take limits back.

    Raises:
        HTTPBadRequest: a number is none.
    """
    if first(form, "none"):
        return None
    rate, parallelism = whole(form, "rate"), whole(form, "parallelism")
    if rate is None and parallelism is None:
        return None
    try:
        period = float(first(form, "period") or 1)
    except ValueError as exc:
        raise falcon.HTTPBadRequest(description="period must be a number.") from exc
    if not 0.001 <= period <= LONGEST_PERIOD_SECONDS:
        told = "period must be a number of seconds from 0.001 to 86400."
        raise falcon.HTTPBadRequest(description=told)
    return Limits(rate, period, parallelism)


def _why(one: ShownDestination) -> str:
    """What its state means, for people."""
    if one.state == "paused":
        until = (
            f"until {utc(one.paused_until)}" if one.paused_until else "until resumed"
        )
        return f"Its calls are neither made nor aged, {until}."
    if one.state == "held":
        told = "It does not answer: its calls wait, and one now and then asks again"
        return (
            f"{told}, next at {utc(one.next_probe)}." if one.next_probe else f"{told}."
        )
    return ""
