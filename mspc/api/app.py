"""The Falcon app of the calls' port: its paths, and who answers on each."""

from collections.abc import Callable
from typing import Any

from mspc.api.accepting import Acceptance, CallsResource
from mspc.api.auth import Authorization
from mspc.api.batch import BatchResource
from mspc.api.errors import add_error_handlers
from mspc.api.health import HealthResource
from mspc.api.one_call import CallResource
from mspc.api.paths import ALLOWED, App, ExactPaths
from mspc.journal.base import View
from mspc.settings.config import AuthConfig, HttpConfig
from mspc.steering.base import Steering


def create_app(
    http: HttpConfig,
    auth: AuthConfig,
    acceptance: Acceptance,
    problem: Callable[[], str | None],
    remark: Callable[[], str | None],
    view: View,
    steering: Steering,
) -> App:
    """The WSGI application.

    Args:
        http: the limits, and whether requests are read before they are stored.
        auth: who may send calls.
        acceptance: stores them.
        problem: why the service is not ready; None when it is.
        remark: what somebody who looks should know although it is.
        view: what is known of calls.
        steering: takes them back.
    """
    middleware: list[Any] = [ExactPaths(), Authorization(auth)]
    app = App(middleware=middleware)
    calls = CallsResource(acceptance, http)
    app.add_route("/", calls)
    app.add_route("/v1/calls", calls)
    batch = BatchResource(acceptance.take, http.max_request_bytes)
    app.add_route("/v1/calls:batch", batch)
    app.add_route("/v1/calls/{call_id:path}", CallResource(view, steering))
    app.add_route("/health/live", HealthResource("Alive"))
    # compile: with the last one, or the first call waits until all paths are compiled.
    ready = HealthResource("Ready", problem, remark)
    app.add_route("/health/ready", ready, compile=True)
    add_error_handlers(app, http.max_request_bytes, ALLOWED)
    return app
