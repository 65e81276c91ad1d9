"""`mspc send`: what is handed over, and what is waited for."""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mspc.client.arguments import parser
from mspc.client.failures import SaidNo, WrongUse
from mspc.client.send import call
from tests.unit.client.fakes import Desk

URL = "http://a.example/"


def sent(*arguments: str, stdin: bytes = b"") -> dict[str, object]:
    line = ["send", URL, *arguments]
    options: argparse.Namespace = parser(line).parse_args(line)
    return call(options, io.BytesIO(stdin))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([], {}),
        (["--method", "delete"], {"method": "delete"}),
        (["-d", "text"], {"method": "POST", "body": "text"}),
        (["-d", ""], {"method": "POST", "body": ""}),
        (["-d", "x", "-X", "PUT"], {"method": "PUT", "body": "x"}),
        (["-d", "@-"], {"method": "POST", "body_base64": "/wA="}),
        (
            ["--data-json", "{}"],
            {
                "method": "POST",
                "body": "{}",
                "headers": {"Content-Type": "application/json"},
            },
        ),
        (
            ["--data-json", "{}", "-H", "content-type: application/ld+json"],
            {
                "method": "POST",
                "body": "{}",
                "headers": {"content-type": "application/ld+json"},
            },
        ),
        (["-H", "A: b: c", "-H", "D:"], {"headers": {"A": "b: c", "D": ""}}),
        (["--label", "a", "--label", "b"], {"labels": ["a", "b"]}),
        (
            ["--delay", "10m", "--max-attempts", "3", "--max-age", "1d"],
            {"delay": "10m", "max_attempts": 3, "max_age": "1d"},
        ),
        (
            ["--not-before", "2026-12-01T08:00:00Z", "--timeout", "10s"],
            {"not_before": "2026-12-01T08:00:00Z", "timeout": "10s"},
        ),
        (
            ["--delay", "10", "--max-age", "0.5", "--not-before", "1800000000"],
            {"delay": 10, "max_age": 0.5, "not_before": 1_800_000_000},
        ),
        (["--permanent", "404", "--once"], {"permanent": ["404"], "requeue": False}),
    ],
)
def test_a_call(line: list[str], expected: dict[str, Any]) -> None:
    assert sent(*line, stdin=b"\xff\x00") == {"url": URL, **expected}


def test_a_body_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_text("of a file")
    assert sent("-d", f"@{file}")["body"] == "of a file"
    with pytest.raises(WrongUse, match=r"none cannot be read: No such file"):
        sent("-d", f"@{tmp_path}/none")


def test_a_header_without_a_colon() -> None:
    with pytest.raises(WrongUse, match="must be like 'Name: value', not 'A'"):
        sent("-H", "A")


def test_a_header_that_is_given_twice() -> None:
    with pytest.raises(WrongUse, match="--header 'A' is given twice"):
        sent("-H", "A: 1", "-H", "A: 2")


def test_its_id_is_printed() -> None:
    at = Desk()
    at.mspc.answer("POST", "/v1/calls", {"message": "Accepted", "id": "c1"})
    assert at.run("send", URL) == 0
    assert at.out.getvalue() == "c1\n"
    assert at.mspc.bodies("/v1/calls") == [{"url": URL}]
    assert at.run("send", URL, "--json") == 0
    assert json.loads(at.out.getvalue().partition("\n")[2])["id"] == "c1"


def waiting(*seen: dict[str, Any]) -> Desk:
    at = Desk()
    at.mspc.answer("POST", "/v1/calls", {"id": "c1"})
    at.mspc.answer("GET", "/v1/calls/c1", *seen)
    return at


OPEN = {"state": "waiting", "attempts": 1}


def test_it_waits_until_the_call_has_succeeded() -> None:
    at = waiting(OPEN, OPEN, {"state": "succeeded", "attempts": 2})
    assert at.run("send", URL, "--wait") == 0
    assert at.slept == [0.1, 0.2]
    assert at.err.getvalue() == ""


def test_it_looks_every_two_seconds_at_last() -> None:
    at = waiting(*[OPEN] * 10, {"state": "succeeded", "attempts": 2})
    at.run("send", URL, "--wait")
    assert at.slept[-2:] == [2.0, 2.0]


@pytest.mark.parametrize("state", ["dead", "cancelled"])
def test_a_call_that_did_not_succeed(state: str) -> None:
    last = {"status": 404, "text": None}
    gone = {"state": state, "reason": "permanent", "last_attempt": last}
    at = waiting(gone)
    assert at.run("send", URL, "--wait") == 1
    assert at.out.getvalue() == "c1\n"
    assert at.err.getvalue() == f"The call is {state}: permanent 404\n"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"reason": None, "last_attempt": None}, "The call is cancelled."),
        ({}, "The call is cancelled."),
        ({"reason": "wrong"}, "The call is cancelled: wrong"),
        (
            {"reason": None, "last_attempt": {"status": 503}},
            "The call is cancelled: 503",
        ),
    ],
)
def test_a_call_that_was_cancelled(more: dict[str, Any], told: str) -> None:
    at = waiting({"state": "cancelled", **more})
    assert at.run("send", URL, "--wait") == 1
    assert at.err.getvalue() == f"{told}\n"


def test_a_journal_that_is_off_does_not_hide_the_id() -> None:
    at = waiting(SaidNo("JOURNAL is 0."))  # type: ignore[arg-type]
    with pytest.raises(SaidNo):
        at.run("send", URL, "--wait")
    assert at.out.getvalue() == "c1\n"


def test_an_interruption_leaves_the_call() -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    at = Desk(sleep=interrupted)
    at.mspc.answer("POST", "/v1/calls", {"id": "c1"})
    at.mspc.answer("GET", "/v1/calls/c1", OPEN)
    assert at.run("send", URL, "--wait") == 130
    assert "`mspc calls show c1`" in at.err.getvalue()
