"""The operators' door with fakes behind it, for tests that ask it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mspc.admin.app import AdminApp, create_admin_app
from mspc.admin.stats import Health
from mspc.api.accepting import Acceptance
from mspc.calls.accepted import Accepted
from mspc.calls.networks import NetworkRules
from mspc.settings.config import AdminConfig
from tests.support.memory import MemoryQueue
from tests.support.operators import AT, CALL_ID, SEEN, FakeSteering, FakeView
from tests.support.recorded import Recorded
from tests.support.wsgi import Answer, ask

ADMIN = "an-admin-key-of-a-good-length"
READ = "a-read-key-of-a-good-length"
MAX_BYTES = 100_000
ONE = f"/v1/calls/{CALL_ID}"
HOST = "/v1/destinations/https%3A%2F%2Fservice.test%3A443"


class Door:
    """Asks the app; with ADMIN_KEY and a Host of its own unless told otherwise.

    Attributes:
        now: what its clock says, Unix seconds.
    """

    def __init__(
        self,
        names: Iterable[str] = (),
        *,
        view: FakeView | None = None,
        steering: FakeSteering | None = None,
        header: str = "X-Authorization",
        **config: Any,
    ) -> None:
        """`names` are the machine's, `header` is AUTHORIZATION_HEADER, and `config`
        what AdminConfig has besides.
        """
        self.view = view or FakeView(SEEN)
        self.steering = steering or FakeSteering()
        self.queue = MemoryQueue()
        self.queue.start(lambda failure: None)
        self.problem: str | None = None
        self.now = AT + 10
        acceptance = Acceptance(
            self.queue, NetworkRules(), Accepted(), lambda _: None, Recorded()
        )
        health = Health(
            "sqlite", lambda: self.problem, lambda: None, lambda: None, lambda: 3
        )
        self.app: AdminApp = create_admin_app(
            AdminConfig(read_key=READ, **config),
            ADMIN,
            self.view,
            self.steering,
            acceptance.take,
            health,
            MAX_BYTES,
            lambda: self.now,
            names,
            header,
        )

    def ask(
        self,
        method: str,
        target: str,
        body: object = None,
        key: str | None = ADMIN,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer; `body` is bytes, or becomes JSON."""
        sent = {"Host": "127.0.0.1:8010", **(headers or {})}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        content = b"" if body is None else body
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        return ask(self.app, method, target, content, sent)

    def get(self, target: str, key: str | None = ADMIN) -> Any:
        answer = self.ask("GET", target, key=key)
        assert answer.status == 200, answer.body
        return answer.json

    def refused(
        self, method: str, target: str, body: object = None, status: int = 400
    ) -> Any:
        """What is said of something that is wrong."""
        answer = self.ask(method, target, body)
        assert answer.status == status, answer.body
        assert answer.json["error"] is True
        return answer.json
