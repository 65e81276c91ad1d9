"""One path of the operators' door, as Falcon sees it."""

from collections.abc import Callable, Sequence
from urllib.parse import unquote

import falcon
import msgspec
from msgspec import Struct

from mspc.admin.guard import Guarded
from mspc.admin.keys import Right
from mspc.admin.reading import read_object, read_query
from mspc.admin.routes import Asked, Reply, Route
from mspc.api.accepting import take
from mspc.api.answers import MEDIA_TYPE
from mspc.api.reading import read_body

TEXT = "text/plain; charset=UTF-8"


class Endpoint(Guarded):
    """Has the routes of one path."""

    def __init__(self, routes: Sequence[Route], max_bytes: int) -> None:
        """`max_bytes`: of a body at most."""
        self._routes = {route.method: route for route in routes}
        self._max_bytes = max_bytes
        if "GET" in self._routes:
            self._routes["HEAD"] = self._routes["GET"]
        for method in self._routes:  # where Falcon looks for them
            setattr(self, f"on_{method.lower()}", self._serve)

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that there are, OPTIONS with them: Falcon answers it."""
        return (*self._routes, "OPTIONS")

    def needed(self, method: str) -> Right:
        route = self._routes.get(method)
        return super().needed(method) if route is None else route.right

    def _serve(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        route = self._routes[req.method]
        query = read_query(route.query, req.query_string)
        payload, body = b"", None
        if route.body is not None or route.payload:
            payload = read_body(req, self._max_bytes)
        if route.body is not None:
            body = read_object(route.body, payload)

        def taken(store: Callable[[bytes], str]) -> str:
            return take(store, req, payload)

        decoded = {name: unquote(text) for name, text in path.items()}
        asked = Asked(decoded, query, body, payload, req.context.who, taken)
        _answer(resp, route.handle(asked), route.answer)


def _answer(resp: falcon.Response, reply: Reply, kind: type[Struct] | str) -> None:
    resp.status = falcon.code_to_http_status(reply.status)
    if isinstance(reply.body, Struct):
        resp.content_type = MEDIA_TYPE
        resp.data = msgspec.json.encode(reply.body)
        return
    resp.content_type = TEXT if kind == "text/plain" else str(kind)
    if isinstance(reply.body, str):
        resp.data = reply.body.encode()
    else:
        resp.stream = reply.body
