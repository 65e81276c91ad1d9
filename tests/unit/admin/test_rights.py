"""Who is let in at the operators' door, to what, from where."""

import base64
import hashlib
import logging

import pytest

from mspc.admin.app import admin_routes
from mspc.admin.keys import Keys, Right
from mspc.admin.routes import Route
from mspc.admin.stats import Health
from tests.support.door import ADMIN, HOST, ONE, READ, Door
from tests.support.operators import AT, CALL_ID, JOB_ID, FakeSteering, FakeView

HEALTH = Health("sqlite", lambda: None, lambda: None, lambda: None, int)
ROUTES = admin_routes(FakeView(), FakeSteering(), str, HEALTH)
# What a route needs to be asked properly.
BODIES: dict[tuple[str, str], object] = {
    ("POST", "/v1/calls"): {"url": "http://service.test/"},
    ("POST", "/v1/calls:batch"): {"calls": [{"url": "http://service.test/"}]},
    ("PUT", "/v1/destinations/{key}/limits"): {"rate": 1},
    ("POST", "/v1/bulk/plan"): {"action": "retry"},
    ("POST", "/v1/bulk"): {"action": "retry", "all": True},
}
CALLERS = base64.b64encode(
    f"{hashlib.sha256(b'1:the callers key').hexdigest()}:1".encode()
).decode()


def target(route: Route) -> str:
    key = HOST.rpartition("/")[2]
    return route.path.format(call_id=CALL_ID, key=key, job_id=JOB_ID)


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture
def busy(door: Door) -> Door:
    """A door behind which everything is found that the routes name."""
    door.steering.begin("retry", (), "admin")
    door.steering.pause(HOST, "admin", None)
    door.steering.states = {
        "https://service.test:443": door.steering.standing("https://service.test:443")
    }
    return door


@pytest.mark.parametrize("route", ROUTES, ids=named)
class TestEveryRoute:
    def test_without_a_key(self, busy: Door, route: Route) -> None:
        answer = busy.ask(route.method, target(route), key=None)
        assert answer.status == 401
        assert answer.json["code"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"

    def test_with_the_callers_key(self, busy: Door, route: Route) -> None:
        for headers in (
            {"X-Authorization": CALLERS},
            {"Authorization": CALLERS},
            {"Authorization": f"Bearer {CALLERS}"},
            {"Authorization": "Bearer the callers key"},
        ):
            answer = busy.ask(route.method, target(route), key=None, headers=headers)
            assert answer.status == 401

    def test_with_the_key_to_read(self, busy: Door, route: Route) -> None:
        done = list(busy.steering.done)
        body = BODIES.get((route.method, route.path))
        answer = busy.ask(route.method, target(route), body, READ)
        if route.right == "read":
            assert answer.status == route.status
        else:
            assert answer.status == 403
            assert answer.json["code"] == "read_only"
        assert busy.steering.done == done

    def test_with_the_key_to_everything(self, busy: Door, route: Route) -> None:
        body = BODIES.get((route.method, route.path))
        answer = busy.ask(route.method, target(route), body)
        assert answer.status == route.status
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_from_a_page_of_another_site(self, busy: Door, route: Route) -> None:
        body = BODIES.get((route.method, route.path))
        headers = {"Sec-Fetch-Site": "cross-site"}
        answer = busy.ask(route.method, target(route), body, headers=headers)
        if route.method == "GET":
            assert answer.status == 200
        else:
            assert (answer.status, answer.json["code"]) == (403, "cross_site")

    def test_what_it_writes_needs_the_key_to_everything(
        self, busy: Door, route: Route
    ) -> None:
        assert route.method == "GET" or route.right == "admin"


def test_a_body_is_not_read_without_a_key(door: Door) -> None:
    answer = door.ask("POST", "/v1/bulk", b"x" * 1_000_000, key=None)
    assert answer.status == 401


def test_health_needs_none(door: Door) -> None:
    assert door.get("/health/live", key=None) == {"error": False, "message": "Alive"}
    door.problem = "The broker is away."
    answer = door.ask("GET", "/health/ready", key=None)
    assert (answer.status, answer.json["code"]) == (503, "not_ready")


@pytest.mark.parametrize(
    ("header", "right"),
    [
        (f"Bearer {ADMIN}", "admin"),
        (f"bearer  {ADMIN}", "admin"),
        (f"Bearer {READ}", "read"),
        (f"Bearer {ADMIN} ", None),
        (f"Bearer {ADMIN}x", None),
        (f"Basic {ADMIN}", None),
        (ADMIN, None),
        ("Bearer ", None),
        ("Bearer \xe9\udcff", None),
        ("", None),
        (None, None),
    ],
)
def test_keys(header: str | None, right: Right | None) -> None:
    assert Keys(ADMIN, READ).right(header) == right


def test_without_a_key_to_read_nobody_has_it() -> None:
    keys = Keys(ADMIN)
    assert [keys.right(text) for text in ("Bearer", "Bearer ", "Bearer x")] == [
        None
    ] * 3


def test_a_flood_of_wrong_keys_does_not_fill_the_log(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    for door.now in (AT, AT + 0.1, AT + 0.9, AT + 1.0):
        door.ask("GET", "/v1/stats", key="a-wrong-key-of-a-good-length")
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
        (
            logging.WARNING,
            f"{count} requests refused as unauthorized, the last from 127.0.0.1: "
            "Authorization: no key of this door",
        )
        for count in (1, 3)
    ]


class TestHost:
    @pytest.mark.parametrize(
        "host",
        [
            *("localhost", "localhost:8010", "LocalHost.:1", "mspc.localhost"),
            *("127.0.0.1", "127.0.0.1:8010", "[::1]", "[::1]:80", "192.0.2.7:8010"),
            *("admin.internal", "admin.internal:443", "Admin.Internal"),
        ],
    )
    def test_of_our_own(self, host: str) -> None:
        door = Door(host="admin.internal")
        assert door.ask("GET", "/v1/stats", headers={"Host": host}).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            *("evil.test", "evil.test:8010", "127.0.0.1.evil.test", "localhost.test"),
            *("", "0x7f.1", "2130706433", "[::1", "::1", "127.0.0.1:8010:1", "a,b"),
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/stats", "/health/live", "/nowhere"])
    def test_of_somebody_else(self, door: Door, host: str, path: str) -> None:
        answer = door.ask("GET", path, headers={"Host": host})
        assert (answer.status, answer.json["code"]) == (403, "foreign_host")

    def test_of_the_machine(self) -> None:
        host = {"Host": "Ops1.internal:8010"}
        assert Door().ask("GET", "/v1/stats", headers=host).status == 403
        assert (
            Door(["ops1.internal"]).ask("GET", "/v1/stats", headers=host).status == 200
        )

    def test_a_name_that_a_proxy_forwards_is_not_one(self, door: Door) -> None:
        headers = {"Host": "evil.test", "X-Forwarded-Host": "localhost"}
        assert door.ask("GET", "/v1/stats", headers=headers).status == 403


class TestSite:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "same-origin", "Origin": "https://ops.test"},
            {"Origin": "http://127.0.0.1:8010"},
            {"Origin": "https://ops.test", "X-Forwarded-Host": "ops.test"},
        ],
    )
    def test_our_own(self, door: Door, headers: dict[str, str]) -> None:
        assert door.ask("DELETE", ONE, headers=headers).status == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8010"},
            {"Origin": "http://evil.test"},
            {"Origin": "http://127.0.0.1:9999"},
            {"Origin": "null"},
            {"Origin": ""},
            {"Origin": "http://["},
            {"Origin": "http://evil.test", "X-Forwarded-Host": "ops.test"},
        ],
    )
    def test_another_one(self, door: Door, headers: dict[str, str]) -> None:
        answer = door.ask("DELETE", ONE, headers=headers)
        assert (answer.status, answer.json["code"]) == (403, "cross_site")
        assert door.steering.done == []


class TestPaths:
    @pytest.mark.parametrize("path", ["/mspc/v1/stats", "/v1/stats"])
    def test_below_the_prefix_and_without_it(self, path: str) -> None:
        assert Door(prefix="/mspc").get(path)["engine"] == "sqlite"

    @pytest.mark.parametrize(
        "path", ["/mspcv1/stats", "/mspc//v1/stats", "/other/v1/stats", "/mspc/mspc"]
    )
    def test_but_nowhere_else(self, path: str) -> None:
        assert Door(prefix="/mspc").ask("GET", path).status == 404

    @pytest.mark.parametrize("prefix", ["/mspc", "/behind/mspc"])
    def test_the_prefix_alone_leads_below_it(self, prefix: str) -> None:
        """Else the links of a page would lead beside it."""
        answer = Door(prefix=prefix).ask("GET", f"{prefix}?x=1")
        assert (answer.status, answer.headers["location"]) == (308, "mspc/?x=1")

    @pytest.mark.parametrize(
        "path",
        ["//v1/stats", "/v1/stats/", "/v1//stats", "/v1/%73tats", "/v1", "/", "*"],
    )
    def test_no_other_spelling(self, door: Door, path: str) -> None:
        answer = door.ask("GET", path)
        assert (answer.status, answer.json["code"]) == (404, "not_found")

    @pytest.mark.parametrize(
        "method", ["PUT", "PATCH", "TRACE", "POST", "FOO", "WEBSOCKET"]
    )
    def test_another_method(self, door: Door, method: str) -> None:
        answer = door.ask(method, ONE)
        assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, DELETE, HEAD, OPTIONS"

    def test_head_is_a_get_without_a_body(self, door: Door) -> None:
        answer = door.ask("HEAD", ONE, key=READ)
        length = int(answer.headers["content-length"])
        assert (answer.status, answer.body) == (200, b"")
        assert length == len(door.ask("GET", ONE).body)

    def test_options(self, door: Door) -> None:
        answer = door.ask("OPTIONS", ONE, key=READ)
        assert (answer.status, answer.body) == (200, b"")
        allowed = set(answer.headers["allow"].split(", "))
        assert allowed == {"GET", "DELETE", "HEAD"}
        assert door.ask("OPTIONS", ONE, key=None).status == 401
