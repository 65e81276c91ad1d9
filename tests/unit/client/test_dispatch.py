"""Who serves patches first; who asks must not pay for that."""

import subprocess
import sys
from pathlib import Path

import pytest

from mspc.client.dispatch import is_command
from mspc.process import first

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "serve",
        "check",
        "--check",
        "--version",
        "--config env.yml",
        "--config=env.yml",
        "--conf env.yml --check",
        "--config calls",
        "--config env.yml serve",
        "serve --help",
    ],
)
def test_it_serves(line: str) -> None:
    assert not is_command(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "calls list",
        "stats --watch",
        "--config env.yml stats",
        "--json stats",
        "--help",
        "-h",
        "no-such-noun",
    ],
)
def test_it_asks(line: str) -> None:
    assert is_command(line.split())


@pytest.mark.parametrize("command", ["stats", "config show", "--help"])
def test_a_command_imports_nothing_of_what_serves(command: str, tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
sys.argv = ["mspc", *{command.split()!r}]
import mspc.__main__
try:
    mspc.__main__.run()
except SystemExit:
    pass
print(sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"MSPC_URL": "http://127.0.0.1:1", "MSPC_KEY": "a-key"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = done.stdout.splitlines()[-1]
    for library in ("gevent", "falcon", "urllib3", "amqpstorm", "sqlite3"):
        assert f"'{library}'" not in imported
    if command != "config show":
        assert "'voluptuous'" not in imported
        assert "'yaml'" not in imported


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # what Python makes of `<&-`
    first._open_standard_descriptors()
    with sys.stdin as opened:
        assert opened.read() == ""
