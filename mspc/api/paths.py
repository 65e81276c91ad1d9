"""Which paths there are, and what may be asked of each."""

from collections.abc import Mapping
from typing import Any, ClassVar

import falcon

ALLOWED = {
    "/": ("POST",),
    "/v1/calls": ("POST",),
    "/v1/calls:batch": ("POST",),
    # An id that another producer chose may have a slash in it.
    "/v1/calls/{call_id:path}": ("GET", "HEAD", "DELETE"),
    "/health/live": ("GET", "HEAD"),
    "/health/ready": ("GET", "HEAD"),
}


class App(falcon.App[Any, Any]):
    """Falcon's, to which WEBSOCKET is a method like any other that nothing here takes.

    Falcon has it stand for a handshake with its other kind of app. Here it refuses it
    before it looks at the path, and has only the second half of the middleware run.
    """

    _META_METHODS: ClassVar[frozenset[str]] = frozenset()


class ExactPaths:
    """Falcon middleware: 404 where Falcon would take // for /."""

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        params: Mapping[str, Any],
    ) -> None:
        template = req.uri_template or ""
        if params:
            template = template.replace(":path}", "}").format_map(params)
        if req.path != template:
            raise falcon.HTTPNotFound
