"""A command without a network, a terminal or a clock."""

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mspc.client.arguments import parser
from mspc.client.session import Session
from mspc.client.table import Output

NOW = 1_770_000_000.0  # 2026-02-02T02:40:00Z


class FakeMspc:
    """Answers what it was told to, in order; the last answer is for all that follow.

    Attributes:
        asked: method, path, query and body of each question.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any], Any]] = []
        self._answers: dict[tuple[str, str], list[Any]] = {}

    def answer(self, method: str, path: str, *answers: Any) -> None:
        """Exceptions are raised."""
        self._answers[method, path] = list(answers)

    def ask(self, method: str, path: str, query: Any = None, body: Any = None) -> Any:
        self.asked.append((method, path, dict(query or {}), body))
        answers = self._answers[method, path]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, BaseException):
            raise found
        return copy.deepcopy(found)

    def get(self, path: str, query: Any = None) -> Any:
        return self.ask("GET", path, query)

    def send(self, path: str, content: bytes) -> Any:
        return self.ask("POST", path, None, content)

    def bodies(self, path: str) -> list[Any]:
        return [body for _, asked, _, body in self.asked if asked == path]


class Screen(io.StringIO):
    """A stream that is a terminal, or none."""

    def __init__(self, text: str = "", terminal: bool = False) -> None:
        super().__init__(text)
        self._buffer = io.BytesIO()
        self._terminal = terminal

    @property
    def buffer(self) -> io.BytesIO:
        return self._buffer

    def isatty(self) -> bool:
        return self._terminal


class Desk:
    """Where a command is typed.

    Attributes:
        mspc: the one that is asked.
        out, err: what was printed.
        slept: the waits, in seconds.
    """

    def __init__(
        self,
        terminal: bool = False,
        typed: str = "",
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.mspc = FakeMspc()
        self.out = Screen(terminal=terminal)
        self.err = Screen(terminal=terminal)
        self.slept: list[float] = []
        self._stdin = Screen(typed, terminal)
        self._sleep = sleep or self.slept.append

    def run(self, *arguments: str) -> int:
        options = parser(arguments).parse_args(arguments)
        session = Session(
            options,
            {},
            Path(),
            Output(self.out, options.form, self.out.isatty()),
            self._stdin,
            self.err,
            lambda: NOW,
            self._sleep,
        )
        session.__dict__["mspc"] = self.mspc
        code: int = options.run(session)
        return code

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.getvalue().splitlines()]
