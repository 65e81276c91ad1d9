"""Which paths there are, and what may be asked of each."""

from collections.abc import Mapping
from typing import Any

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
