"""The parts together, and who may have a look."""

from collections.abc import Mapping

import pytest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0

from mspc.admin.app import create_admin_app
from mspc.admin.keys import Keys
from mspc.admin.stats import Health
from mspc.api.errors import add_error_handlers
from mspc.api.health import HealthResource
from mspc.api.paths import ALLOWED, App
from mspc.journal.events import Accepted, Event
from mspc.journal.nothing import NoJournal
from mspc.metrics.counting import Counting
from mspc.metrics.resource import add_metrics
from mspc.metrics.several import Several
from mspc.settings.config import AdminConfig
from tests.support.operators import FakeSteering, FakeView
from tests.support.recorded import Recorded
from tests.support.wsgi import Answer, ask
from tests.unit.metrics.test_state import SOURCES

ADMIN, READ = "an-admin-key-of-a-good-length", "a-read-key-of-a-good-length"
CALL = Accepted("x", 1.0, "GET", "http://a.test/", "http://a.test:80")


class Site:
    """The operators' door with its metrics."""

    def __init__(self) -> None:
        self.journal = Recorded()
        self.counting = Counting("sqlite", self.journal)
        view = FakeView()
        health = Health("sqlite", lambda: None, lambda: None, lambda: None, int)
        config = AdminConfig(read_key=READ)
        self.app = create_admin_app(
            config, ADMIN, view, FakeSteering(), lambda payload: "x", health, 1000
        )
        self.counting.ask(SOURCES, view)
        add_metrics(self.app, self.counting.render, Keys(ADMIN, READ))

    def get(
        self, headers: Mapping[str, str], method: str = "GET", **environ: str
    ) -> Answer:
        sent = {"Host": "127.0.0.1", **headers}
        return ask(self.app, method, "/metrics", b"", sent, environ)


@pytest.fixture
def site() -> Site:
    return Site()


def test_what_is_counted_is_shown(site: Site) -> None:
    site.counting.recorder.record(CALL)
    answer = site.get({})
    assert answer.status == 200
    assert answer.headers["content-type"] == CONTENT_TYPE_PLAIN_1_0_0
    assert b"mspc_calls_accepted_total 1.0" in answer.body
    assert b"mspc_build_info" in answer.body
    assert site.journal.events == [CALL]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_who_comes_through_a_proxy_needs_a_key(site: Site, header: str) -> None:
    assert site.get({header: "192.0.2.1"}).status == 401
    for key in (ADMIN, READ):
        bearer = {"Authorization": f"Bearer {key}"}
        assert site.get({header: "192.0.2.1", **bearer}).status == 200
    wrong = {"Authorization": "Bearer wrong"}
    assert site.get({header: "192.0.2.1", **wrong}).status == 401


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),  # of a socket for both families
        ("::ffff:192.0.2.1", 401),
        ("192.0.2.1", 401),
        ("", 401),
    ],
)
def test_who_is_on_this_machine_needs_no_key(
    site: Site, address: str, status: int
) -> None:
    assert site.get({}, REMOTE_ADDR=address).status == status


def test_nothing_can_be_changed_there(site: Site) -> None:
    assert site.get({}, "POST").status == 405
    assert site.get({}, "HEAD").status == 200


@pytest.mark.parametrize("method", ["POST", "FOO", "WEBSOCKET"])
def test_what_is_refused_for_its_method_is_counted(site: Site, method: str) -> None:
    app = App()
    app.add_route("/health/live", HealthResource("Alive"))
    add_error_handlers(app, 1000, ALLOWED)
    app.add_middleware(site.counting.requests)

    assert ask(app, method, "/health/live", headers={"Host": "a"}).status == 405

    assert b'mspc_requests_total{status="405"} 1.0' in site.get({}).body


def test_those_who_do_not_listen_are_not_told() -> None:
    heard: list[Event] = []

    class Listener:
        on = True
        body_bytes = 0
        record = heard.append

    several = Several(NoJournal(), Listener())
    assert several.on
    several.record(CALL)
    assert heard == [CALL]
    assert not Several(NoJournal()).on


def test_as_much_of_a_body_as_anybody_wants() -> None:
    assert Several(Recorded(body_bytes=5), Recorded(body_bytes=9)).body_bytes == 9
