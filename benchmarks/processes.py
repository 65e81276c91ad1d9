"""Processes that a benchmark starts: each with its output in a file, each ended."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.children import die_with_parent, end

ROOT = Path(__file__).resolve().parents[1]
STOP_SECONDS = 20.0
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


def find(program: str) -> str | None:
    """Where it is, also when it is a program for root."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(program, path=f"{path}:/usr/local/sbin:/usr/sbin:/sbin")


class Failed(Exception):
    """Something that was started does not do its part; the message says what."""


class Child:
    """One process, of another `user` if one is named; its output, both streams, goes
    to `log`.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.log = log
        self._command = list(command)
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                self._command,
                env=kept | {"PYTHONPATH": str(ROOT)} | dict(environment or {}),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raises Failed when it has ended."""
        if self.process.poll() is not None:
            raise self.failure(f"ended with exit code {self.process.returncode}")

    def finish(self, timeout: float) -> str:
        """Waits for its good end and returns its output."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop()
            raise self.failure(f"still ran after {timeout:g} s") from None
        if code != 0:
            raise self.failure(f"ended with exit code {code}")
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        end(self.process, STOP_SECONDS)

    def failure(self, reason: str) -> Failed:
        tail = self.log.read_text(errors="replace")[-3_000:]
        return Failed(f"{' '.join(self._command)} {reason}:\n{tail}")


def wait_until(
    condition: Callable[[], bool], timeout: float, what: str, step: float = 0.01
) -> None:
    """Looks every `step` seconds until the condition holds.

    Raises:
        Failed: it did not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {timeout:g} s")
        time.sleep(step)
