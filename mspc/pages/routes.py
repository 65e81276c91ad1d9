"""Which pages there are, and what becomes of an exception on one of them."""

from collections.abc import Callable
from typing import Any

import falcon

from mspc.errors import (
    JournalUnavailable,
    MspcError,
    NoSuchCall,
    NotPossible,
    QueueError,
)
from mspc.pages.calls import Calls, OneCall
from mspc.pages.desk import Desk, Page
from mspc.pages.destinations import Dead, Destinations, OneDestination
from mspc.pages.entering import Login, Logout, Static
from mspc.pages.jobs import Decisions, Jobs, OneJob
from mspc.pages.overview import Overview
from mspc.pages.sending import Send

STATUSES: dict[type[MspcError], str] = {
    NoSuchCall: falcon.HTTP_404,
    NotPossible: falcon.HTTP_409,
    JournalUnavailable: falcon.HTTP_501,
    QueueError: falcon.HTTP_503,
}


def add_pages(app: falcon.App[Any, Any], desk: Desk) -> None:
    """Adds every page; their guard is middleware of the app."""
    app.add_route("/", Overview(desk))
    app.add_route("/login", Login(desk))
    app.add_route("/logout", Logout(desk))
    app.add_route("/static/{name}", Static())
    app.add_route("/calls", Calls(desk))
    app.add_route("/calls/{call_id}", OneCall(desk))
    app.add_route("/calls/{call_id}/reveal", OneCall(desk), suffix="reveal")
    app.add_route("/calls/{call_id}/{verb}", OneCall(desk), suffix="verb")
    app.add_route("/dead", Dead(desk))
    app.add_route("/destinations", Destinations(desk))
    app.add_route("/destinations/{key}", OneDestination(desk))
    app.add_route("/destinations/{key}/{verb}", OneDestination(desk), suffix="verb")
    app.add_route("/bulk", Jobs(desk))
    app.add_route("/bulk/{job_id}", OneJob(desk))
    app.add_route("/bulk/{job_id}/stop", OneJob(desk), suffix="stop")
    app.add_route("/decisions", Decisions(desk))
    app.add_route("/send", Send(desk))


class Troubles:
    """Turns what went wrong on a page into a page; on other resources, into JSON."""

    def __init__(self, desk: Desk) -> None:
        self._page = Page(desk)

    def show(
        self, req: falcon.Request, resp: falcon.Response, status: str, sentence: str
    ) -> None:
        resp.status = status
        title = status.partition(" ")[2]
        self._page.show(req, resp, "trouble.html", title, sentence=sentence)


Handler = Callable[[falcon.Request, falcon.Response, Exception, Any], None]
