"""What callers may ask of their calls, and hand over together."""

import base64
import hashlib
import json
import tracemalloc
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mspc.api.accepting import Acceptance
from mspc.api.app import create_app
from mspc.api.problems import subject
from mspc.api.shown import rfc3339
from mspc.calls.accepted import Accepted
from mspc.calls.batch import split
from mspc.calls.call import Call
from mspc.calls.networks import NetworkRules
from mspc.errors import BadRequest, JournalUnavailable, NotPossible, QueueUnavailable
from mspc.settings.config import AuthConfig, HttpConfig
from tests.support.memory import MemoryQueue
from tests.support.operators import (
    ANSWER,
    AT,
    CALL_ID,
    SEEN,
    SHOWN_AT,
    FakeSteering,
    FakeView,
)
from tests.support.recorded import Recorded
from tests.support.wsgi import Answer, ask

KEY = "a key"
HEADER = base64.b64encode(
    f"{hashlib.sha256(f'1:{KEY}'.encode()).hexdigest()}:1".encode()
).decode()
PATH = f"/v1/calls/{CALL_ID}"
URL = "http://service.test/"


class Port:
    """The calls' port with fakes behind it."""

    def __init__(self, http: HttpConfig | None = None, key: str = "") -> None:
        self.queue = MemoryQueue()
        self.queue.start(lambda failure: None)
        self.view = FakeView(SEEN)
        self.steering = FakeSteering()
        acceptance = Acceptance(
            self.queue, NetworkRules(), Accepted(), lambda _: None, Recorded()
        )
        self.app = create_app(
            http or HttpConfig(max_request_bytes=100_000),
            AuthConfig(key=key),
            acceptance,
            lambda: None,
            lambda: None,
            self.view,
            self.steering,
        )

    def ask(
        self,
        method: str,
        path: str = PATH,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        content = b"" if body is None else body
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        return ask(self.app, method, path, content, headers)

    def batch(self, *calls: object) -> Answer:
        return self.ask("POST", "/v1/calls:batch", {"calls": calls})

    @property
    def stored(self) -> list[bytes]:
        return [call.payload for call, _ in self.queue.store.rows.values()]


@pytest.fixture
def port() -> Port:
    return Port()


class TestGet:
    def test_the_shape(self, port: Port) -> None:
        attempt = {
            "number": 1,
            "started_at": "2027-01-15T08:00:01.250Z",
            "duration_ms": 12,
            "status": 500,
            "error": "bad_status",
            "decision": "retry",
            "next_attempt_at": "2027-01-15T08:00:06.250Z",
            "reason": None,
        }
        answer = port.ask("GET")
        assert answer.headers["content-type"] == "application/json; charset=UTF-8"
        assert answer.json == {
            "id": CALL_ID,
            "state": "waiting",
            "held": None,
            "cut_off_at": None,
            "method": "POST",
            "url": "https://service.test/orders?token=***&x=1",
            "destination": SEEN.destination,
            "labels": ["order-1"],
            "created_at": SHOWN_AT,
            "next_attempt_at": "2027-01-15T08:00:06.250Z",
            "attempts": 1,
            "max_attempts": None,
            "body_bytes": 9,
            "finished_at": None,
            "reason": None,
            "last_attempt": attempt,
            "attempts_log": [attempt],
        }

    def test_nothing_of_what_the_service_said(self, port: Port) -> None:
        body = port.ask("GET").body.decode()
        assert ANSWER not in body
        assert "told by the service" not in body

    def test_in_flight(self, port: Port) -> None:
        port.steering.attempted = {CALL_ID}
        assert port.ask("GET").json["state"] == "in_flight"

    def test_an_id_of_another_producer(self, port: Port) -> None:
        port.view.known = [replace(SEEN, id="a/b c?")]
        assert port.ask("GET", "/v1/calls/a%2Fb%20c%3F").json["id"] == "a/b c?"
        assert port.ask("GET", "/v1/calls/a/b%20c%3F").json["id"] == "a/b c?"

    @pytest.mark.parametrize("path", ["/v1/calls/x", "/v1/calls/", "/v1/calls//"])
    def test_nobody_knows_it(self, port: Port, path: str) -> None:
        answer = port.ask("GET", path)
        assert (answer.status, answer.json["code"]) == (404, "no_such_call")

    def test_head(self, port: Port) -> None:
        answer = port.ask("HEAD")
        assert (answer.status, answer.body) == (200, b"")

    @pytest.mark.parametrize(
        ("failure", "status", "code"),
        [
            (JournalUnavailable("JOURNAL is 0.", off=True), 501, "journal_off"),
            (JournalUnavailable("It is away."), 503, "journal_unavailable"),
        ],
    )
    def test_without_a_journal(
        self, port: Port, failure: JournalUnavailable, status: int, code: str
    ) -> None:
        port.view.failure = failure
        answer = port.ask("GET")
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.json["message"] == str(failure)


class TestDelete:
    def test_cancels(self, port: Port) -> None:
        answer = port.ask("DELETE")
        assert answer.status == 200
        assert answer.json == {"error": False, "message": "Cancelled", "id": CALL_ID}
        assert port.steering.done == [("cancel", CALL_ID, "calls", "")]

    def test_nobody_knows_it(self, port: Port) -> None:
        answer = port.ask("DELETE", "/v1/calls/x")
        assert (answer.status, answer.json["code"]) == (404, "no_such_call")

    @pytest.mark.parametrize(
        ("failure", "status", "code"),
        [
            (NotPossible("already_succeeded", "It has."), 409, "already_succeeded"),
            (QueueUnavailable("It is away."), 503, "queue_unavailable"),
        ],
    )
    def test_what_cannot_be_done(
        self, port: Port, failure: Any, status: int, code: str
    ) -> None:
        port.steering.refusal = failure
        answer = port.ask("DELETE")
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.json["error"] is True

    @pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "FOO", "WEBSOCKET"])
    def test_other_methods(self, port: Port, method: str) -> None:
        answer = port.ask(method)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, DELETE"


class TestBatch:
    def test_each_is_stored_byte_for_byte(self, port: Port) -> None:
        one = b'{"url":  "http://a.test/"}'
        two = '{"url": "http://b.test/", "body": "\\"ž\\\\ud83d\\""}'.encode()
        answer = port.ask(
            "POST", "/v1/calls:batch", b'{"calls": [' + one + b" , " + two + b" ]}"
        )
        assert answer.status == 202
        assert port.stored == [one, two]
        ids = [call.id for call, _ in port.queue.store.rows.values()]
        assert answer.json == {
            "error": False,
            "message": "Accepted",
            "calls": [{"id": call_id} for call_id in ids],
        }

    def test_each_has_an_answer_of_its_own(self, port: Port) -> None:
        answer = port.batch({"url": URL}, {"url": "x", "bdy": 1}, [], {"url": URL})
        assert answer.status == 202
        assert (answer.json["error"], len(port.stored)) == (True, 2)
        assert answer.json["message"] == "2 of 4 calls were accepted."
        first, second, third, fourth = answer.json["calls"]
        assert first.keys() == fourth.keys() == {"id"}
        assert second["code"] == "invalid_properties"
        assert [one["property"] for one in second["errors"]] == ["url", "bdy"]
        assert (third["code"], third["errors"]) == ("not_an_object", [])

    def test_when_nothing_can_be_stored(
        self, port: Port, caplog: pytest.LogCaptureFixture
    ) -> None:
        port.queue.broken = "The broker is away."
        answer = port.batch({"url": URL}, {"url": URL}, {"url": "x"})
        assert (answer.status, answer.json["error"]) == (202, True)
        items = answer.json["calls"]
        assert [item["code"] for item in items] == [
            *["not_stored"] * 2,
            "invalid_properties",
        ]
        told = "Not stored, send it again: The broker is away."
        assert [item["message"] for item in items[:2]] == [told] * 2
        # Whoever operates it has to know, too, as of a single call.
        (record,) = [one for one in caplog.records if one.levelname == "WARNING"]
        assert record.getMessage() == (
            "2 of 3 calls of a batch were refused, they could not be stored: "
            "The broker is away."
        )

    def test_they_are_put_side_by_side(self, port: Port) -> None:
        together = most = 0
        put = port.queue.put

        def slow(call: Call, delay: float = 0.0) -> None:
            nonlocal together, most
            together += 1
            most = max(most, together)
            gevent.sleep(0)
            put(call, delay)
            together -= 1

        port.queue.put = slow  # type: ignore[method-assign]
        assert port.batch(*[{"url": URL}] * 500).status == 202
        assert len(port.stored) == most == 500

    @pytest.mark.parametrize(
        ("body", "status", "told"),
        [
            (b"", 422, "The body is not JSON"),
            (b"x", 422, "The body is not JSON"),
            (b"[]", 422, 'The body must be an object, {"calls": [...]}.'),
            (b"[" * 9999, 422, "The body is nested too deeply."),
            (b'{"calls": ["\\ud83d"]}', 422, "The body has half a surrogate pair"),
            (b'{"calls": ["\xff"]}', 422, "The body is not UTF-8: see byte 13."),
            (b"{}", 400, "calls must be a list of 1 to 500 calls."),
            (b'{"calls": {}}', 400, "calls must be a list of 1 to 500 calls."),
            (b'{"calls": []}', 400, "calls must be a list of 1 to 500 calls, not 0."),
            (
                b'{"calls": [' + b"1," * 500 + b"1]}",
                400,
                "calls must be a list of 1 to 500 calls, not more.",
            ),
            (
                b'{"calls": [1], "call": 1}',
                400,
                '"call" is not a property of a batch; there is calls alone.',
            ),
            (
                b'{"calls": [{"url": "http://a"}], "c\\u0061lls": []}',
                422,
                'The property "calls" is given twice.',
            ),
            (b" " * 100_001, 413, "The body is larger"),
        ],
    )
    def test_what_is_no_batch(
        self, port: Port, body: bytes, status: int, told: str
    ) -> None:
        answer = port.ask("POST", "/v1/calls:batch", body)
        assert answer.status == status
        assert answer.json["message"].startswith(told)
        assert port.stored == []

    @pytest.mark.parametrize(
        "body",
        [
            b'{"calls": [' + b"[]," * 99_999 + b"1]}",
            b"{" + b",".join(b'"%d":1' % n for n in range(30_000)) + b"}",
        ],
    )
    def test_what_is_too_many_is_not_built(self, body: bytes) -> None:
        tracemalloc.start()
        try:
            with pytest.raises(BadRequest):
                split(body)
            assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
        finally:
            tracemalloc.stop()

    def test_it_is_read_also_with_fast_publish(self) -> None:
        port = Port(HttpConfig(fast_publish=True))
        answer = port.batch({"url": URL}, {"url": "x"})
        assert [item.keys() & {"id", "code"} for item in answer.json["calls"]] == [
            {"id"},
            {"code"},
        ]


@given(
    st.binary(max_size=20)
    | st.text(max_size=20).map(str.encode)
    | st.lists(st.binary(max_size=9)).map(
        lambda inner: b'{"calls": [' + b",".join(inner) + b"]}"
    )
)
def test_whatever_is_sent_is_taken_apart_or_refused(body: bytes) -> None:
    with suppress(BadRequest):
        assert all(call in body for call in split(body))


def test_v1_calls_is_the_root(port: Port) -> None:
    for path in ("/", "/v1/calls"):
        answer = port.ask("POST", path, {"url": URL})
        assert (answer.status, answer.json["message"]) == (202, "Accepted")
    fast = Port(HttpConfig(fast_publish=True))
    assert fast.ask("POST", "/v1/calls", b"anything").status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/v1/calls"),
        ("POST", "/v1/calls:batch"),
        ("GET", PATH),
        ("HEAD", PATH),
        ("DELETE", PATH),
        ("GET", "/v1/calls/x"),
    ],
)
def test_each_needs_the_authorization(method: str, path: str) -> None:
    port = Port(key=KEY)
    for headers in ({}, {"X-Authorization": "x"}, {"Authorization": f"Bearer {KEY}"}):
        assert port.ask(method, path, headers=headers).status == 401
    assert port.steering.done == []
    headers = {"X-Authorization": HEADER}
    assert port.ask(method, path, headers=headers).status != 401


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "//v1/calls", "/v1/calls:batch/", "/v1/x"]
)
def test_other_paths(port: Port, path: str) -> None:
    answer = port.ask("POST", path, {"url": URL})
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_errors_name_their_properties(port: Port) -> None:
    call = {"url": "x", "headers": {"a b": "1"}, "heders": 1, "requeue": "no"}
    answer = port.ask("POST", "/", call)
    assert (answer.status, answer.json["code"]) == (400, "invalid_properties")
    errors = answer.json["errors"]
    assert {one["property"] for one in errors} == {
        "url",
        "headers",
        "heders",
        "requeue",
    }
    assert answer.json["message"] == " ".join(one["message"] for one in errors)


@pytest.mark.parametrize(
    ("sentence", "property_"),
    [
        ("url is missing.", "url"),
        ('headers["a b"] must be a string.', "headers"),
        ("delay and not_before must not both be given.", "delay"),
        ('"a\\"b" is not a property of a call; there are url.', 'a"b'),
        ("A call has no properties but url.", None),
        ("And 3 more mistakes.", None),
    ],
)
def test_what_a_sentence_is_about(sentence: str, property_: str | None) -> None:
    assert subject(sentence) == property_


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (AT, SHOWN_AT),
        (0, "1970-01-01T00:00:00.000Z"),
        (-1e300, "1970-01-01T00:00:00.000Z"),
        (1e300, "9999-12-31T00:00:00.000Z"),
        (float("nan"), "1970-01-01T00:00:00.000Z"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text
