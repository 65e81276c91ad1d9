"""The pages with fakes behind them, asked as a browser would."""

import io
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from mspc.admin.app import create_admin_app
from mspc.admin.stats import Health
from mspc.errors import InvalidProperties
from mspc.pages.desk import Desk
from mspc.pages.login import ADMIN, Logins
from mspc.pages.rendering import Templates
from mspc.pages.routes import add_pages
from mspc.settings.config import AdminConfig
from tests.support.operators import AT, CALL_ID, SEEN, FakeSteering, FakeView
from tests.support.wsgi import Answer, ask

ADMIN_KEY = "an-admin-key-of-a-good-length"
READ_KEY = "a-read-key-of-a-good-length"


class Site:
    """All pages, for a browser that has logged in with the admin key.

    Attributes:
        right: whose cookie is sent; None for no cookie.
        sent: payloads of calls.
        now: Unix seconds.
        spooled: calls in the spool; None without one.
    """

    def __init__(self, prefix: str = "") -> None:
        self.view = FakeView(SEEN)
        self.steering = FakeSteering()
        self.now = AT
        self.problem: str | None = None
        self.spooled: int | None = None
        self.right: str | None = ADMIN
        self.sent: list[bytes] = []
        self.logins = Logins(ADMIN_KEY, READ_KEY, lambda: self.now)
        health = Health("sqlite", lambda: self.problem, lambda: None, lambda: None, int)
        self.app = create_admin_app(
            AdminConfig(read_key=READ_KEY, prefix=prefix),
            ADMIN_KEY,
            self.view,
            self.steering,
            self._send,
            health,
            100_000,
        )
        desk = Desk(
            self.view,
            self.steering,
            self.logins,
            Templates(),
            lambda: self.problem,
            lambda: None,
            lambda: 3,
            lambda: self.spooled,
            self._send,
            "embedded queue",
        )
        add_pages(self.app, desk, lambda: self.now)

    def _send(self, payload: bytes) -> str:
        if b"bad" in payload:
            raise InvalidProperties(["url must be something else."])
        self.sent.append(payload)
        return CALL_ID

    def cookie(self, value: str) -> str:
        """As a browser sends it."""
        return f"{self.logins.cookie_name}={value}"

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, b"", headers)

    def head(self, path: str) -> Answer:
        return self._ask("HEAD", path, b"", {})

    def send(self, path: str, body: io.RawIOBase) -> Answer:
        """POST of what the server would pass on."""
        return self._ask("POST", path, body, {})

    def post(self, path: str, form: Any = (), **headers: str) -> Answer:
        pairs = form.items() if isinstance(form, dict) else form
        return self._ask("POST", path, urlencode(list(pairs)).encode(), headers)

    def _ask(
        self, method: str, path: str, body: bytes | io.RawIOBase, more: dict[str, str]
    ) -> Answer:
        headers = {"Host": "127.0.0.1:8010", **more}
        if self.right is not None:
            headers.setdefault("Cookie", self.cookie(self.logins.cookie(self.right)))
        return ask(self.app, method, path, body, headers)


@pytest.fixture
def site() -> Site:
    return Site()


def text(answer: Answer) -> str:
    """What can be read on a page."""
    shown = re.sub(
        r"<(script|style|dialog).*?</\1>", "", answer.body.decode(), flags=re.S
    )
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", shown))
