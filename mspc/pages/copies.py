"""Pages that stay fresh by themselves are made once for all who look at the same time.

Twenty open overviews ask four times a second, and while one is made, calls wait. The
script says so when it refreshes a page; whoever comes to a page, or back to it, gets
one of that moment.
"""

from collections.abc import Callable, Mapping
from typing import Any

import falcon

from mspc.pages.desk import Page

REFRESH = "X-Refresh"
# Beside the five seconds from one refresh of a page to the next.
KEPT_SECONDS = 2.0
MOST_KEPT = 32

Copy = tuple[float, bytes, Mapping[str, str]]


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
        if req.method == "POST":
            # Whoever changes something sees it on each page from now on.
            self._copies.clear()
        elif _is_shared(req, resource):
            found = self._copies.get(_key(req))
            if found is not None and self._clock() - found[0] < KEPT_SECONDS:
                resp.data = found[1]
                resp.set_headers(dict(found[2]))
                resp.complete = True

    def process_response(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        req_succeeded: bool,
    ) -> None:
        if resp.complete or not req_succeeded or not _is_shared(req, resource):
            return
        if resp.status == falcon.HTTP_200 and resp.data:
            if len(self._copies) >= MOST_KEPT:
                self._copies.clear()
            self._copies[_key(req)] = self._clock(), resp.data, resp.headers


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
