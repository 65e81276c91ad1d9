"""Calls, one by one and page by page."""

import json
from typing import Any

import pytest

from mspc.client.failures import NotFound, NotReachable, SaidNo, WrongUse
from tests.unit.client.fakes import Desk


def seen(call_id: str, **more: Any) -> dict[str, Any]:
    return {
        "id": call_id,
        "state": "waiting",
        "held": None,
        "method": "POST",
        "url": "https://a.example/x",
        "destination": "https://a.example:443",
        "labels": ["one", "two"],
        "created_at": "2026-02-02T02:40:00.000Z",
        "next_attempt_at": "2026-02-02T02:41:00.000Z",
        "attempts": 3,
        "max_attempts": None,
        "body_bytes": 0,
        "finished_at": None,
        "reason": None,
        "last_attempt": {"status": 503, "error": "bad_status"},
        **more,
    }


def test_a_list() -> None:
    at = Desk()
    at.mspc.answer("GET", "/v1/calls", {"calls": [seen("1")], "next_cursor": None})
    assert at.run("calls", "list") == 0
    (row,) = at.rows
    assert row == [
        *("1", "waiting", "POST", "https://a.example/x", "3", "503"),
        *("2026-02-02T02:40:00.000Z", "2026-02-02T02:41:00.000Z", "-", "one,two"),
    ]
    assert at.err.getvalue() == ""


def test_every_filter() -> None:
    at = Desk()
    at.mspc.answer("GET", "/v1/calls", {"calls": [], "next_cursor": None})
    at.run(
        *("calls", "list", "--state", "dead", "--state", "waiting", "--status", "4xx"),
        *("--destination", "https://a.example/x", "--url-prefix", "https://a"),
        *("--method", "post", "--label", "one", "--death", "max_age"),
        *("--error", "timeout", "--after", "24h", "--before", "2026-02-02"),
        *("--attempts-min", "2", "--limit", "7"),
    )
    ((_, _, query, _),) = at.mspc.asked
    assert query == {
        "state": ["dead", "waiting"],
        "destination": "https://a.example:443",
        "url_prefix": "https://a",
        "method": "POST",
        "label": "one",
        "reason": "max_age",
        "error": "timeout",
        "status": "4xx",
        "created_after": "2026-02-01T02:40:00Z",
        "created_before": "2026-02-02T00:00:00Z",
        "attempts_min": 2,
        "limit": 7,
        "cursor": None,
    }


def test_pages_until_there_are_enough() -> None:
    at = Desk()
    first = {"calls": [seen("1"), seen("2")], "next_cursor": "c"}
    # A page may be empty and not the last one.
    empty = {"calls": [], "next_cursor": "d"}
    at.mspc.answer("GET", "/v1/calls", first, empty, first)
    assert at.run("calls", "list", "--limit", "4", "--jsonl") == 0
    assert [(q["limit"], q["cursor"]) for _, _, q, _ in at.mspc.asked] == [
        (4, None),
        (2, "c"),
        (2, "d"),
    ]
    assert len(at.out.getvalue().splitlines()) == 4
    assert at.err.getvalue() == "There are more: --limit says how many are shown.\n"


def test_no_page_of_none() -> None:
    at = Desk()
    with pytest.raises(WrongUse, match="--limit must be 1 or more, not 0"):
        at.run("calls", "list", "--limit", "0")


def test_no_page_has_more_than_mspc_gives() -> None:
    at = Desk()
    at.mspc.answer("GET", "/v1/calls", {"calls": [], "next_cursor": None})
    at.run("calls", "list", "--limit", "5000")
    assert at.mspc.asked[0][2]["limit"] == 1000


def test_a_call_with_its_attempts() -> None:
    attempt = {
        "number": 3,
        "started_at": "T",
        "duration_ms": 12,
        "status": 503,
        "error": "bad_status",
        "text": "",
        "answer": "busy\x1b[2J",
        "decision": "retry",
    }
    decision = {
        "id": "d",
        "kind": "retried",
        "at": "T",
        "who": "admin",
        "targets": ["1"],
        "reason": "back",
        "details": {},
    }
    whole = seen("1", attempts_log=[attempt], decisions=[decision], body='{"a": 1}')
    at = Desk()
    at.mspc.answer("GET", "/v1/calls/1", whole)
    assert at.run("calls", "show", "1", "--body") == 0
    assert at.mspc.asked == [("GET", "/v1/calls/1", {"include": "body"}, None)]
    assert ["state", "waiting"] in at.rows
    assert ["last_attempt.status", "503"] in at.rows
    row = ["3", "T", "12", "503", "bad_status", "-", r"busy\x1b[2J", "retry"]
    assert row in at.rows
    assert ["T", "admin", "retried", "1", "back", "-"] in at.rows
    assert at.rows[-1] == ['{"a": 1}']

    as_json = Desk()
    as_json.mspc.answer("GET", "/v1/calls/1", whole)
    as_json.run("calls", "show", "1", "--json")
    assert json.loads(as_json.out.getvalue())["attempts_log"] == [attempt]


@pytest.mark.parametrize(
    ("line", "method", "path", "query", "body"),
    [
        ("calls cancel", "DELETE", "/v1/calls/{}", {"reason": "why"}, None),
        ("calls retry", "POST", "/v1/calls/{}/retry", {}, {"reason": "why"}),
        ("dead retry", "POST", "/v1/calls/{}/retry", {}, {"reason": "why"}),
    ],
)
def test_each_one_that_is_named(
    line: str, method: str, path: str, query: object, body: object
) -> None:
    at = Desk()
    at.mspc.answer(method, path.format("1"), SaidNo("It is in flight."))
    at.mspc.answer(method, path.format("a%2Fb"), {})
    at.mspc.answer(method, path.format("3"), NotFound("Nobody knows it."))
    code = at.run(*line.split(), "1", "a/b", "3", "--reason", "why")

    assert code == 3
    assert at.out.getvalue() == "a/b\n"
    assert at.err.getvalue() == "1: It is in flight.\n3: Nobody knows it.\n"
    assert at.mspc.asked[1] == (method, path.format("a%2Fb"), query, body)


RETRIED = {"error": False, "message": "It is made now", "id": "1"}


@pytest.mark.parametrize("line", ["calls cancel", "calls retry", "dead retry"])
def test_each_one_that_is_named_in_json(line: str) -> None:
    method, end = ("DELETE", "") if "cancel" in line else ("POST", "/retry")
    at = Desk()
    at.mspc.answer(method, f"/v1/calls/1{end}", RETRIED)
    at.mspc.answer(method, f"/v1/calls/2{end}", SaidNo("It is in flight."))
    at.mspc.answer(method, f"/v1/calls/3{end}", {**RETRIED, "id": "3"})
    assert at.run(*line.split(), *("1", "2", "3", "--json")) == 1
    assert json.loads(at.out.getvalue()) == [RETRIED, {**RETRIED, "id": "3"}]
    assert at.run(*line.split(), *("2", "--json")) == 1
    assert at.out.getvalue().endswith("]\n[]\n")

    lines = Desk()
    lines.mspc = at.mspc
    lines.run(*line.split(), *("1", "2", "3", "--jsonl"))
    told = [json.loads(one)["id"] for one in lines.out.getvalue().splitlines()]
    assert told == ["1", "3"]


def test_what_was_done_is_told_when_nobody_answers_any_more() -> None:
    at = Desk()
    at.mspc.answer("DELETE", "/v1/calls/1", RETRIED)
    at.mspc.answer("DELETE", "/v1/calls/2", NotReachable("Away."))
    with pytest.raises(NotReachable):
        at.run("calls", "cancel", "1", "2", "3", "--json")
    assert json.loads(at.out.getvalue()) == [RETRIED]


@pytest.mark.parametrize("limit", ["0", "-5"])
@pytest.mark.parametrize("noun", ["calls", "dead"])
def test_a_list_of_nothing(noun: str, limit: str) -> None:
    with pytest.raises(WrongUse, match="--limit must be 1 or more"):
        Desk().run(noun, "list", f"--limit={limit}")


@pytest.mark.parametrize("noun", ["calls", "dead"])
def test_retry_later(noun: str) -> None:
    at = Desk()
    at.mspc.answer("POST", "/v1/calls/1/retry", {})
    assert at.run(noun, "retry", "1", "--in", "10m") == 0
    assert at.mspc.asked[0][3] == {"reason": "", "delay": 600}


@pytest.mark.parametrize("noun", ["calls", "dead"])
def test_retry_many_later(noun: str) -> None:
    at = Desk()
    plan = {"matched": 2, "more": False, "sample": []}
    at.mspc.answer("POST", "/v1/bulk/plan", plan)
    job = {"id": "9", "status": "done", "matched": 2, "done": 2, "failed": 0}
    at.mspc.answer("POST", "/v1/bulk", job)
    at.run(noun, "retry", "--label", "a", "--in", "10m", "--yes")
    assert at.mspc.asked[1][3]["delay"] == 600
    assert at.mspc.asked[1][3]["action"] == "retry"


@pytest.mark.parametrize("noun", ["calls", "dead"])
@pytest.mark.parametrize("which", ["--label a --dry-run", "--label a --yes", "1"])
@pytest.mark.parametrize("later", ["soon", ""])
def test_a_time_that_is_none_is_told_before_anything_is_asked(
    noun: str, which: str, later: str
) -> None:
    at = Desk()
    with pytest.raises(WrongUse):
        at.run(noun, "retry", *which.split(), "--in", later)
    assert at.mspc.asked == []


@pytest.mark.parametrize("more", ["--all", "--dry-run", "--label a"])
@pytest.mark.parametrize("line", ["calls cancel", "dead retry", "dead delete --yes"])
def test_ids_or_a_filter(line: str, more: str) -> None:
    at = Desk()
    with pytest.raises(WrongUse, match="Ids, and no filter"):
        at.run(*line.split(), "1", *more.split())
    assert at.mspc.asked == []


@pytest.mark.parametrize(
    "line",
    [
        "calls retry 1 2 --per-second 0.5",
        "calls cancel 1 2 --limit 1",
        "dead retry 1 2 --limit 1",
        "dead retry 1 2 --per-second 0.5 --in 10m",
    ],
)
def test_what_spares_a_service_is_not_left_out_in_silence(line: str) -> None:
    at = Desk()
    with pytest.raises(WrongUse, match="go with a filter, or --all"):
        at.run(*line.split())
    assert at.mspc.asked == []
