"""The alerts, as Prometheus reads them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parents[3] / "deploy" / "prometheus"


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is missing: install Debian's prometheus")
        pytest.skip("promtool is missing: Debian has it in prometheus")
    return found


@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "rules.yml"), ("test", "rules", "rules.test.yml")],
    ids=["the rules", "when they fire"],
)
def test_promtool_agrees(promtool: str, arguments: tuple[str, ...]) -> None:
    told = subprocess.run(
        [promtool, *arguments], cwd=RULES, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_alert_has_a_test() -> None:
    rules = (RULES / "rules.yml").read_text()
    tests = (RULES / "rules.test.yml").read_text()
    names = [line.split()[-1] for line in rules.splitlines() if "alert:" in line]
    assert len(names) == 11
    for name in names:
        assert f'alertname="{name}"' in tests
