"""Signals, from the first moment on, also for process 1 of a container."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import StartMspc
from tests.support.process import SCRIPT, MspcProcess
from tests.support.target import Target
from tests.support.waiting import eventually

ENDS_SECONDS = 20
START_SECONDS = 0.8  # as long as a signal may come in the middle of the start


def moments(count: int) -> list[float]:
    """One somewhere in each part of the start, others in every run of the tests."""
    part = START_SECONDS / count
    return [part * random.uniform(number, number + 1) for number in range(count)]


def can_have_a_pid_namespace() -> bool:
    try:
        done = subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", "true"],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


class ProcessOne(MspcProcess):
    """mspc as process 1 of a pid namespace, started as the image starts it."""

    def __init__(self, directory: Path, *command: str, **settings: str) -> None:
        unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        super().__init__(directory, settings, prefix=(*unshare, *command))

    @property
    def inner(self) -> int | None:
        """Its number outside, once it has begun."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return int(children.split()[0]) if children else None

    def wait_until_it_runs(self) -> int:
        """Returns as soon as it is Python: `env`, before, takes about 1 ms."""
        while True:
            inner = self.inner
            if inner is not None:
                command = Path(f"/proc/{inner}/cmdline").read_bytes().split(b"\0")
                if (
                    os.fsencode(SCRIPT) in command
                    and command[0] == sys.executable.encode()
                ):
                    return inner
            time.sleep(0.0005)


BLOCKED = ("env", "--block-signal=TERM", "--block-signal=INT")


@pytest.mark.skipif(
    not can_have_a_pid_namespace(), reason="only root may make a pid namespace"
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_one_heeds_a_signal_at_any_moment_of_its_start(
    tmp_path: Path, number: int
) -> None:
    for count, delay in enumerate([0.0, *moments(7)]):
        mspc = ProcessOne(tmp_path / f"mspc-{count}", *BLOCKED)
        mspc.start()
        try:
            inner = mspc.wait_until_it_runs()
            time.sleep(delay)
            os.kill(inner, number)
            assert mspc.wait(ENDS_SECONDS) == 0, f"after {delay} s"
            assert "Traceback" not in mspc.output
            assert mspc.output.splitlines()[-1].endswith(
                ("mspc has stopped", "told to stop before it had started")
            ), mspc.output
        finally:
            mspc.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_at_any_moment_of_the_start_ends_it_in_order(
    mspc_process: StartMspc, number: int
) -> None:
    for delay in moments(4):
        mspc = mspc_process(wait=False)
        eventually(lambda: prepared(mspc.pid))  # noqa: B023 - at once
        time.sleep(delay)
        mspc.signal(number)
        assert mspc.wait(ENDS_SECONDS) == 0, f"after {delay} s"
        assert mspc.output.rstrip().endswith(
            ("mspc has stopped", "told to stop before it had started")
        ), mspc.output


MEANINGLESS = [
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM),
    *(signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGXCPU),
    *(signal.SIGSTKFLT, signal.SIGRTMIN, signal.SIGRTMAX, signal.SIGRTMIN + 5),
]


def test_a_signal_without_a_meaning_is_told_and_ends_nothing(
    mspc_process: StartMspc, target: Target
) -> None:
    mspc = mspc_process()
    for number in (*MEANINGLESS, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP):
        mspc.signal(number)
    for number in MEANINGLESS:
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"Signal {number}"
        mspc.wait_for_log(f" WARNING {name} has no meaning for mspc, which goes on$")
    mspc.wait_for_log("There is no certificate to reload")
    mspc.post({"url": target.url("/after")})
    target.wait_for(1, "/after")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM])
def test_a_signal_without_a_meaning_yet_does_not_end_the_start(
    mspc_process: StartMspc, number: int
) -> None:
    mspc = mspc_process(wait=False)
    eventually(lambda: caught(mspc.pid, number))
    for _ in range(3):
        mspc.signal(number)
    mspc.wait_ready()


def prepared(pid: int) -> bool:
    """Whether its first lines have run: they handle SIGUSR1 after those that stop it.

    Python itself handles SIGINT before, and a shell that starts something in the
    background has it ignore SIGINT and SIGQUIT.
    """
    return _has(pid, signal.SIGUSR1, "SigCgt")


def caught(pid: int, number: int) -> bool:
    """Whether the process has a handler for it, or ignores it."""
    return _has(pid, number, "SigCgt") or _has(pid, number, "SigIgn")


def _has(pid: int, number: int, mask: str) -> bool:
    """Whether the kernel has this signal in that mask of the process."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    return bool(int(fields[mask], 16) >> (number - 1) & 1)


def test_signals_that_the_parent_has_blocked_are_heeded(
    tmp_path: Path,
) -> None:
    mspc = MspcProcess(tmp_path / "mspc", prefix=BLOCKED)
    mspc.start()
    try:
        mspc.wait_ready()
        mspc.terminate()
        assert mspc.wait(ENDS_SECONDS) == 0
    finally:
        mspc.kill()
