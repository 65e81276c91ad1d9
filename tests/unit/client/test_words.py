"""Moments, destinations, cells: how something is written."""

import io
import json
from typing import Any

import pytest

from mspc.client.choosing import destination
from mspc.client.destinations import rate
from mspc.client.failures import WrongUse
from mspc.client.moments import past, rfc3339, seconds
from mspc.client.table import Form, Output, cell, harmless, member
from tests.unit.client.fakes import NOW, Desk


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604_800)]
)
def test_a_duration(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "1", "h", "1w", "-1h", "1h30m"])
def test_no_duration(text: str) -> None:
    with pytest.raises(WrongUse, match="A duration is like 30s"):
        seconds(text)


@pytest.mark.parametrize("text", ["foo", "24", "31.1.2026", "yesterday", "1h "])
def test_no_moment(text: str) -> None:
    told = f"--before must be like 24h (ago), 2026-01-31 or .* not '{text}'"
    with pytest.raises(WrongUse, match=told.replace("(ago)", r"\(ago\)")):
        past("--before", text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", "2026-02-01T02:40:00Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T12:00:00+01:00", "2026-01-31T12:00:00+01:00"),
        ("", ""),
    ],
)
def test_a_moment(text: str, expected: str) -> None:
    assert past("--after", text, NOW) == expected
    assert rfc3339(NOW) == "2026-02-02T02:40:00Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example", "https://api.example:443"),
        ("http://API.example/some/path?x=1", "http://api.example:80"),
        ("https://api.example:8443", "https://api.example:8443"),
        ("http://[2001:db8::5]:8080/", "http://[2001:db8::5]:8080"),
        ("http://api.example:", "http://api.example:80"),
        ("http://api.example:0", "http://api.example:0"),  # which mspc refuses
        ("a flow", "a flow"),
    ],
)
def test_a_destination(text: str, expected: str) -> None:
    assert destination(text) == expected


@pytest.mark.parametrize("text", ["http://host:99999", "http://[::1"])
def test_no_destination(text: str) -> None:
    with pytest.raises(WrongUse, match="is no destination"):
        destination(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5/s", (5, "1s")), ("300/m", (300, "1m")), ("1/10s", (1, "10s"))],
)
def test_a_rate(text: str, expected: tuple[int, str]) -> None:
    assert rate(text) == expected


@pytest.mark.parametrize("text", ["5", "0/s", "5/", "5/0s", "5/d", "5.5/s"])
def test_no_rate(text: str) -> None:
    with pytest.raises(WrongUse, match="--rate must be like 5/s"):
        rate(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        (0, "0"),
        (False, "no"),
        (["a", "b"], "a,b"),
        ([{"a": 1}], '[{"a": 1}]'),
        ("a\tb\nc", r"a\tb\nc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("right \u202e left", r"right \u202e left"),
        ("half \ud800", r"half \ud800"),
        ("Jörg 東京 🙂", "Jörg 東京 🙂"),
    ],
)
def test_a_cell_does_no_harm(value: object, expected: str) -> None:
    assert cell(value) == expected


def test_a_name_of_another_does_no_harm() -> None:
    out = io.StringIO()
    Output(out, "text", True).item({"\x1b[2J": {"\x07": 1}})
    assert out.getvalue() == r"\x1b[2J.\x07  1" + "\n"
    assert harmless("plain") == "plain"


ITEMS: list[dict[str, Any]] = [
    {"id": "1", "url": "http://a/", "last": {"status": 500}},
    {"id": "22", "url": "http://b/\x7f\x1b", "last": None},
]
COLUMNS = (
    ("id", member("id")),
    ("url", member("url")),
    ("status", member("last", "status")),
)


def printed(form: Form, terminal: bool, items: Any = ITEMS) -> str:
    out = io.StringIO()
    Output(out, form, terminal).items(iter(items), COLUMNS)
    return out.getvalue()


def test_a_table_for_a_terminal() -> None:
    assert printed("text", True).splitlines() == [
        "ID  URL                STATUS",
        "1   http://a/          500",
        r"22  http://b/\x7f\x1b  -",
    ]
    assert printed("text", True, []) == ""


def test_lines_for_a_program() -> None:
    lines = printed("text", False).splitlines()
    assert lines == ["1\thttp://a/\t500", "22\thttp://b/\\x7f\\x1b\t-"]


@pytest.mark.parametrize("terminal", [True, False])
def test_json(terminal: bool) -> None:
    text = printed("json", terminal)
    assert json.loads(text) == ITEMS
    assert text.isascii()
    assert "\x7f" not in text
    assert json.loads(printed("json", terminal, [])) == []


def test_json_lines() -> None:
    lines = printed("jsonl", False).splitlines()
    assert [json.loads(line) for line in lines] == ITEMS


@pytest.mark.parametrize(
    "line", ["pause http://a --for", "limit http://a --parallelism 2 --rate"]
)
def test_what_is_empty_is_not_as_if_it_were_not_there(line: str) -> None:
    at = Desk()
    with pytest.raises(WrongUse):
        at.run("destinations", *line.split(), "")
    assert at.mspc.asked == []


def test_no_end_of_a_pause_is_for_mspc_to_judge() -> None:
    at = Desk()
    at.mspc.answer("POST", "/v1/destinations/http%3A%2F%2Fa%3A80/pause", {})
    at.run("destinations", "pause", "http://a", "--until", "")
    assert at.mspc.asked[0][3] == {"until": ""}
