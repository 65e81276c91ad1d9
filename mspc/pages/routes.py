"""Which pages there are."""

import time
from collections.abc import Callable

from mspc.admin.app import AdminApp
from mspc.pages.calls import Calls, OneCall
from mspc.pages.copies import Copies
from mspc.pages.desk import Desk, PageGuard
from mspc.pages.destinations import Dead, Destinations, OneDestination
from mspc.pages.entering import Login, Logout, Static
from mspc.pages.jobs import Decisions, Jobs, OneJob
from mspc.pages.overview import Overview
from mspc.pages.sending import Send

GET, POST = ("GET", "HEAD"), ("POST",)


def add_pages(
    app: AdminApp, desk: Desk, clock: Callable[[], float] = time.monotonic
) -> None:
    """Adds every page to the operators' door, and who is let in.

    Args:
        app: of the door.
        desk: what pages are made from.
        clock: seconds that never step back.
    """
    app.add_middleware([PageGuard(desk.logins), Copies(clock)])
    call, destination, job = OneCall(desk), OneDestination(desk), OneJob(desk)
    pages = (
        ("/", Overview(desk), GET, None),
        ("/login", Login(desk), GET + POST, None),
        ("/logout", Logout(desk), POST, None),
        ("/static/{name}", Static(), GET, None),
        ("/calls", Calls(desk), GET + POST, None),
        ("/calls/{call_id}", call, GET, None),
        ("/calls/{call_id}/reveal", call, POST, "reveal"),
        ("/calls/{call_id}/{verb}", call, POST, "verb"),
        ("/dead", Dead(desk), GET, None),
        ("/destinations", Destinations(desk), GET, None),
        ("/destinations/{key}", destination, GET, None),
        ("/destinations/{key}/{verb}", destination, POST, "verb"),
        ("/bulk", Jobs(desk), GET + POST, None),
        ("/bulk/{job_id}", job, GET, None),
        ("/bulk/{job_id}/stop", job, POST, "stop"),
        ("/decisions", Decisions(desk), GET, None),
        ("/send", Send(desk), GET + POST, None),
    )
    for path, resource, methods, suffix in pages:
        app.allowed[path] = methods
        # The door has all its paths with the last one. Whoever came first would wait
        # until they are compiled, and with him all calls.
        app.add_route(path, resource, suffix=suffix, compile=path == pages[-1][0])
