"""The command as a process of its own: on a terminal, in a pipe, interrupted."""

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.client.conftest import KEY, OperatorsDoor
from tests.support.children import die_with_parent

PROJECT = Path(__file__).parents[3]
RUNNING = {
    "id": "j1",
    "action": "delete",
    "status": "running",
    "matched": 1,
    "done": 0,
    "failed": 0,
}


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, url: str, *arguments: str) -> None:
        self._own, its = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(PROJECT / "mspc.py"), *arguments],
            env={
                **os.environ,
                "MSPC_URL": url,
                "MSPC_KEY": KEY,
                "PYTHONIOENCODING": "utf-8:strict",  # whatever the locale is here
            },
            stdin=its,
            stdout=its,
            stderr=its,
            preexec_fn=die_with_parent,
        )
        os.close(its)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        while text not in self.shown:
            assert self._read(), self.shown

    def type(self, typed: bytes) -> None:
        os.write(self._own, typed)

    def end(self) -> int:
        """Its exit code, when it has closed the terminal."""
        while self._read():
            pass
        os.close(self._own)
        return self.process.wait(20)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._own], [], [], 30)
        assert ready, self.shown
        try:
            read = os.read(self._own, 65_536)
        except OSError:  # Linux says so when nobody has the other side any more
            return False
        self.shown += read.decode(errors="replace").replace("\r\n", "\n")
        return bool(read)


@pytest.mark.parametrize(("typed", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\xff\n", 1)])
def test_somebody_is_asked(door: OperatorsDoor, typed: bytes, code: int) -> None:
    plan = {"matched": 1, "more": False, "sample": []}
    door.answer("POST", "/v1/bulk/plan", plan)
    door.answer("POST", "/v1/bulk", RUNNING)
    door.answer("GET", "/v1/bulk/j1", {**RUNNING, "status": "done", "done": 1})
    terminal = Terminal(door.url, "dead", "delete", "--all")
    terminal.wait_for("Delete them? [y/N]")
    assert [asked.path for asked in door.asked] == ["/v1/bulk/plan"]
    terminal.type(typed)
    assert terminal.end() == code
    begun = [asked for asked in door.asked if asked.path == "/v1/bulk"]
    assert len(begun) == (1 if code == 0 else 0)
    assert ("ID  ACTION  STATUS" in terminal.shown) is (code == 0)
    assert "Traceback" not in terminal.shown


def test_ctrl_c_leaves_the_job(door: OperatorsDoor) -> None:
    door.answer("POST", "/v1/bulk", RUNNING)
    door.answer("GET", "/v1/bulk/j1", RUNNING)
    terminal = Terminal(door.url, "dead", "delete", "c1", "--yes")
    terminal.wait_for("0 done")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "`mspc bulk show j1`" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_a_table_and_others_words(door: OperatorsDoor) -> None:
    evil = "http://a/\x1b[2J\u202e"
    call = {"id": "c1", "state": "dead", "method": "GET", "url": evil, "attempts": 1}
    door.answer("GET", "/v1/calls", {"calls": [call], "next_cursor": None})
    terminal = Terminal(door.url, "calls", "list")
    assert terminal.end() == 0
    assert terminal.shown.startswith("ID  STATE  METHOD  URL")
    assert r"http://a/\x1b[2J\u202e" in terminal.shown
    assert "\x1b" not in terminal.shown


def test_numbers_again_and_again(door: OperatorsDoor) -> None:
    door.answer(
        "GET", "/v1/stats", {"states": {"queued": 1}}, {"states": {"queued": 2}}
    )
    terminal = Terminal(door.url, "stats", "--watch")
    terminal.wait_for("states.queued  2")
    assert terminal.shown.count("\x1b[H\x1b[2J") >= 2
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown


def shell(door: OperatorsDoor, script: str) -> "subprocess.CompletedProcess[str]":
    mspc = f"{sys.executable} {PROJECT / 'mspc.py'}"
    return subprocess.run(
        ["bash", "-c", script.replace("mspc ", f"{mspc} ")],
        env={**os.environ, "MSPC_URL": door.url, "MSPC_KEY": KEY},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_reader_that_has_seen_enough(door: OperatorsDoor) -> None:
    door.answer("GET", "/v1/export", b'{"call":{"id":"c1"}}\n' * 100_000)
    done = shell(door, 'mspc export | head -1; echo "${PIPESTATUS[0]}"')
    assert done.stdout == '{"call":{"id":"c1"}}\n141\n'
    assert done.stderr == ""


def test_a_disk_that_is_full(door: OperatorsDoor) -> None:
    door.answer("GET", "/v1/stats", {"ready": True})
    done = shell(door, "mspc stats > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "The output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_streams_that_are_closed(door: OperatorsDoor, closed: str) -> None:
    door.answer("GET", "/v1/stats", {"ready": True})
    done = shell(door, f"mspc stats {closed}")
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_script_is_not_asked(door: OperatorsDoor) -> None:
    done = shell(door, "mspc dead delete --all")
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_lines_where_nobody_looks(door: OperatorsDoor) -> None:
    door.answer("GET", "/v1/stats", {"states": {"queued": 1, "dead": 0}})
    done = shell(door, "mspc stats --watch | head -2")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[1:] for line in lines] == [["states.queued=1", "states.dead=0"]] * 2
    assert lines[0][0].startswith("at=20")
    assert done.stderr == ""
