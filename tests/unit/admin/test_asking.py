"""What can be asked at the operators' door, and what is said of mistakes."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, get_args
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mspc.admin.app import admin_routes
from mspc.admin.queries import Death, Error, Kind, State
from mspc.api.codes import CODES
from mspc.api.shown import rfc3339_or_none
from mspc.calls.requests import UNREADABLE
from mspc.calls.words import ERRORS, REASONS, STATES
from mspc.errors import JournalUnavailable, NotPossible, QueueUnavailable
from mspc.journal import events
from mspc.journal.base import Filter, Group, Pace, Page, Tally
from mspc.journal.events import Decided
from mspc.steering.base import Limits, Standing
from tests.support.door import ADMIN, HOST, MAX_BYTES, ONE, READ, Door
from tests.support.operators import (
    ANSWER,
    AT,
    ATTEMPTED,
    CALL_ID,
    DESTINATION,
    JOB_ID,
    SEEN,
    SHOWN_AT,
    seen,
)

MASKED = "https://service.test/orders?token=***&x=1"
DUE = AT + 6.25

ATTEMPT = {
    "number": 1,
    "started_at": "2027-01-15T08:00:01.250Z",
    "duration_ms": 12,
    "status": 500,
    "error": "bad_status",
    "decision": "retry",
    "next_attempt_at": "2027-01-15T08:00:06.250Z",
    "reason": None,
    "text": "told by the service",
    "answer": ANSWER,
}
CALL = {
    "id": CALL_ID,
    "state": "waiting",
    "held": None,
    "cut_off_at": None,
    "method": "POST",
    "url": MASKED,
    "destination": DESTINATION,
    "labels": ["order-1"],
    "created_at": SHOWN_AT,
    "next_attempt_at": "2027-01-15T08:00:06.250Z",
    "attempts": 1,
    "max_attempts": None,
    "body_bytes": 9,
    "finished_at": None,
    "reason": None,
    "last_attempt": ATTEMPT,
}


def test_the_words_are_those_of_the_vocabulary() -> None:
    assert get_args(State) == STATES
    assert get_args(Error) == ERRORS
    assert get_args(Death) == REASONS
    assert get_args(Kind) == get_args(events.Kind)


class TestList:
    def test_the_shape(self, door: Door) -> None:
        assert door.get("/v1/calls") == {"calls": [CALL], "next_cursor": None}

    def test_what_a_look_has_found_is_shown_before_the_next(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []

        def looks(*_: object) -> Iterator[Page]:
            for number, following in enumerate((2, 3, None), 1):
                order.append("look")
                yield Page([seen(number)], following)

        def in_flight(call_id: str) -> bool:
            order.append("shown")
            return False

        monkeypatch.setattr(door.view, "looks", looks)
        monkeypatch.setattr(door.steering, "in_flight", in_flight)
        page = door.get("/v1/calls")
        assert [call["id"] for call in page["calls"]] == [seen(n).id for n in (1, 2, 3)]
        assert page["next_cursor"] is None
        assert order == ["look", "shown"] * 3

    def test_the_filter(self, door: Door) -> None:
        query = urlencode(
            [
                ("state", "dead"),
                ("state", "waiting"),
                ("destination", DESTINATION),
                ("url_prefix", "https://service.test/a b"),
                ("method", "post"),
                ("label", "order-1"),
                ("reason", "max_age"),
                ("error", "dns"),
                ("status", "4xx"),
                ("created_after", "2027-01-15T09:00:00.250+01:00"),
                ("created_before", "2027-01-15T08:00:01Z"),
                ("attempts_min", "3"),
            ]
        )
        door.get(f"/v1/calls?{query}")
        assert door.view.asked == [
            Filter(
                states=frozenset({"dead", "waiting"}),
                destination=DESTINATION,
                url_prefix="https://service.test/a b",
                method="POST",
                label="order-1",
                reason="max_age",
                error="dns",
                status="4xx",
                created_after=AT,
                created_before=AT + 0.75,
                attempts_min=3,
            )
        ]

    @pytest.mark.parametrize(
        "spelled", ["https://Service.TEST", "HTTPS://service.test:0443/"]
    )
    def test_a_destination_however_it_is_spelled(
        self, door: Door, spelled: str
    ) -> None:
        door.get(f"/v1/calls?destination={quote(spelled)}")
        assert door.view.asked == [Filter(destination="https://service.test:443")]

    def test_calls_that_nobody_can_read_have_a_lane_too(self, door: Door) -> None:
        door.get(f"/v1/calls?destination={quote(UNREADABLE)}")
        assert door.view.asked == [Filter(destination=UNREADABLE)]

    @pytest.mark.parametrize(
        "wrong", ["service.test", "https://service.test/path", "ftp://a.test", "%20"]
    )
    def test_what_is_no_destination(self, door: Door, wrong: str) -> None:
        """Else nothing would be found, as if there were no such calls."""
        answer = door.refused("GET", f"/v1/calls?destination={wrong}")
        assert [one["property"] for one in answer["errors"]] == ["destination"]
        assert "https://api.example.com:443" in answer["message"]

    def test_page_by_page(self, door: Door) -> None:
        door.view.known = [seen(number) for number in range(5)]
        found, cursor = [], ""
        for _ in range(3):
            page = door.get(f"/v1/calls?limit=2&state=waiting{cursor}")
            found += [int(call["id"], 16) for call in page["calls"]]
            cursor = f"&cursor={page['next_cursor']}"
        assert found == [4, 3, 2, 1, 0]
        assert page["next_cursor"] is None

    @pytest.mark.parametrize(
        "cursor", ["x", "é", "W10", "WzEsInh4Il0", "a" * 200, "WyJhIiwxXQ", "%00", "="]
    )
    def test_a_wrong_cursor(self, door: Door, cursor: str) -> None:
        answer = door.refused("GET", f"/v1/calls?cursor={quote(cursor)}")
        assert answer["code"] == "invalid_properties"
        assert [one["property"] for one in answer["errors"]] == ["cursor"]

    def test_a_cursor_of_another_list(self, door: Door) -> None:
        door.view.known = [seen(number) for number in range(5)]
        cursor = door.get("/v1/calls?limit=2&state=waiting&state=dead")["next_cursor"]
        again = f"cursor={cursor}&limit=1"
        assert (
            len(door.get(f"/v1/calls?state=dead&state=waiting&{again}")["calls"]) == 1
        )
        answer = door.refused("GET", f"/v1/calls?state=dead&{again}")
        assert answer["message"] == (
            "cursor must be used with the filter of the page that it comes from."
        )

    def test_what_is_in_flight_is_told_from_the_open_calls(self, door: Door) -> None:
        door.view.known = [seen(1, state="queued"), seen(2), seen(3, state="dead")]
        door.steering.attempted = {f"{1:032x}"}
        states = {call["state"] for call in door.get("/v1/calls")["calls"]}
        assert states == {"in_flight", "waiting", "dead"}
        for state, number in (("in_flight", 1), ("waiting", 2), ("dead", 3)):
            (call,) = door.get(f"/v1/calls?state={state}")["calls"]
            assert (call["id"], call["state"]) == (f"{number:032x}", state)
        assert door.get("/v1/calls?state=queued")["calls"] == []

    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_what_is_in_flight_is_looked_for_page_by_page(
        self, door: Door, limit: int
    ) -> None:
        door.view.known = [seen(number) for number in range(60)]
        door.steering.attempted = {f"{number:032x}" for number in (2, 30, 31)}
        found: list[int] = []
        path = f"/v1/calls?state=in_flight&limit={limit}"
        cursor = ""
        for _ in range(60):
            page = door.get(f"{path}{cursor}")
            assert len(page["calls"]) <= limit
            found += [int(call["id"], 16) for call in page["calls"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert found == [31, 30, 2]

    @pytest.mark.parametrize(
        ("standing", "held"),
        [
            (Standing(DESTINATION), None),
            (Standing(DESTINATION, state="paused"), "paused"),
            (Standing(DESTINATION, state="held"), "breaker"),
            (Standing(DESTINATION, limits=Limits(rate=1)), "rate"),
            (Standing(DESTINATION, limits=Limits(parallelism=1)), "rate"),
        ],
    )
    def test_held(self, door: Door, standing: Standing, held: str | None) -> None:
        door.steering.states = {DESTINATION: standing}
        door.view.known = [SEEN, seen(1, state="dead"), seen(2)]
        door.steering.attempted = {f"{2:032x}"}
        calls = door.get("/v1/calls")["calls"]
        assert {call["state"]: call["held"] for call in calls} == {
            "waiting": held,
            "dead": None,
            "in_flight": None,
        }

    @pytest.mark.parametrize("path", ["/v1/calls", ONE, "/v1/export"])
    @pytest.mark.parametrize("key", [ADMIN, READ])
    def test_no_secret_of_a_url_is_shown(self, door: Door, path: str, key: str) -> None:
        answer = door.ask("GET", path, key=key)
        if key == READ and path == "/v1/export":
            assert answer.status == 403
            return
        assert MASKED.encode() in answer.body
        assert b"s3cr3t-c" not in answer.body

    @pytest.mark.parametrize("secret", ["token=s", "token=", "to%6ben=s3", "x=1;key=a"])
    def test_whoever_may_look_may_not_guess_secrets(
        self, door: Door, secret: str
    ) -> None:
        prefix = quote(f"https://service.test/orders?{secret}", safe="")
        path = f"/v1/calls?url_prefix={prefix}"
        answer = door.ask("GET", path, key=READ)
        assert (answer.status, answer.json["code"]) == (403, "read_only")
        assert door.ask("GET", path).status == 200
        for harmless in ("", "%3Fx%3D1"):
            path = f"/v1/calls?url_prefix=https://service.test/orders{harmless}"
            assert door.ask("GET", path, key=READ).status == 200

    @pytest.mark.parametrize(
        ("started_at", "told"),
        [(None, None), (DUE - 1, None), (DUE, DUE), (DUE + 60, DUE + 60)],
    )
    def test_what_was_due_before_a_crash_may_have_ended(
        self, door: Door, started_at: float | None, told: float | None
    ) -> None:
        door.steering.cut_off = started_at
        door.view.known = [SEEN, seen(1, state="dead"), seen(2)]
        door.steering.attempted = {f"{2:032x}"}
        calls = door.get("/v1/calls")["calls"]
        assert {call["state"]: call["cut_off_at"] for call in calls} == {
            "waiting": rfc3339_or_none(told),
            "dead": None,
            "in_flight": None,
        }

    def test_what_is_not_due_waits_for_its_time(self, door: Door) -> None:
        door.now = AT
        door.steering.states = {
            DESTINATION: Standing(DESTINATION, limits=Limits(rate=1))
        }
        assert door.get(ONE)["held"] is None


class TestMistakes:
    @pytest.mark.parametrize(
        ("query", "properties"),
        [
            ("limit=0", ["limit"]),
            ("limit=1001", ["limit"]),
            ("limit=x&state=alive&status=99", ["state", "status", "limit"]),
            ("status=4xx%0A", ["status"]),
            ("status=404%0A", ["status"]),
            ("limit=1&limit=2", ["limit"]),
            ("limt=1", ["limt"]),
            ("created_after=yesterday", ["created_after"]),
            ("created_after=2027-01-15T08:00:00", ["created_after"]),
            ("created_after=9999999999999999999", ["created_after"]),
            (
                "attempts_min=-1&nothing=&reason=x",
                ["nothing", "reason", "attempts_min"],
            ),
            ("error=x", ["error"]),
            ("%00=1", ["\0"]),
            ("%ff=1", ["\ufffd"]),
            ("&".join(f"a{number}=" for number in range(11)), None),
            ("&".join(f"a{number}=" for number in range(999)), None),
        ],
    )
    def test_of_a_query(
        self, door: Door, query: str, properties: list[str] | None
    ) -> None:
        answer = door.refused("GET", f"/v1/calls?{query}")
        assert answer["code"] == "invalid_properties"
        found = [one["property"] for one in answer["errors"]]
        if properties is not None:
            assert sorted(found) == sorted(properties)
        assert len(found) <= 11

    def test_sentences(self, door: Door) -> None:
        answer = door.refused("GET", "/v1/calls?limit=many&stat=dead&foo=1")
        assert answer["errors"] == [
            {
                "property": "stat",
                "message": '"stat" is not a parameter here; did you mean state?',
            },
            {
                "property": "foo",
                "message": '"foo" is not a parameter here; there are destination, '
                "url_prefix, method, label, reason, error, status, created_after, "
                "created_before, attempts_min, state, limit, cursor.",
            },
            {
                "property": "limit",
                "message": 'limit must be a whole number from 1 to 1000, not "many".',
            },
        ]
        assert answer["message"] == " ".join(one["message"] for one in answer["errors"])

    @pytest.mark.parametrize(
        ("body", "properties"),
        [
            ({}, ["action"]),
            ({"action": "burn", "limit": 0}, ["action", "limit"]),
            ({"action": "retry"}, ["filter"]),
            ({"action": "retry", "filter": {}}, ["filter"]),
            ({"action": "retry", "filter": {"state": []}}, ["filter"]),
            ({"action": "retry", "filter": []}, ["filter"]),
            ({"action": "retry", "filter": {"stat": "dead"}}, ["filter.stat"]),
            ({"action": "retry", "filter": {"state": ["in_flight"]}}, ["filter.state"]),
            (
                {"action": "retry", "filter": {"status": "1", "label": 1}, "x": 1},
                ["x", "filter.label", "filter.status"],
            ),
            (
                {"action": "delete", "filter": {"status": "404", "label": ""}},
                ["filter.label"],
            ),
            (
                {"action": "delete", "filter": {"method": "", "status": ""}},
                ["filter.method", "filter.status"],
            ),
            ({"action": "delete", "filter": {"label": "a b"}}, ["filter.label"]),
            (
                {"action": "delete", "filter": {"destination": "service.test"}},
                ["filter.destination"],
            ),
            ({"action": "retry", "ids": []}, ["ids"]),
            ({"action": "retry", "ids": [""]}, ["ids"]),
            ({"action": "retry", "ids": ["a"], "all": True}, ["ids"]),
            ({"action": "retry", "ids": ["a"], "filter": {"label": "a"}}, ["ids"]),
            ({"action": "retry", "all": 1}, ["all"]),
            ({"action": "retry", "all": True, "per_second": 0}, ["per_second"]),
            ({"action": "retry", "all": True, "reason": "x" * 501}, ["reason"]),
        ],
    )
    def test_of_a_job(self, door: Door, body: object, properties: list[str]) -> None:
        answer = door.refused("POST", "/v1/bulk", body)
        assert sorted(one["property"] for one in answer["errors"]) == sorted(properties)
        assert door.steering.done == []

    @pytest.mark.parametrize(
        ("body", "property_"),
        [
            ({}, "rate"),
            ({"rate": None}, "rate"),
            ({"rate": 0}, "rate"),
            ({"rate": 1.5}, "rate"),
            ({"rate": True}, "rate"),
            ({"parallelism": 0}, "parallelism"),
            ({"rate": 1, "period": 0}, "period"),
            ({"rate": 1, "period": "0s"}, "period"),
            ({"rate": 1, "period": "1d"}, "period"),
            ({"rate": 1, "period": "1s\n"}, "period"),
            ({"rate": 1, "period": "99999h"}, "period"),
            ({"rate": 1, "periode": "1s"}, "periode"),
        ],
    )
    def test_of_limits(self, door: Door, body: object, property_: str) -> None:
        answer = door.refused("PUT", f"{HOST}/limits", body)
        assert [one["property"] for one in answer["errors"]] == [property_]

    @pytest.mark.parametrize("body", [b"[]", b"x", b"1", b"{", b"\xff", b"[" * 99_999])
    def test_of_a_body_that_is_no_object(self, door: Door, body: bytes) -> None:
        for path in ("/v1/bulk", "/v1/calls", f"{ONE}/retry"):
            answer = door.refused("POST", path, body, 422)
            assert answer["code"] == "not_an_object"

    def test_of_a_body_that_is_too_large(self, door: Door) -> None:
        answer = door.refused("POST", "/v1/bulk", b" " * (MAX_BYTES + 1), 413)
        assert answer["code"] == "too_large"

    @pytest.mark.parametrize(
        "key",
        [
            "x",
            "https%3A%2F%2Fservice.test%2Fpath",
            "service.test%3A443",
            "https%3A%2F%2F%3A1x",
        ],
    )
    def test_of_a_destination(self, door: Door, key: str) -> None:
        answer = door.refused("POST", f"/v1/destinations/{key}/pause")
        assert [one["property"] for one in answer["errors"]] == ["key"]
        assert door.steering.done == []

    def test_of_a_pause(self, door: Door) -> None:
        until = "2027-01-15T08:00:00Z"
        answer = door.refused("POST", f"{HOST}/pause", {"until": until})
        assert answer["message"] == "until must be in the future."


class TestOneCall:
    def test_the_shape(self, door: Door) -> None:
        door.view.decided = [Decided("retried", AT, "admin", (CALL_ID,), "why", id="1")]
        assert door.get(ONE) == {
            **CALL,
            "attempts_log": [ATTEMPT],
            "decisions": [
                {
                    "id": "1",
                    "kind": "retried",
                    "at": SHOWN_AT,
                    "who": "admin",
                    "targets": [CALL_ID],
                    "reason": "why",
                    "details": {},
                }
            ],
        }

    def test_with_its_request(self, door: Door) -> None:
        call = door.get(f"{ONE}?include=body")
        assert call["headers"] == [
            ["X-Auth", "***"],
            ["Cookie", "***"],
            ["Content-Type", "application/json"],
        ]
        assert (call["body"], call["body_complete"]) == ('{"a": 1}\n', True)

    def test_of_bytes_that_are_no_text(self, door: Door) -> None:
        door.view.known = [seen(1, body=b"\xff\0", body_bytes=2)]
        call = door.get(f"/v1/calls/{1:032x}?include=body")
        assert call["body_base64"] == "/wA="
        assert "body" not in call

    def test_what_is_kept_of_a_body_may_end_within_a_character(
        self, door: Door
    ) -> None:
        door.view.known = [seen(1, body="až".encode()[:2], body_bytes=3)]
        call = door.get(f"/v1/calls/{1:032x}?include=body")
        assert (call["body"], call["body_complete"]) == ("a", False)

    def test_of_a_long_body_the_queue_has_the_rest(self, door: Door) -> None:
        door.view.known = [seen(1, body=b"[1", body_bytes=4)]
        path = f"/v1/calls/{1:032x}?include=body"
        assert door.get(path)["body_complete"] is False
        door.steering.sent[f"{1:032x}"] = json.dumps(
            {"url": "http://a.test/", "body": "[12]"}
        ).encode()
        call = door.get(path)
        assert (call["body"], call["body_complete"]) == ("[12]", True)

    def test_nobody_knows_it(self, door: Door) -> None:
        for method, path in (
            ("GET", "/v1/calls/x%2Fy"),
            ("GET", "/v1/calls/x/curl"),
            ("DELETE", "/v1/calls/x"),
            ("POST", "/v1/calls/x/retry"),
        ):
            assert door.refused(method, path, status=404)["code"] == "no_such_call"

    def test_cancel(self, door: Door) -> None:
        answer = door.ask("DELETE", f"{ONE}?reason=a%20typo")
        assert answer.json == {"error": False, "message": "Cancelled", "id": CALL_ID}
        assert door.steering.done == [("cancel", CALL_ID, "admin", "a typo")]

    def test_retry(self, door: Door) -> None:
        assert door.ask("POST", f"{ONE}/retry").status == 200
        assert door.ask("POST", f"{ONE}/retry", {"reason": None}).status == 200
        assert door.ask("POST", f"{ONE}/retry", {"reason": "mended"}).status == 200
        assert door.steering.done == [
            ("retry", CALL_ID, "admin", ""),
            ("retry", CALL_ID, "admin", ""),
            ("retry", CALL_ID, "admin", "mended"),
        ]

    @pytest.mark.parametrize(
        ("delay", "seconds"), [(600, 600), ("10m", 600), ("2d", 172_800), (0, None)]
    )
    def test_retry_later(
        self, door: Door, delay: object, seconds: float | None
    ) -> None:
        answer = door.ask("POST", f"{ONE}/retry", {"delay": delay})
        later = () if seconds is None else (seconds,)
        assert door.steering.done == [("retry", CALL_ID, "admin", "", *later)]
        when = "now" if seconds is None else f"in {seconds} s"
        assert answer.json["message"] == f"It is made {when}"

    @pytest.mark.parametrize(
        "delay", [-1, 31_536_001, "366d", "10", "ten", "1w", "1s\n", True]
    )
    def test_a_delay_that_is_none(self, door: Door, delay: object) -> None:
        answer = door.refused("POST", f"{ONE}/retry", {"delay": delay})
        assert answer["errors"][0]["property"] == "delay"
        assert door.steering.done == []

    @pytest.mark.parametrize(
        ("state", "told"), [("paused", "is resumed"), ("held", "answers again")]
    )
    def test_retry_says_what_keeps_the_call_from_being_made(
        self, door: Door, state: str, told: str
    ) -> None:
        door.steering.states = {DESTINATION: Standing(DESTINATION, state)}
        answer = door.ask("POST", f"{ONE}/retry")
        assert answer.json["message"].startswith("It is due now, and made when")
        assert told in answer.json["message"]

    @pytest.mark.parametrize(
        ("failure", "status", "code"),
        [
            (NotPossible("already_succeeded", "It has."), 409, "already_succeeded"),
            (NotPossible("waits_in_rabbitmq", "Until."), 409, "waits_in_rabbitmq"),
            (JournalUnavailable("It is off.", off=True), 501, "journal_off"),
            (JournalUnavailable("It is away."), 503, "journal_unavailable"),
            (QueueUnavailable("It is away."), 503, "queue_unavailable"),
        ],
    )
    def test_what_cannot_be_done(
        self, door: Door, failure: Any, status: int, code: str
    ) -> None:
        door.steering.refusal = failure
        for method, path in (("DELETE", ONE), ("POST", f"{ONE}/retry")):
            answer = door.refused(method, path, status=status)
            assert answer["code"] == code
            assert CODES[code] == status

    def test_in_flight(self, door: Door) -> None:
        door.steering.attempted = {CALL_ID}
        assert door.refused("DELETE", ONE, status=409)["code"] == "in_flight"

    def test_a_new_one(self, door: Door) -> None:
        answer = door.ask("POST", "/v1/calls", b'{"url": "http://a.test/"}')
        ((call, _),) = door.queue.store.rows.values()
        assert (answer.status, answer.json["id"]) == (202, call.id)
        assert call.payload == b'{"url": "http://a.test/"}'
        wrong = door.refused("POST", "/v1/calls", {"url": "x", "bdy": 1})
        assert [one["property"] for one in wrong["errors"]] == ["url", "bdy"]
        door.queue.broken = "The broker is away."
        wrong = door.refused("POST", "/v1/calls", {"url": "http://a.test/"}, 503)
        assert wrong["code"] == "not_stored"


STANDING = Standing(DESTINATION, "held", "open", 3, Limits(5, 0.5, 10), None, AT)
SHOWN: dict[str, Any] = {
    "destination": DESTINATION,
    "state": "held",
    "breaker": "open",
    "queued": 1,
    "waiting": 2,
    "in_flight": 3,
    "dead": 4,
    "oldest_due_at": SHOWN_AT,
    "limits": {"rate": 5, "period": "500ms", "parallelism": 10},
    "paused_until": None,
    "next_probe_at": SHOWN_AT,
    "last_attempt": ATTEMPT,
    "rates": {
        "5m": {"attempts": 60, "succeeded": 45},
        "60m": {"attempts": 100, "succeeded": 50},
    },
}


def test_many_new_ones(door: Door) -> None:
    right, wrong = {"url": "http://a.test/"}, {"url": "x"}
    answer = door.ask("POST", "/v1/calls:batch", {"calls": [right, right]})
    assert answer.status == 202
    ids = [call.id for call, _ in door.queue.store.rows.values()]
    assert answer.json == {
        "error": False,
        "message": "Accepted",
        "calls": [{"id": call_id} for call_id in ids],
    }
    answer = door.ask("POST", "/v1/calls:batch", {"calls": [right, wrong]})
    told = "url must start with http:// or https://."
    assert answer.json["message"] == "1 of 2 calls were accepted."
    assert answer.json["error"] is True
    assert answer.json["calls"][1] == {
        "code": "invalid_properties",
        "message": told,
        "errors": [{"property": "url", "message": told}],
    }
    assert door.refused("POST", "/v1/calls:batch", {"calls": []})


class TestDestinations:
    @pytest.fixture
    def door(self) -> Door:
        door = Door()
        states = {"queued": 1, "waiting": 2, "dead": 4}
        pace = Pace(60, 45, 100, 50)
        door.view.tallies = {DESTINATION: Tally(states, AT, ATTEMPTED, pace)}
        door.steering.states = {
            DESTINATION: STANDING,
            "http://b.test:80": Standing("http://b.test:80", "paused"),
        }
        return door

    def test_the_shapes(self, door: Door) -> None:
        assert door.get(HOST) == SHOWN
        paused, held = door.get("/v1/destinations")["destinations"]
        assert held == SHOWN
        assert (paused["destination"], paused["state"]) == (
            "http://b.test:80",
            "paused",
        )
        assert (paused["dead"], paused["limits"]) == (0, None)

    def test_that_of_calls_which_nobody_can_read(self, door: Door) -> None:
        door.view.tallies["unreadable calls"] = Tally({"dead": 1}, None, None)
        shown = door.get("/v1/destinations/unreadable%20calls")
        assert (shown["destination"], shown["dead"]) == ("unreadable calls", 1)

    @pytest.mark.parametrize("period", ["500ms", "1s", "90s", "12345678ms", 0.25])
    def test_what_is_shown_of_a_limit_can_be_said(
        self, door: Door, period: object
    ) -> None:
        door.ask("PUT", f"{HOST}/limits", {"rate": 5, "period": period})
        said = door.steering.done[-1][3]
        door.steering.states[DESTINATION] = Standing(DESTINATION, limits=said)
        shown = door.get(HOST)["limits"]
        assert door.ask("PUT", f"{HOST}/limits", shown).status == 200
        assert door.steering.done[-1][3] == said

    def test_nobody_knows_it(self, door: Door) -> None:
        path = "/v1/destinations/http%3A%2F%2Fc.test%3A80"
        assert door.refused("GET", path, status=404)["code"] == "no_such_destination"

    @pytest.mark.parametrize(
        "spelling", ["https://Service.test", "HTTPS://service.test/"]
    )
    def test_in_another_spelling(self, door: Door, spelling: str) -> None:
        path = f"/v1/destinations/{quote(spelling, safe='')}"
        assert door.get(path) == SHOWN
        assert door.ask("POST", f"{path}/pause").json["destination"] == DESTINATION

    def test_pause_and_resume(self, door: Door) -> None:
        until = "2027-01-15T08:00:11Z"
        answer = door.ask("POST", f"{HOST}/pause", {"until": until, "reason": "move"})
        assert answer.json == {
            "error": False,
            "message": "Paused until 2027-01-15T08:00:11.000Z",
            "destination": DESTINATION,
        }
        assert door.ask("POST", f"{HOST}/pause").json["message"] == "Paused"
        assert door.ask("POST", f"{HOST}/resume").status == 200
        assert door.steering.done == [
            ("pause", DESTINATION, "admin", AT + 10.75, "move"),
            ("pause", DESTINATION, "admin", None, ""),
            ("resume", DESTINATION, "admin", ""),
        ]

    @pytest.mark.parametrize(
        ("body", "limits"),
        [
            ({"rate": 5}, Limits(5, 1.0, None)),
            ({"rate": 5, "period": "500ms"}, Limits(5, 0.5, None)),
            ({"rate": 5, "period": "2m", "parallelism": 3}, Limits(5, 120.0, 3)),
            ({"rate": 5, "period": "1h"}, Limits(5, 3600.0, None)),
            ({"rate": 5, "period": "7s"}, Limits(5, 7.0, None)),
            ({"parallelism": 1, "period": 0.25}, Limits(None, 0.25, 1)),
        ],
    )
    def test_limits(self, door: Door, body: object, limits: Limits) -> None:
        assert door.ask("PUT", f"{HOST}/limits", body).status == 200
        assert door.ask("DELETE", f"{HOST}/limits?reason=done").status == 200
        assert door.steering.done == [
            ("limit", DESTINATION, "admin", limits, ""),
            ("limit", DESTINATION, "admin", None, "done"),
        ]


class TestMany:
    def test_groups(self, door: Door) -> None:
        door.view.found = [
            Group("max_age", None, "dns", DESTINATION, 7, AT, AT, CALL_ID),
            Group("permanent", 410, "", DESTINATION, 1, AT, AT, CALL_ID, "gone"),
        ]
        first, second = door.get("/v1/dead/groups", key=READ)["groups"]
        assert first == {
            "reason": "max_age",
            "status": None,
            "error": "dns",
            "destination": DESTINATION,
            "count": 7,
            "first_at": SHOWN_AT,
            "last_at": SHOWN_AT,
            "latest_id": CALL_ID,
            "answer": None,
        }
        assert (second["status"], second["error"], second["answer"]) == (
            410,
            None,
            "gone",
        )

    def test_a_plan(self, door: Door) -> None:
        body = {"action": "delete", "filter": {"state": ["dead"], "status": "404"}}
        answer = door.ask("POST", "/v1/bulk/plan", body)
        assert answer.json == {"matched": 1, "more": False, "sample": [CALL_ID]}
        wanted = Filter(states=frozenset({"dead"}), status="404")
        assert door.steering.done == [("plan", "delete", wanted)]

    @pytest.mark.parametrize(
        ("more", "limit"), [({}, 1500), ({"limit": 2}, 2), ({"limit": None}, 1500)]
    )
    def test_a_job_is_for_all_that_are_named(
        self, door: Door, more: dict[str, Any], limit: int
    ) -> None:
        ids = [f"{number:032x}" for number in range(1500)]
        door.ask("POST", "/v1/bulk", {"action": "delete", "ids": ids, **more})
        assert limit in door.steering.done[0]

    def test_a_job(self, door: Door) -> None:
        body = {"action": "retry", "ids": [CALL_ID], "limit": 2, "per_second": 5}
        answer = door.ask("POST", "/v1/bulk", {**body, "reason": "mended"})
        assert answer.status == 202
        assert answer.json == {
            "id": JOB_ID,
            "action": "retry",
            "status": "running",
            "matched": 1,
            "done": 0,
            "failed": 0,
            "reason": "mended",
            "who": "admin",
            "started_at": SHOWN_AT,
            "finished_at": None,
        }
        assert door.get(f"/v1/bulk/{JOB_ID}") == answer.json
        assert door.get("/v1/bulk") == {"jobs": [answer.json]}
        assert door.ask("DELETE", f"/v1/bulk/{JOB_ID}").json == answer.json
        assert door.steering.done == [
            ("begin", "retry", (CALL_ID,), "admin", 2, 5.0, "mended"),
            ("stop_job", JOB_ID, "admin"),
        ]
        for method in ("GET", "DELETE"):
            wrong = door.refused(method, "/v1/bulk/x", status=404)
            assert wrong["code"] == "no_such_job"

    def test_a_job_for_later(self, door: Door) -> None:
        body = {"action": "retry", "all": True, "delay": "10m"}
        assert door.ask("POST", "/v1/bulk", body).status == 202
        assert door.steering.done == [
            ("begin", "retry", Filter(), "admin", 1000, 50.0, 600.0, "")
        ]

    @pytest.mark.parametrize(
        ("action", "delay", "told"),
        [
            ("cancel", 1, "delay is for the action retry."),
            ("delete", "1s", "delay is for the action retry."),
            ("retry", "366d", "delay must not be longer than a year."),
            ("retry", -1, "delay must be seconds up to a year"),
        ],
    )
    def test_a_delay_that_cannot_be(
        self, door: Door, action: str, delay: object, told: str
    ) -> None:
        body = {"action": action, "all": True, "delay": delay}
        wrong = door.refused("POST", "/v1/bulk", body)
        assert wrong["message"].startswith(told)
        assert door.steering.done == []

    def test_every_call_must_be_meant(self, door: Door) -> None:
        door.ask("POST", "/v1/bulk", {"action": "cancel", "all": True})
        assert door.steering.done == [
            ("begin", "cancel", Filter(), "admin", 1000, 50.0, "")
        ]

    def test_stats(self, door: Door) -> None:
        door.problem = "The broker is away."
        stats = door.get("/v1/stats", key=READ)
        hours = stats.pop("hours")
        assert {name: sum(hours[name]) for name in hours} == {
            "accepted": 96,
            "attempts": 144,
            "succeeded": 120,
            "died": 168,
        }
        minutes = stats.pop("minutes")
        assert {name: len(values) for name, values in minutes.items()} == {
            "accepted": 60,
            "attempts": 60,
            "succeeded": 60,
            "died": 60,
        }
        assert stats == {
            "ready": False,
            "problem": "The broker is away.",
            "remark": None,
            "engine": "sqlite",
            "spool": None,
            "scope": "all",
            "states": {
                "queued": 0,
                "in_flight": 3,
                "waiting": 1,
                "succeeded": 0,
                "dead": 0,
                "cancelled": 0,
            },
            "oldest_due_at": SHOWN_AT,
            "oldest_due_age_seconds": 10.0,
            "rates": {
                "1m": {"accepted": 1, "attempts": 2, "succeeded": 3, "died": 4},
                "60m": {"accepted": 60, "attempts": 120, "succeeded": 180, "died": 240},
            },
            "events_dropped": 0,
        }

    def test_decisions(self, door: Door) -> None:
        door.view.decided = [
            Decided("paused", AT, "admin", (DESTINATION,), details={"until": None}),
            Decided("cancelled", AT, "calls", (CALL_ID,)),
        ]
        assert len(door.get("/v1/decisions")["decisions"]) == 2
        queries = [
            *(
                f"target={quote(DESTINATION)}",
                f"target={quote('HTTPS://Service.test')}",
            ),
            *("kind=paused", "limit=1"),
        ]
        for query in queries:
            (only,) = door.get(f"/v1/decisions?{query}")["decisions"]
            assert (only["kind"], only["details"]) == ("paused", {"until": None})
        door.refused("GET", "/v1/decisions?kind=burnt")

    def test_no_secret_of_a_url_that_a_job_looks_for_is_shown(self, door: Door) -> None:
        wanted = {"url_prefix": "http://a/?x=1&token=s3cr3t", "method": "PUT"}
        door.view.decided = [
            Decided("bulk", AT, "admin", (JOB_ID,), details={"filter": wanted}),
            Decided("bulk", AT, "admin", (JOB_ID,), details={"filter": None}),
        ]
        shown = door.get("/v1/decisions")["decisions"]
        masked = {"url_prefix": "http://a/?x=1&token=***", "method": "PUT"}
        assert [one["details"]["filter"] for one in shown] == [masked, None]

    def test_export(self, door: Door) -> None:
        door.view.known = [seen(number) for number in range(250)]
        door.steering.sent = {
            f"{0:032x}": b'{"url": "http://a.test/"}',
            f"{1:032x}": b"\xff",
        }
        answer = door.ask("GET", "/v1/export")
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.body.splitlines()]
        assert len(lines) == 250
        assert lines[-1]["payload"] == '{"url": "http://a.test/"}'
        assert lines[-2]["payload_base64"] == "/w=="
        assert lines[0].keys() == {"call"}
        assert door.view.asked[0].states == {"queued", "waiting", "dead"}
        door.ask("GET", "/v1/export?state=dead")
        assert door.view.asked[-1].states == {"dead"}

    @pytest.mark.parametrize("ended", [0, 1, 2])
    def test_an_export_has_no_call_that_has_ended_since(
        self, ended: int, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        door.view.known = [seen(number) for number in range(3)]
        for number in {0, 1, 2} - {ended}:
            door.steering.sent[f"{number:032x}"] = b'{"url": "http://a.test/"}'
        page, payloads = list(door.view.known), door.steering.payloads

        def ends(ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
            door.view.known = [one for one in page if one.id != f"{ended:032x}"]
            return payloads(ids)

        monkeypatch.setattr(door.steering, "payloads", ends)
        lines = door.ask("GET", "/v1/export").body.splitlines()
        ids = [json.loads(line)["call"]["id"] for line in lines]
        assert ids == [f"{number:032x}" for number in (2, 1, 0) if number != ended]

    def test_an_export_has_a_call_that_an_attempt_has_moved_meanwhile(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        door.view.known = [seen(number) for number in range(3)]
        sent = {one.id: one.id.encode() for one in door.view.known}
        door.steering.sent = sent

        def moves(ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
            there = [one for one in ids if len(ids) == 1 or one != f"{1:032x}"]
            return iter([(one, sent[one]) for one in there])

        monkeypatch.setattr(door.steering, "payloads", moves)
        lines = map(json.loads, door.ask("GET", "/v1/export").body.splitlines())
        assert [(line["call"]["id"], line["payload"]) for line in lines] == [
            (one, one) for one in reversed(sent)
        ]

    def test_an_export_that_ends_early_says_so(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        door.view.known = [seen(number) for number in range(250)]
        door.view.failure = JournalUnavailable("Its file is away.")
        assert door.refused("GET", "/v1/export", status=503)
        door.view.failure = None

        def fails(ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
            yield from ((one, b"{}") for one in ids[:3])
            raise QueueUnavailable("Its file is away.")

        monkeypatch.setattr(door.steering, "payloads", fails)
        *whole, last = door.ask("GET", "/v1/export").body.splitlines()
        assert len(whole) == 3
        assert json.loads(last)["code"] == "queue_unavailable"

    def test_without_a_journal_what_needs_it_says_so(self, door: Door) -> None:
        door.view.failure = JournalUnavailable("JOURNAL is 0.", off=True)
        for path in (
            "/v1/calls",
            ONE,
            "/v1/stats",
            "/v1/destinations",
            "/v1/decisions",
        ):
            assert door.refused("GET", path, status=501)["code"] == "journal_off"
        assert door.ask("POST", f"{HOST}/pause").status == 200


NAMES = st.sampled_from(
    ["limit", "state", "cursor", "status", "created_after", "kind", "include", "reveal"]
)
TEXTS = st.text(max_size=12) | st.sampled_from(["1", "dead", "body", "2xx", "nan"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["action", "filter", "ids", "state", "rate", "period"])
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
PATHS = [
    (route.method, route.path)
    for route in admin_routes(*[None] * 4)  # type: ignore[arg-type]
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(PATHS),
    st.text(max_size=8),
    st.lists(st.tuples(NAMES | st.text(max_size=6), TEXTS), max_size=3),
    st.binary(max_size=20) | JSON,
)
def test_whatever_is_sent_gives_no_bug(
    place: tuple[str, str], name: str, query: list[tuple[str, str]], body: object
) -> None:
    method, path = place
    key = quote(name, safe="", errors="replace") or "x"
    target = path.format(call_id=key, key=key, job_id=key)
    parameters = urlencode(query, errors="replace")
    answer = Door().ask(method, f"{target}?{parameters}", body)
    assert answer.status in {200, 202, 400, 404, 405, 409, 413, 422}
