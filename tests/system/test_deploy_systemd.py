"""deploy/mspc.service: systemd takes it, it is shut tight, and mspc runs in it."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.process import MspcProcess
from tests.support.programs import needed
from tests.support.proxies import DEPLOY, shipped
from tests.support.target import Target
from tests.system.conftest import QueueUnderTest

UNIT = DEPLOY / "mspc.service"
COMMAND = "/opt/mspc/bin/mspc"
ENV_SAMPLE = DEPLOY.parent / "env.dist.yml"

# From 0 to 100, the worst; systemd calls a unit below 50 "OK".
MOST_EXPOSURE = 15


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        [needed("systemd-analyze"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@pytest.fixture
def unit(tmp_path: Path) -> str:
    """The unit's file, with a command that is there."""
    file = tmp_path / "mspc.service"
    file.write_text(shipped("mspc.service", {COMMAND: sys.executable}))
    return str(file)


@pytest.fixture
def sandboxed(
    queue: QueueUnderTest, target: Target, tmp_path: Path
) -> Iterator[MspcProcess]:
    """An mspc that may call of the system what the unit allows."""
    needed("systemd-analyze")
    process = MspcProcess(
        tmp_path / "mspc",
        {**queue.settings, "REQUEUE_FAILED_AFTER_MILLISECONDS": "100"},
        prefix=(sys.executable, sandbox.__file__, str(UNIT)),
    )
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()
    assert "Traceback" not in process.output


def test_systemd_takes_the_unit(unit: str) -> None:
    # The machine's own units are read too, and may be found fault with.
    about_ours = [line for line in analyze("verify", unit).splitlines() if unit in line]
    assert about_ours == []


def test_the_unit_is_shut_tight(unit: str) -> None:
    analyze("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", unit)


def test_the_rules_hold_what_they_say() -> None:
    needed("systemd-analyze")
    refused = """
import mmap, os, socket
for forbidden in (
    lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM),
    lambda: os.chroot("/"),
):
    try:
        forbidden()
    except PermissionError:
        print("refused")
"""
    # `-I`: the folder of a script would hide modules of the same names.
    done = subprocess.run(
        [sys.executable, sandbox.__file__, UNIT, sys.executable, "-I", "-c", refused],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["refused"] * 3


def test_mspc_runs_under_the_rules(sandboxed: MspcProcess, target: Target) -> None:
    target.answer("/later", status=500, times=1)
    by_name = f"http://localhost:{target.port}/later"
    call = {"url": by_name, "method": "POST", "body": "{}"}
    assert sandboxed.post(call).status == 202
    target.wait_for(2, "/later")

    sandboxed.signal(signal.SIGHUP)
    sandboxed.wait_for_log("no certificate to reload")
    sandboxed.terminate()
    assert sandboxed.wait() == 0


def test_attempts_in_flight_may_end_before_systemd_kills() -> None:
    unit, sample = UNIT.read_text(), ENV_SAMPLE.read_text()
    (stop,) = sandbox.values(unit, "TimeoutStopSec")
    shutdown = re.search(r"^SHUTDOWN_TIMEOUT_SECONDS: (\d+)$", sample, re.MULTILINE)
    assert shutdown is not None
    assert int(stop.removesuffix("s")) >= int(shutdown[1]) + 15
