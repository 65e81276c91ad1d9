"""GET /metrics: open to this machine, with READ_KEY to others."""

import ipaddress
from collections.abc import Callable

import falcon

from mspc.admin.app import AdminApp
from mspc.admin.keys import Keys

Render = Callable[[], bytes]

# prometheus_client.exposition.CONTENT_TYPE_PLAIN_1_0_0, which is imported when somebody
# asks.
MEDIA_TYPE = "text/plain; version=1.0.0; charset=utf-8"

# What a proxy on this machine puts in: then the client is somebody else.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


def add_metrics(app: AdminApp, render: Render, keys: Keys) -> None:
    """Adds /metrics to the operators' door."""
    app.allowed["/metrics"] = ("GET", "HEAD")
    app.add_route("/metrics", MetricsResource(render, keys))


class MetricsResource:
    """GET /metrics."""

    def __init__(self, render: Render, keys: Keys) -> None:
        self._render = render
        self._keys = keys

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        if not (_is_local(req) or self._keys.right(req.get_header("Authorization"))):
            raise falcon.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        resp.content_type = MEDIA_TYPE
        resp.data = self._render()

    on_head = on_get


def _is_local(req: falcon.Request) -> bool:
    if any(req.get_header(name) is not None for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(req.remote_addr)
    except ValueError:
        return False
    # One socket for both families has IPv4 clients as ::ffff:127.0.0.1.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
