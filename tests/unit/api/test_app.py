"""What a client sees: every answer of the HTTP API."""

import base64
import hashlib
import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from falcon.testing import create_environ
from hypothesis import given
from hypothesis import strategies as st

from mspc.api.accepting import Acceptance
from mspc.api.app import create_app
from mspc.api.codes import CODES
from mspc.calls.accepted import Accepted
from mspc.calls.networks import NetworkRules
from mspc.calls.requests import Requests
from mspc.calls.validation import PROPERTIES
from mspc.journal import events
from mspc.queues.base import Queue
from mspc.settings.config import AuthConfig, HttpConfig
from tests.support.memory import MemoryQueue
from tests.support.operators import FakeSteering, FakeView
from tests.support.recorded import Recorded

CALL = b'{"url": "http://user:secret@service.test/path?q=1", "method": "post"}'
KEY = "a key"
MAX_BYTES = 1_000
LIMITED = HttpConfig(max_request_bytes=MAX_BYTES)
NO_KEY = AuthConfig()


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Calls the application as a WSGI server does."""

    queue: Queue
    http: HttpConfig = LIMITED
    auth: AuthConfig = NO_KEY
    problem: Callable[[], str | None] = field(default=lambda: None)
    accepted: Accepted = field(default_factory=Accepted)
    journal: Recorded = field(default_factory=Recorded)
    view: FakeView = field(default_factory=FakeView)
    steering: FakeSteering = field(default_factory=FakeSteering)

    def __post_init__(self) -> None:
        acceptance = Acceptance(
            *(self.queue, NetworkRules(), self.accepted),
            *(Requests(NetworkRules(), self.accepted).look, self.journal),
        )
        self.app = create_app(
            self.http,
            self.auth,
            acceptance,
            self.problem,
            self.queue.remark,
            self.view,
            self.steering,
        )

    def request(
        self,
        method: str,
        path: str = "/",
        body: bytes | io.RawIOBase = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer; `body` is bytes, or the stream that a server would pass on."""
        environ = create_environ(path, headers=headers)
        environ["REQUEST_METHOD"] = method
        if isinstance(body, bytes):
            environ["CONTENT_LENGTH"] = str(len(body))
            environ["wsgi.input"] = io.BytesIO(body)
        else:
            environ["wsgi.input"] = body
        head: list[Any] = []

        def start_response(
            status: str, lines: list[tuple[str, str]], *_: object
        ) -> Any:
            head.extend([status, {name.lower(): value for name, value in lines}])

        chunks = self.app(environ, start_response)
        status, lower_cased = head
        return Answer(status, lower_cased, b"".join(chunks))

    def post(self, body: bytes | io.RawIOBase = CALL, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", body=body, headers=named)


class Unreadable(io.RawIOBase):
    """A body that must not be read."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("the body was read")


class BrokenOff(io.RawIOBase):
    """A body whose sender hangs up."""

    def read(self, size: int = -1) -> bytes:
        raise OSError("unexpected end of file while reading request")


@pytest.fixture
def queue() -> MemoryQueue:
    queue = MemoryQueue()
    queue.start(lambda error: None)
    return queue


@pytest.fixture
def client(queue: MemoryQueue) -> Client:
    return Client(queue)


@pytest.fixture
def fast(queue: MemoryQueue) -> Client:
    return Client(queue, HttpConfig(max_request_bytes=MAX_BYTES, fast_publish=True))


@pytest.fixture
def guarded(queue: MemoryQueue) -> Client:
    return Client(queue, auth=AuthConfig(key=KEY))


def stored(queue: MemoryQueue) -> list[bytes]:
    return [call.payload for call, _ in queue.store.rows.values()]


def assert_error(answer: Answer, status: str, message: str) -> None:
    assert answer.status == status
    code = answer.json["code"]
    assert answer.json == {"error": True, "message": message, "code": code}
    assert CODES[code] == int(status[:3])
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"


class TestAccepted:
    def test_the_answer(self, client: Client, queue: MemoryQueue) -> None:
        answer = client.post()
        ((call, _),) = queue.store.rows.values()
        assert answer.status == "202 Accepted"
        assert answer.json == {"error": False, "message": "Accepted", "id": call.id}
        assert answer.headers["content-type"] == "application/json; charset=UTF-8"

    @pytest.mark.parametrize(
        "payload",
        [
            CALL,
            b' {"url":\t"http://a.test",\r\n"requeue":false}\n',
            '{"url": "http://a.test", "body": "\\"ž\\u017e🐎\\""}'.encode(),
            b'\xef\xbb\xbf{"url": "http://a.test"}',
        ],
        ids=["a call", "white space", "not ASCII", "byte order mark"],
    )
    def test_the_payload_is_stored_byte_for_byte(
        self, client: Client, queue: MemoryQueue, payload: bytes
    ) -> None:
        assert client.post(payload).status == "202 Accepted"
        assert stored(queue) == [payload]

    def test_the_content_type_does_not_matter(self, client: Client) -> None:
        for media_type in ("", "text/plain", "application/x-www-form-urlencoded", "?"):
            assert client.post(content_type=media_type).status == "202 Accepted"

    def test_a_body_without_a_length(self, client: Client, queue: MemoryQueue) -> None:
        chunked = client.post(io.BytesIO(CALL))  # type: ignore[arg-type]
        assert chunked.status == "202 Accepted"
        assert stored(queue) == [CALL]

    def test_the_largest_body(self, client: Client) -> None:
        assert client.post(CALL.ljust(MAX_BYTES)).status == "202 Accepted"

    def test_the_log_names_the_call_and_no_secret(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        call_id = client.post(CALL.replace(b"q=1", b"q=1&sig=2")).json["id"]
        url = "http://service.test/path?q=1&sig=***"
        assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
            (logging.INFO, f"{call_id} accepted POST {url}")
        ]

    def test_the_journal_is_told(self, client: Client) -> None:
        answer = client.post()
        (event,) = client.journal.events
        assert isinstance(event, events.Accepted)
        assert event.id == answer.json["id"]
        assert (event.method, event.url) == ("POST", "http://service.test/path?q=1")

    def test_it_is_not_when_it_does_not_listen(self, client: Client) -> None:
        client.journal.on = False
        assert client.post().status == "202 Accepted"


GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
FORM = b"url=http%3A%2F%2Fservice.test%2F"


class TestUnreadable:
    @pytest.mark.parametrize(
        ("payload", "headers", "expected"),
        [
            (
                GZIP,
                {"Content-Encoding": "gzip"},
                'It came with Content-Encoding: "gzip", which mspc does not undo: send '
                "the text itself.",
            ),
            (GZIP, {}, "It is compressed with gzip: send the text itself."),
            (b"\x0b\x02\x80", {"Content-Encoding": "br"}, 'Content-Encoding: "br"'),
            (b"x\x9c\xab", {"Content-Encoding": "deflate, gzip"}, '"deflate, gzip"'),
            (b"(\xb5/\xfd", {"Content-Encoding": "ZSTD"}, '"ZSTD", which mspc'),
            (b"x", {"Content-Encoding": "a" * 999}, 'aaa...", which mspc'),
            (
                '{"url": "ž"}'.encode("iso-8859-2"),
                {"Content-Type": 'application/json; charset="ISO-8859-2"'},
                'It came as charset "ISO-8859-2": send it as UTF-8.',
            ),
            (
                '{"url": ""}'.encode("utf-16"),
                {"Content-Type": "application/json;charset=utf-16"},
                'It came as charset "utf-16": send it as UTF-8.',
            ),
            ('{"url": ""}'.encode("utf-16"), {}, "It is UTF-16: send it as UTF-8."),
            (
                FORM,
                {"Content-Type": "application/x-www-form-urlencoded"},
                'It came as "application/x-www-form-urlencoded": send the JSON object '
                "itself, not a form.",
            ),
            (
                b"--x\r\nContent-Disposition: form-data; name=url\r\n\r\nx\r\n--x--",
                {"Content-Type": "multipart/form-data; boundary=x"},
                'It came as "multipart/form-data": send the JSON object itself',
            ),
        ],
    )
    def test_the_headers_say_why(
        self, client: Client, payload: bytes, headers: dict[str, str], expected: str
    ) -> None:
        answer = client.request("POST", body=payload, headers=headers)
        assert answer.status.startswith("422 ")
        assert expected in answer.json["message"]
        assert len(answer.json["message"]) < 300

    @pytest.mark.parametrize(
        ("payload", "headers"),
        [
            (b'{"url": }', {"Content-Type": "application/x-www-form-urlencoded"}),
            (b'{"url": }', {"Content-Type": "application/json; charset=UTF-8"}),
            (b'{"url": }', {"Content-Encoding": "identity"}),
            (b'{"url": }', {}),
        ],
    )
    def test_and_otherwise_nothing(
        self, client: Client, payload: bytes, headers: dict[str, str]
    ) -> None:
        answer = client.request("POST", body=payload, headers=headers)
        told = "The body is not JSON: Expecting value at line 1, column 9."
        assert answer.json["message"] == told

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Encoding": "gzip"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Content-Type": "text/plain; charset=ISO-8859-1"},
        ],
    )
    def test_what_can_be_read_is_taken_whatever_it_says(
        self, client: Client, headers: dict[str, str]
    ) -> None:
        answer = client.request("POST", body=CALL, headers=headers)
        assert answer.status == "202 Accepted"


class TestFastPublish:
    @pytest.mark.parametrize(
        "payload",
        [CALL, b"no JSON", b"{}", bytes(range(256)), b" "],
        ids=["a call", "text", "no url", "every byte", "space"],
    )
    def test_anything_is_stored_unread(
        self, fast: Client, queue: MemoryQueue, payload: bytes
    ) -> None:
        answer = fast.post(payload)
        ((call, _),) = queue.store.rows.values()
        assert answer.status == "200 OK"
        assert answer.json == {"error": False, "message": "OK", "id": call.id}
        assert call.payload == payload

    def test_the_journal_is_told_of_what_is_a_call(self, fast: Client) -> None:
        """Also of what cannot be remembered until it is made."""
        calls = [json.dumps({"url": f"http://{n}.test/"}).encode() for n in range(9)]
        fast.accepted._left = 3000  # there is room for two or so
        for payload in (*calls, b"no JSON"):
            fast.post(payload)
        assert len(fast.journal.events) == 9

    def test_nothing_is_not_stored(self, fast: Client, queue: MemoryQueue) -> None:
        answer = fast.post(b"")
        assert answer.status == "200 OK"
        assert answer.json == {"error": False, "message": "OK"}
        assert stored(queue) == []

    def test_the_limit_holds(self, fast: Client, queue: MemoryQueue) -> None:
        assert fast.post(b"x" * (MAX_BYTES + 1)).status.startswith("413 ")
        assert stored(queue) == []

    def test_what_cannot_be_stored_is_not_ok(
        self, fast: Client, queue: MemoryQueue
    ) -> None:
        queue.broken = "The broker is away."
        assert fast.post(b"anything").status == "503 Service Unavailable"


class TestInvalid:
    def test_every_problem_is_named_at_once(
        self, client: Client, queue: MemoryQueue
    ) -> None:
        call = {"url": "ftp://a", "method": "BREW", "requeue": "no", "heders": {}}
        answer = client.post(json.dumps(call).encode())
        assert answer.status == "400 Bad Request"
        assert answer.json["error"] is True
        message = answer.json["message"]
        for name in ("url must", "method must", "requeue must", '"heders" is not'):
            assert name in message
        assert "did you mean headers?" in message
        assert stored(queue) == []

    def test_a_denied_address_is_refused_at_once(self, client: Client) -> None:
        answer = client.post(b'{"url": "http://169.254.169.254/latest"}')
        assert answer.status == "400 Bad Request"
        assert "169.254.169.254" in answer.json["message"]

    @pytest.mark.parametrize(
        "payload",
        [b"", b" ", b"{", b"[]", b'"text"', b"1", b"null", b"\xff{}", b"[" * 1_000],
    )
    def test_anything_but_a_json_object(
        self, client: Client, queue: MemoryQueue, payload: bytes
    ) -> None:
        answer = client.post(payload)
        assert answer.status.startswith("422 ")
        assert answer.json["error"] is True
        assert answer.json["message"].startswith("The body ")
        assert stored(queue) == []


class TestBody:
    TOO_LARGE = f"The body is larger than {MAX_BYTES} bytes (MAX_REQUEST_BYTES)."

    def test_a_length_over_the_limit_is_refused_unread(self, client: Client) -> None:
        answer = client.post(Unreadable(), content_length=str(MAX_BYTES + 1))
        assert answer.status.startswith("413 ")
        assert_error(answer, "413 Content Too Large", self.TOO_LARGE)

    def test_a_stream_over_the_limit(self, client: Client, queue: MemoryQueue) -> None:
        endless = io.BytesIO(b"x" * (MAX_BYTES * 10))
        answer = client.post(endless)  # type: ignore[arg-type]
        assert answer.status.startswith("413 ")
        assert_error(answer, "413 Content Too Large", self.TOO_LARGE)
        assert endless.tell() == MAX_BYTES + 1
        assert stored(queue) == []

    @pytest.mark.parametrize("length", ["100", None])
    def test_a_body_that_breaks_off(
        self, client: Client, queue: MemoryQueue, length: str | None
    ) -> None:
        headers = {} if length is None else {"content_length": length}
        assert_error(
            client.post(BrokenOff(), **headers),
            "400 Bad Request",
            "The body ended early or is not properly chunked.",
        )
        assert stored(queue) == []

    @pytest.mark.parametrize("length", ["many", "-1"])
    def test_a_length_that_is_none(self, client: Client, length: str) -> None:
        answer = client.post(Unreadable(), content_length=length)
        assert answer.status == "400 Bad Request"
        assert answer.json["error"] is True


class TestAuthorization:
    @pytest.fixture
    def header(self) -> str:
        digest = hashlib.sha256(f"1482938098:{KEY}".encode()).hexdigest()
        return base64.b64encode(f"{digest}:1482938098".encode()).decode()

    def test_with_the_key(self, guarded: Client, header: str) -> None:
        assert guarded.post(X_Authorization=header).status == "202 Accepted"

    @pytest.mark.parametrize("value", [None, "", "wrong", "\xe9", "x" * 100_000])
    def test_without_it_the_body_is_not_read(
        self, guarded: Client, value: str | None
    ) -> None:
        headers = {} if value is None else {"X_Authorization": value}
        answer = guarded.post(Unreadable(), content_length="10", **headers)
        assert_error(answer, "401 Unauthorized", "Unauthorized")

    def test_comes_before_every_other_check(self, guarded: Client) -> None:
        answer = guarded.post(Unreadable(), content_length=str(MAX_BYTES + 1))
        assert answer.status == "401 Unauthorized"

    def test_health_needs_none(self, guarded: Client) -> None:
        assert guarded.request("GET", "/health/live").status == "200 OK"
        assert guarded.request("GET", "/health/ready").status == "200 OK"


class TestElsewhere:
    @pytest.mark.parametrize("path", ["/other", "/health", "/health/live/", "/a/b"])
    @pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "WEBSOCKET"])
    def test_another_path(self, client: Client, path: str, method: str) -> None:
        answer = client.request(method, path, CALL)
        assert_error(answer, "404 Not Found", f"{path} not found.")

    @pytest.mark.parametrize(
        "method",
        [
            *("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"),
            *("FOO", "post", "WEBSOCKET"),
        ],
    )
    def test_another_method(self, client: Client, method: str) -> None:
        answer = client.request(method, "/", CALL)
        text = f"{method} is not possible here, POST is."
        assert_error(answer, "405 Method Not Allowed", text)
        assert answer.headers["allow"] == "POST"

    def test_head_is_refused_without_a_body(self, client: Client) -> None:
        answer = client.request("HEAD")
        assert answer.status == "405 Method Not Allowed"
        assert answer.headers["allow"] == "POST"
        assert answer.body == b""

    @pytest.mark.parametrize(
        "method", ["POST", "PUT", "DELETE", "OPTIONS", "FOO", "WEBSOCKET"]
    )
    def test_another_method_for_health(self, client: Client, method: str) -> None:
        answer = client.request(method, "/health/live")
        text = f"{method} is not possible here, GET or HEAD is."
        assert_error(answer, "405 Method Not Allowed", text)
        assert answer.headers["allow"] == "GET, HEAD"


class TestNotStored:
    def test_the_answer(
        self,
        client: Client,
        queue: MemoryQueue,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        queue.broken = "The broker is away."
        answer = client.post()
        assert_error(
            answer,
            "503 Service Unavailable",
            "Not stored, send it again: The broker is away.",
        )
        assert answer.headers["retry-after"] == "1"
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.exc_info is None

    def test_the_journal_is_not_told(self, client: Client, queue: MemoryQueue) -> None:
        queue.broken = "The broker is away."
        client.post()
        assert not client.journal.events

    def test_its_request_is_not_remembered(
        self, client: Client, queue: MemoryQueue
    ) -> None:
        queue.broken = "The broker is away."
        client.post()
        assert client.accepted._requests == {}

    def test_it_is_stored_when_the_queue_is_back(
        self, client: Client, queue: MemoryQueue
    ) -> None:
        queue.broken = "The broker is away."
        client.post()
        queue.broken = ""
        assert client.post().status == "202 Accepted"
        assert stored(queue) == [CALL]


class TestHealth:
    def test_live(self, queue: MemoryQueue) -> None:
        unready = Client(queue, problem=lambda: "No consumers run.")
        answer = unready.request("GET", "/health/live")
        assert answer.status == "200 OK"
        assert answer.json == {"error": False, "message": "Alive"}

    def test_ready(self, client: Client) -> None:
        answer = client.request("GET", "/health/ready")
        assert answer.status == "200 OK"
        assert answer.json == {"error": False, "message": "Ready"}

    def test_not_ready_with_the_reason(self, queue: MemoryQueue) -> None:
        unready = Client(queue, problem=lambda: "No consumers run.")
        answer = unready.request("GET", "/health/ready")
        assert_error(answer, "503 Service Unavailable", "No consumers run.")

    @pytest.mark.parametrize(
        ("problem", "status"), [(None, "200 OK"), ("No.", "503 Service Unavailable")]
    )
    def test_head_answers_without_a_body(
        self, queue: MemoryQueue, problem: str | None, status: str
    ) -> None:
        answer = Client(queue, problem=lambda: problem).request("HEAD", "/health/ready")
        assert answer.status == status
        assert answer.body == b""


class TestBug:
    def test_the_client_learns_nothing_and_the_log_everything(
        self, queue: MemoryQueue, caplog: pytest.LogCaptureFixture
    ) -> None:
        def problem() -> str | None:
            raise RuntimeError("a detail")

        answer = Client(queue, problem=problem).request("GET", "/health/ready")
        assert_error(
            answer,
            "500 Internal Server Error",
            "Internal error; nothing is promised.",
        )
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "a detail"

    def test_a_queue_with_a_bug_promises_nothing(
        self,
        client: Client,
        queue: MemoryQueue,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def put(call: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(queue, "put", put)
        assert client.post().status == "500 Internal Server Error"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(PROPERTIES.split(", ")) | st.text(max_size=8)
REQUESTS = st.dictionaries(NAMES, JSON, max_size=6) | st.fixed_dictionaries(
    {"url": st.just("http://service.test/")},
    optional={
        "delay": st.sampled_from([0, "1s", "x", 1e9]),
        "not_before": st.sampled_from([0, "2030-01-01T00:00:00Z", "soon"]),
        "max_attempts": st.integers(-1, 1001),
        "backoff": st.sampled_from([{}, [], [1], {"max": 1, "initial": 2}]),
        "requeue": st.booleans(),
        "body": st.text(max_size=20),
        "body_base64": st.text("AQ=?", max_size=8),
        "permanent": st.lists(st.sampled_from([400, "5xx", "2xx", None])),
        "labels": st.lists(st.text(max_size=5)),
    },
)


@given(REQUESTS | JSON)
def test_whatever_is_sent_is_taken_or_refused(request: object) -> None:
    queue = MemoryQueue()
    queue.start(lambda failure: None)
    answer = Client(queue).request("POST", body=json.dumps(request).encode())
    assert answer.status[:3] in {"202", "400", "413", "422"}
    assert answer.json["error"] is (answer.status[:3] != "202")
    assert len(queue.store.rows) == (answer.status[:3] == "202")


TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "rojo=00f067aa0ba902b7",
}


class TestTrace:
    def kept(self, queue: MemoryQueue) -> dict[str, str]:
        (payload,) = stored(queue)
        told = json.loads(payload)
        return {name: told[name] for name in TRACE if name in told}

    @pytest.mark.parametrize("more", [{}, {"labels": ["a"]}], ids=["usual", "policy"])
    def test_that_of_the_request_is_stored(
        self, client: Client, queue: MemoryQueue, more: dict[str, object]
    ) -> None:
        call = json.dumps({"url": "http://s.test/", **more}).encode()
        client.post(call, **TRACE)
        assert self.kept(queue) == TRACE
        ((stored_call, _),) = queue.store.rows.values()
        request = client.accepted.take(stored_call)
        assert request is not None
        assert request.policy.traceparent == TRACE["traceparent"]
        assert request.policy.tracestate == TRACE["tracestate"]

    def test_of_each_call_of_a_batch(self, client: Client, queue: MemoryQueue) -> None:
        batch = b'{"calls": [%b, %b]}' % (CALL, CALL)
        client.request("POST", "/v1/calls:batch", body=batch, headers=TRACE)
        assert len(stored(queue)) == 2
        assert all(TRACE["traceparent"].encode() in one for one in stored(queue))

    def test_unread(self, fast: Client, queue: MemoryQueue) -> None:
        fast.post(CALL, **TRACE)
        assert self.kept(queue) == TRACE

    @pytest.mark.parametrize("payload", [b"no JSON", b"{}", b'{"Url": "x"}'])
    def test_what_is_unread_and_no_call_is_as_it_was(
        self, fast: Client, queue: MemoryQueue, payload: bytes
    ) -> None:
        fast.post(payload, **TRACE)
        assert stored(queue) == [payload]

    @pytest.mark.parametrize(
        "own",
        [
            {"traceparent": TRACE["traceparent"].replace("b7", "c7")},
            {"traceparent": None},
            {"headers": {"TraceParent": "whatever it is"}},
        ],
        ids=["property", "null", "header"],
    )
    def test_a_call_that_says_one_itself_is_as_it_was(
        self, client: Client, queue: MemoryQueue, own: dict[str, object]
    ) -> None:
        call = json.dumps({"url": "http://s.test/", **own}).encode()
        assert client.post(call, **TRACE).status == "202 Accepted"
        assert stored(queue) == [call]

    @pytest.mark.parametrize("parent", ["", "00", f"{TRACE['traceparent']},x"])
    def test_what_is_no_trace_is_ignored(
        self, client: Client, queue: MemoryQueue, parent: str
    ) -> None:
        answer = client.post(CALL, **TRACE | {"traceparent": parent})
        assert answer.status == "202 Accepted"
        assert stored(queue) == [CALL]
