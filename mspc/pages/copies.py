"""Pages that stay fresh by themselves are made once for all who look at the same time.

Twenty open overviews ask four times a second, and while one is made, calls wait. The
script says so when it refreshes a page; whoever comes to a page, or back to it, gets
one of that moment.
"""

from collections.abc import Callable
from typing import Any

import falcon

from mspc.pages.desk import Page

REFRESH = "X-Refresh"
# Beside the five seconds from one refresh of a page to the next.
KEPT_SECONDS = 2.0
MOST_KEPT = 32
LOOKING = ("GET", "HEAD")

Copy = tuple[float, bytes, dict[str, str]]


class Copies:
    """Falcon middleware, behind the guard: whom that lets in gets a copy, if there is
    one for somebody with the same right.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """
        Args:
            clock: seconds that never step back.
        """
        self._clock = clock
        self._copies: dict[object, Copy] = {}

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: Any
    ) -> None:
        if not _is_shared(req, resource):
            return
        found = self._copies.get(_key(req))
        if found is not None and self._clock() - found[0] < KEPT_SECONDS:
            _, resp.data, headers = found
            resp.set_headers(headers)
            resp.complete = True
        else:
            req.context.copies = self._copies

    def process_response(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        req_succeeded: bool,
    ) -> None:
        if req.method not in LOOKING:
            # Whoever changes something sees it on each page from now on. What is being
            # made meanwhile goes where nobody looks any more.
            self._copies = {}
        copies: dict[object, Copy] | None = getattr(req.context, "copies", None)
        if copies is not None and resp.status == falcon.HTTP_200 and resp.data:
            if len(copies) >= MOST_KEPT:
                copies.clear()
            copies[_key(req)] = self._clock(), resp.data, resp.headers


def _is_shared(req: falcon.Request, resource: object) -> bool:
    return (
        req.method == "GET"
        and isinstance(resource, Page)
        and not resource.open_to_all
        and req.get_header(REFRESH) is not None
    )


def _key(req: falcon.Request) -> object:
    """What a page depends on beside what there is to look at."""
    return req.context.right, req.path, req.query_string
