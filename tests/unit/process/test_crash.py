"""Crash points: nothing unless asked for, and then a real end."""

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mspc.process import crash

PROJECT = Path(__file__).parents[3]

PASSES = """
from mspc.process import crash
for number in range(1, 4):
    print(number, flush=True)
    crash.at("before_put")
    crash.at("after_put")
"""


def run(**environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PASSES],
        cwd=PROJECT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    "armed", [None, "", "before_put", "before_put:", "before_put:x", "nowhere:1"]
)
def test_nothing_happens_unless_armed(armed: str | None) -> None:
    done = run(**({} if armed is None else {"MSPC_CRASH_AT": armed}))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["1", "2", "3"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_ends_at_the_nth_pass(count: int) -> None:
    done = run(MSPC_CRASH_AT=f"before_put:{count}")
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["1", "2", "3"][:count]


def test_a_pass_too_few_does_no_harm() -> None:
    assert run(MSPC_CRASH_AT="after_put:4").returncode == 0


def test_every_point_is_passed_somewhere_and_every_pass_is_a_point() -> None:
    passed = {
        node.args[0].value if isinstance(node.args[0], ast.Constant) else node.args[0]
        for file in (PROJECT / "mspc").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "crash.at"
    }
    assert passed == set(crash.POINTS)
