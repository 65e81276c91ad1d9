"""What the pages are made from, and the one way to a page."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import falcon

from mspc.journal.base import View
from mspc.pages.login import ADMIN, COOKIE_SECONDS, Logins
from mspc.pages.rendering import POLICY, Templates
from mspc.steering.base import Steering

HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Desk:
    """What there is to look at, and whom to ask for something.

    Attributes:
        view: what became of calls.
        steering: has things done.
        logins: who is who.
        templates: of the pages.
        problem: why the service is not ready; None when it is.
        remark: what somebody who looks should know although it is.
        in_flight: attempts that run now.
        spooled: calls that wait for RabbitMQ to take them; None where none can.
        send: stores a call, given its JSON; returns its id. Raises BadRequest and
            QueueUnavailable.
        engine: `embedded queue` or `RabbitMQ`.
    """

    view: View
    steering: Steering
    logins: Logins
    templates: Templates
    problem: Callable[[], str | None]
    remark: Callable[[], str | None]
    in_flight: Callable[[], int]
    spooled: Callable[[], int | None]
    send: Callable[[bytes], str]
    engine: str


class Page:
    """A page, for whoever has logged in; POST for whoever may change something."""

    here = ""
    open_to_all = False
    on_head: Any

    def __init_subclass__(cls) -> None:
        if "on_get" in vars(cls):  # the same, of which Falcon sends no body
            cls.on_head = vars(cls)["on_get"]

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def show(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        template: str,
        title: str,
        **values: Any,
    ) -> None:
        """Fills the answer with a page."""
        right = getattr(req.context, "right", None)
        resp.content_type = HTML
        resp.set_header("Content-Security-Policy", POLICY)
        resp.set_header("Referrer-Policy", "same-origin")
        resp.data = self.desk.templates.render(
            template,
            root=root_of(req),
            title=title,
            still=req.method == "POST",  # its address is none to be fetched again
            here=self.here,
            right=right,
            may_write=right == ADMIN,
            engine=self.desk.engine,
            scope=self.desk.view.scope,
            **{"told": "", "told_wrong": False, **values},
        )

    def trouble(
        self, req: falcon.Request, resp: falcon.Response, status: str, sentence: str
    ) -> None:
        """Fills the answer with what went wrong."""
        resp.status = status
        title = status.partition(" ")[2]
        self.show(req, resp, "trouble.html", title, sentence=sentence)

    def go(self, req: falcon.Request, resp: falcon.Response, to: str) -> None:
        """Sends the browser to another page, below the prefix."""
        resp.status = falcon.HTTP_303
        resp.set_header("Location", f"{root_of(req)}{to}")


class PageGuard:
    """Falcon middleware: pages are for whoever has a cookie, and says so to others."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: Any
    ) -> None:
        if not isinstance(resource, Page):
            return
        req.context.tell = partial(resource.trouble, req)
        value = req.get_cookie_values(self._logins.cookie_name)
        right = self._logins.check(value[0]) if value else None
        req.context.right = right
        req.context.who = right
        if resource.open_to_all:
            return
        if right is None:
            there = _asked_for(req) if req.method == "GET" else ""
            query = f"?next={falcon.uri.encode_value(there)}" if there else ""
            raise falcon.HTTPSeeOther(f"{root_of(req)}login{query}")
        if req.method == "POST" and right != ADMIN:
            raise falcon.HTTPForbidden(
                title="Read only",
                description="READ_KEY may look only: log in with ADMIN_KEY for this.",
            )


def _asked_for(req: falcon.Request) -> str:
    """Path and query below the overview; empty for the overview itself."""
    path = req.path.lstrip("/")
    return f"{path}?{req.query_string}" if path and req.query_string else path


def set_cookie(
    req: falcon.Request, resp: falcon.Response, logins: Logins, right: str
) -> None:
    """For this browser and this site only, for twelve hours."""
    resp.set_cookie(
        logins.cookie_name,
        logins.cookie(right),
        max_age=COOKIE_SECONDS,
        http_only=True,
        same_site="Strict",
        secure=req.forwarded_scheme == "https",
        path="/",
    )


def root_of(req: falcon.Request) -> str:
    """From the page to the overview, whatever a proxy puts in front."""
    return "../" * (req.path.count("/") - 1) or "./"
