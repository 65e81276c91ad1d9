"""The Falcon app of the operators' door: all its routes, and who is let in."""

import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from mspc.admin.bulk import BulkRoutes
from mspc.admin.calls import CallRoutes
from mspc.admin.destinations import DestinationRoutes
from mspc.admin.endpoint import Endpoint
from mspc.admin.export import ExportRoutes
from mspc.admin.guard import Guard, OwnHosts
from mspc.admin.keys import Keys
from mspc.admin.openapi import OpenApiRoute
from mspc.admin.routes import Route
from mspc.admin.stats import Health, StatsRoutes
from mspc.api.errors import add_error_handlers
from mspc.api.health import HealthResource
from mspc.api.paths import App, ExactPaths
from mspc.api.refusals import Refusals
from mspc.journal.base import View
from mspc.settings.config import AdminConfig
from mspc.steering.base import Steering

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_HEALTH = ("GET", "HEAD")


class AdminApp(App):
    """Paths are taken as they were sent: a destination has slashes.

    Attributes:
        allowed: the methods of each path; whoever adds a route adds them.
    """

    def __init__(self, prefix: str, middleware: Iterable[Any]) -> None:
        """`prefix`: the app answers below it too; empty, or as ADMIN_PREFIX is."""
        super().__init__(middleware=middleware)
        self._prefix = prefix
        self.allowed: dict[str, tuple[str, ...]] = {}

    def __call__(
        self, env: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        path, mark, query = env["REQUEST_URI"].partition("?")
        if self._prefix and path == self._prefix:  # pages are named from a slash on
            to = f"{self._prefix.rpartition('/')[2]}/{mark}{query}"
            start_response("308 Permanent Redirect", [("Location", to)])
            return [b""]
        if self._prefix and f"{path}/".startswith(f"{self._prefix}/"):
            path = path[len(self._prefix) :] or "/"
            env["SCRIPT_NAME"] = self._prefix
        env["PATH_INFO"] = path
        return super().__call__(env, start_response)


def create_admin_app(
    config: AdminConfig,
    key: str,
    view: View,
    steering: Steering,
    put_call: Callable[[bytes], str],
    health: Health,
    max_bytes: int,
    clock: Callable[[], float] = time.time,
    names: Iterable[str] = (),
    header: str = "X-Authorization",
) -> AdminApp:
    """The WSGI application.

    Args:
        config: under which name it is found; and who may look.
        key: who may do everything; see keys.admin_key().
        view: what is known of calls.
        steering: what may be done to them.
        put_call: stores a call and returns its id, as Acceptance.take does.
        health: how this instance is.
        max_bytes: of a body, MAX_REQUEST_BYTES.
        clock: Unix seconds.
        names: of this machine, besides localhost, ADMIN_HOST and ADMIN_NAMES.
        header: AUTHORIZATION_HEADER, for the document of the calls' port.
    """
    guard = Guard(Keys(key, config.read_key), Refusals("requests", clock))
    middleware = [OwnHosts(config.host, *config.names, *names), ExactPaths(), guard]
    app = AdminApp(config.prefix, middleware)
    for path, routes in by_path(
        admin_routes(view, steering, put_call, health, config.prefix, clock, header)
    ).items():
        endpoint = Endpoint(routes, max_bytes)
        app.allowed[path] = endpoint.methods
        app.add_route(path, endpoint)
    for path, resource in (
        ("/health/live", HealthResource("Alive")),
        ("/health/ready", HealthResource("Ready", health.problem, health.remark)),
    ):
        app.allowed[path] = _HEALTH
        app.add_route(path, resource)
    add_error_handlers(app, max_bytes, app.allowed)
    return app


def admin_routes(
    view: View,
    steering: Steering,
    put_call: Callable[[bytes], str],
    health: Health,
    prefix: str = "",
    clock: Callable[[], float] = time.time,
    header: str = "X-Authorization",
) -> list[Route]:
    """Every route: the one table of paths, rights, documents and tests.

    The arguments are those of create_admin_app().
    """
    routes = list(
        chain(
            CallRoutes(view, steering, put_call, clock).routes(),
            BulkRoutes(view, steering).routes(),
            DestinationRoutes(view, steering, clock).routes(),
            StatsRoutes(view, health, clock).routes(),
            ExportRoutes(view, steering, clock).routes(),
        )
    )
    return [*routes, *OpenApiRoute(routes, prefix, header).routes()]


def by_path(routes: Iterable[Route]) -> dict[str, list[Route]]:
    """The routes of each path."""
    paths: dict[str, list[Route]] = {}
    for route in routes:
        paths.setdefault(route.path, []).append(route)
    return paths
