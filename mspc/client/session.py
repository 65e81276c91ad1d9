"""What a command has at hand."""

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mspc.client.connection import Connection
from mspc.client.door import Door, find_door
from mspc.client.table import Output, harmless

if TYPE_CHECKING:
    from mspc.settings.config import AdminConfig, Config


class Session:
    """One run of a command.

    Attributes:
        options: what stands in the command line.
        environ: the environment.
        root: the project's folder.
        output: for what was asked for.
        stdin: answers, and what is sent.
        stderr: for all else.
        now: Unix seconds.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        options: Namespace,
        environ: Mapping[str, str],
        root: Path,
        output: Output,
        stdin: TextIO,
        stderr: TextIO,
        now: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.options = options
        self.environ = environ
        self.root = root
        self.output = output
        self.stdin = stdin
        self.stderr = stderr
        self.now = now
        self.sleep = sleep

    @cached_property
    def door(self) -> Door:
        """Where it is asked, and with which key."""
        return find_door(self.environ, self._admin)

    @cached_property
    def mspc(self) -> Connection:
        """The one that is asked."""
        return Connection(self.door)

    @cached_property
    def config(self) -> "Config":
        """The settings, complete and checked; raises ConfigError."""
        from mspc.settings.load import load_config  # as much time as all the rest

        return load_config(self.settings_file, self.environ, self.root)

    @property
    def settings_file(self) -> Path | None:
        """The one that was named; None for env.yml in `root`, where there is one."""
        name = self.options.config or self.environ.get("MSPC_CONFIG")
        return Path(name) if name else None

    def _admin(self) -> "AdminConfig":
        return self.config.admin

    @property
    def can_ask(self) -> bool:
        """Whether there is somebody who reads a question, and answers it."""
        return self.stdin.isatty() and self.stderr.isatty()

    def ask(self, question: str) -> bool:
        """Whether somebody says yes; no answer is no."""
        self.stderr.write(f"{question} [y/N] ")
        self.stderr.flush()
        try:
            answer = self.stdin.readline()
        except UnicodeDecodeError:
            return False
        return answer.strip().lower() in ("y", "yes")

    def say(self, text: str) -> None:
        """A sentence, to standard error; others' words in it do no harm."""
        self.stderr.write("".join(f"{harmless(line)}\n" for line in text.split("\n")))
        self.stderr.flush()

    def progress(self, text: str) -> None:
        """Where somebody looks, in place of what stood in this line."""
        if self.stderr.isatty():
            self.stderr.write(f"\r\x1b[K{text}")
            self.stderr.flush()


def standard_streams() -> None:
    """What is no text in the terminal's encoding is shown, not a failure."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
