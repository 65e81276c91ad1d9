"""The Falcon app of the calls' port: its paths, and who answers on each."""

from collections.abc import Callable
from typing import Any

import falcon

from mspc.api.accepting import CallsResource
from mspc.api.auth import Authorization
from mspc.api.errors import add_error_handlers
from mspc.api.health import HealthResource
from mspc.api.paths import ALLOWED
from mspc.calls.accepted import Accepted
from mspc.calls.call import Call
from mspc.calls.networks import NetworkRules
from mspc.journal.base import Recorder
from mspc.queues.base import Queue
from mspc.settings.config import AuthConfig, HttpConfig


class ExactPaths:
    """Falcon middleware: 404 where Falcon would take // for /."""

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: Any
    ) -> None:
        if req.path not in ALLOWED:
            raise falcon.HTTPNotFound


def create_app(
    http: HttpConfig,
    auth: AuthConfig,
    networks: NetworkRules,
    queue: Queue,
    accepted: Accepted,
    lane_of: Callable[[Call], str],
    journal: Recorder,
    problem: Callable[[], str | None],
    remark: Callable[[], str | None],
) -> falcon.App[Any, Any]:
    """The WSGI application.

    Args:
        http: the limits, and whether requests are read before they are stored.
        auth: who may send calls.
        networks: addresses that a call may not name.
        queue: where calls are stored.
        accepted: where their requests are remembered for the consumers.
        lane_of: reads whom a call goes to that nobody has read.
        journal: told what was accepted.
        problem: why the service is not ready; None when it is.
        remark: what somebody who looks should know although it is.
    """
    middleware: list[Any] = [ExactPaths(), Authorization(auth)]
    app = falcon.App(middleware=middleware)
    app.add_route("/", CallsResource(queue, networks, accepted, lane_of, journal, http))
    app.add_route("/health/live", HealthResource("Alive"))
    app.add_route("/health/ready", HealthResource("Ready", problem, remark))
    add_error_handlers(app, http.max_request_bytes)
    return app
