"""Many calls at once: shown first, asked for, followed to the end."""

import json
import math
from typing import Any

import pytest
from msgspec import ValidationError, convert

from mspc.admin.queries import BulkBody
from mspc.client.failures import NotFound, NotReachable, WrongUse
from mspc.errors import InvalidProperties
from tests.unit.client.fakes import Desk

RUNNING: dict[str, Any] = {
    "id": "j1",
    "action": "retry",
    "status": "running",
    "matched": 2,
    "done": 0,
    "failed": 0,
    "reason": "",
    "started_at": "2026-02-02T02:40:00.000Z",
    "finished_at": None,
}
DONE = {**RUNNING, "status": "done", "done": 2}
CALL = {"id": "c1", "state": "dead", "method": "POST", "url": "http://a/"}


def desk(terminal: bool = False, typed: str = "", matched: int = 2) -> Desk:
    found = Desk(terminal, typed)
    sample = [f"c{number}" for number in range(1, min(matched, 6) + 1)]
    plan = {"matched": matched, "more": matched == 10_000, "sample": sample}
    found.mspc.answer("POST", "/v1/bulk/plan", plan)
    found.mspc.answer("POST", "/v1/bulk", RUNNING)
    found.mspc.answer("GET", "/v1/bulk/j1", RUNNING, DONE)
    found.mspc.answer("GET", "/v1/calls/c1", CALL)
    for number in range(2, 6):
        found.mspc.answer("GET", f"/v1/calls/c{number}", NotFound("gone"))
    return found


def test_a_script_says_yes() -> None:
    at = desk()
    code = at.run(
        *("dead", "retry", "--destination", "http://a", "--yes", "--reason", "back"),
        *("--per-second", "5", "--limit", "10"),
    )

    assert code == 0
    wanted = {"destination": "http://a:80", "state": ["dead"]}
    assert at.mspc.bodies("/v1/bulk/plan") == [{"action": "retry", "filter": wanted}]
    how = {"limit": 10, "per_second": 5.0, "reason": "back"}
    begun = {"action": "retry", "filter": wanted, **how}
    assert at.mspc.bodies("/v1/bulk") == [begun]
    assert at.slept == [0.5, 0.5]
    assert at.rows[0][:6] == ["j1", "retry", "done", "2", "2", "0"]
    assert "2 to retry.\n" in at.err.getvalue()
    assert "    c1 dead POST http://a/\n    c2\n" in at.err.getvalue()


@pytest.mark.parametrize("line", ["dead delete", "calls cancel", "calls list"])
@pytest.mark.parametrize("option", ["--label", "--url-prefix", "--after"])
def test_a_variable_of_a_script_that_is_empty_does_not_mean_every_call(
    line: str, option: str
) -> None:
    at = desk()
    more = () if line == "calls list" else ("--yes",)
    with pytest.raises(WrongUse, match=f"{option} is empty"):
        at.run(*line.split(), "--status", "404", option, "", *more)
    assert at.mspc.asked == []


def taken(body: dict[str, Any]) -> bool:
    """Whether the operators' door takes such a job."""
    try:
        assert convert({"action": "retry", **body}, BulkBody).seconds >= 0
    except (ValidationError, InvalidProperties):
        return False
    return True


@pytest.mark.parametrize(
    ("option", "value", "member"),
    [
        *(("--limit", n, {"limit": n}) for n in (-5, 0, 1, 1_000_000, 1_000_001)),
        *(("--limit", n, {"limit": n}) for n in (1.5, "x", "")),
        *(("--per-second", n, {"per_second": n}) for n in (-1.0, 0.0, 0.009, 0.01)),
        *(("--per-second", n, {"per_second": n}) for n in (10_000.0, 10_001.0, "x")),
        *(("--per-second", n, {"per_second": n}) for n in (math.inf, math.nan)),
        *(("--reason", n, {"reason": n}) for n in ("ä" * 500, "ä" * 501)),
        *(("--in", f"{n}d", {"delay": f"{n}d"}) for n in (0, 365, 366)),
        *(
            ("--attempts-min", n, {"filter": {"attempts_min": n}})
            for n in (-1, 1, 1_000_000, 1_000_001)
        ),
    ],
)
def test_what_mspc_would_refuse_is_refused_before_anything_is_asked(
    option: str,
    value: object,
    member: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = desk()
    line = ("dead", "retry", "--label", "a", "--yes", f"{option}={value}")
    if taken(member):
        assert at.run(*line) == 0
        (begun,) = at.mspc.bodies("/v1/bulk")
        assert taken(begun)
        return
    with pytest.raises((SystemExit, WrongUse)) as ended:
        at.run(*line)
    assert at.mspc.asked == []
    told = f"{ended.value}{capsys.readouterr().err}"
    assert option in told
    assert "must" in told


def test_five_examples_and_whether_the_limit_holds_some_back() -> None:
    at = desk(matched=10_000)
    assert at.run("dead", "retry", "--all", "--yes") == 0
    told = at.err.getvalue()
    assert told.startswith("10000 and more to retry.\n")
    assert "c5" in told
    assert "c6" not in told
    assert "1000 of them at once, and no more: --limit" in told


@pytest.mark.parametrize("typed", ["y\n", "YES\n"])
def test_somebody_says_yes(typed: str) -> None:
    at = desk(True, typed)
    assert at.run("calls", "cancel", "--label", "wrong") == 0
    assert "Cancel them? [y/N]" in at.err.getvalue()
    begun = {"action": "cancel", "filter": {"label": "wrong"}, "limit": 1000}
    assert at.mspc.bodies("/v1/bulk") == [begun]


@pytest.mark.parametrize("typed", ["\n", "n\n", "", "yesterday\n"])
def test_all_else_is_a_no(typed: str) -> None:
    at = desk(True, typed)
    assert at.run("dead", "delete", "--all") == 1
    assert at.mspc.bodies("/v1/bulk") == []
    assert at.err.getvalue().endswith("Nothing was done.\n")


def test_nobody_can_be_asked() -> None:
    at = desk()
    for line in ("dead delete --all", "dead delete c1"):
        with pytest.raises(WrongUse, match="--yes"):
            at.run(*line.split())
    assert at.mspc.asked == []


@pytest.mark.parametrize("verb", ["retry", "cancel"])
def test_what_is_in_flight_is_no_choice(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = desk()
    with pytest.raises(SystemExit):
        at.run("calls", verb, "--yes", "--state", "in_flight")
    assert at.mspc.asked == []
    assert "invalid choice: 'in_flight'" in capsys.readouterr().err
    assert at.run("calls", verb, "--yes", "--state", "waiting") == 0


def test_a_filter_or_all() -> None:
    at = desk()
    with pytest.raises(WrongUse, match="Without a filter, --all is needed"):
        at.run("dead", "retry", "--yes")
    with pytest.raises(WrongUse, match="do not go together"):
        at.run("dead", "retry", "--yes", "--all", "--label", "a")
    assert at.mspc.asked == []


def test_all_open_calls_are_meant() -> None:
    at = desk()
    assert at.run("calls", "cancel", "--all", "--yes") == 0
    (begun,) = at.mspc.bodies("/v1/bulk")
    assert begun == {"action": "cancel", "filter": {}, "limit": 1000, "all": True}


def test_a_dry_run_changes_nothing() -> None:
    at = desk()
    assert at.run("dead", "delete", "--all", "--dry-run", "--json") == 0
    assert json.loads(at.out.getvalue())["matched"] == 2
    assert at.mspc.bodies("/v1/bulk") == []


def test_nothing_matches() -> None:
    at = desk(matched=0)
    assert at.run("dead", "delete", "--label", "a", "--yes") == 0
    assert at.mspc.bodies("/v1/bulk") == []
    assert at.err.getvalue() == "0 to delete.\n"
    assert at.out.getvalue() == ""


@pytest.mark.parametrize(("form", "told"), [("--json", "[]\n"), ("--jsonl", "")])
def test_nothing_matches_and_a_program_reads_it(form: str, told: str) -> None:
    at = desk(matched=0)
    assert at.run("dead", "delete", "--label", "a", "--yes", form) == 0
    assert at.out.getvalue() == told


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ({"status": "done", "failed": 1, "done": 1}, "1 were not reached"),
        ({"status": "stopped", "done": 1}, "The job is stopped"),
        ({"status": "failed"}, "The job is failed"),
    ],
)
def test_not_all_was_done(end: dict[str, Any], told: str) -> None:
    at = desk()
    at.mspc.answer("GET", "/v1/bulk/j1", {**RUNNING, **end})
    assert at.run("dead", "retry", "--all", "--yes") == 1
    assert told in at.err.getvalue()


def test_an_interruption_leaves_the_job() -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    at = Desk(sleep=interrupted)
    plan = {"matched": 2, "more": False, "sample": []}
    at.mspc.answer("POST", "/v1/bulk/plan", plan)
    at.mspc.answer("POST", "/v1/bulk", RUNNING)
    assert at.run("dead", "retry", "--all", "--yes") == 130
    assert "`mspc bulk stop j1` ends it" in at.err.getvalue()
    assert [path for _, path, _, _ in at.mspc.asked] == ["/v1/bulk/plan", "/v1/bulk"]


def test_when_nobody_answers_any_more_the_job_is_named() -> None:
    at = desk()
    at.mspc.answer("GET", "/v1/bulk/j1", NotReachable("Nobody answers."))
    with pytest.raises(NotReachable):
        at.run("dead", "retry", "--all", "--yes")
    assert "The job goes on: `mspc bulk show j1`" in at.err.getvalue()


def test_progress_is_for_a_terminal() -> None:
    at = desk(True, "y\n")
    assert at.run("dead", "retry", "--all") == 0
    assert "\r\x1b[K0 done, 0 not reached" in at.err.getvalue()
    there_is_none = desk()
    assert there_is_none.run("dead", "retry", "--all", "--yes") == 0
    assert "\r" not in there_is_none.err.getvalue()


def test_dead_letters_that_are_named_are_deleted() -> None:
    at = desk()
    assert at.run("dead", "delete", "c1", "c2", "--yes") == 0
    begun = {"action": "delete", "ids": ["c1", "c2"]}
    assert at.mspc.bodies("/v1/bulk") == [begun]
    asking = desk(True, "y\n")
    assert asking.run("dead", "delete", "c1", "c2") == 0
    assert "Delete 2? [y/N]" in asking.err.getvalue()
