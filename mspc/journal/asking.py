"""Questions for the journal's thread: whoever asks waits, and only so long."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import gevent
from gevent.event import AsyncResult

from mspc.errors import JournalUnavailable

T = TypeVar("T")
Ask = Callable[[sqlite3.Connection], T]
Question = tuple[Ask[Any], "AsyncResult[Any]"]

# Somebody who asks waits for so long at most, and so does whoever stops the journal.
PATIENCE_SECONDS = 5.0


class Questions:
    """Those that nobody has answered yet."""

    def __init__(self, path: Path, news: Callable[[], None]) -> None:
        """
        Args:
            path: the file that they are about.
            news: called when there is one.
        """
        self._path = path
        self._news = news
        self._asked: dict[AsyncResult[Any], Ask[Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._asked)

    def take(self) -> list[Question]:
        """All of them: each is to be given its answer, or what it raised, unless it is
        ready: nobody waits any more then.
        """
        asked, self._asked = self._asked, {}
        return [(question, answer) for answer, question in asked.items()]

    def ask(self, question: Ask[T]) -> T:
        """Returns the answer.

        Raises:
            JournalUnavailable: there is none.
        """
        answer: AsyncResult[Any] = AsyncResult()
        self._asked[answer] = question
        self._news()
        try:
            result = answer.get(timeout=PATIENCE_SECONDS)
        except gevent.Timeout as exc:
            raise JournalUnavailable(
                f"{self._path} has not answered for {PATIENCE_SECONDS:.0f} s."
            ) from exc
        finally:
            # A disk that hangs would else have thousands to answer when it is back, and
            # what there is no time for would take the time of what comes after it.
            self._asked.pop(answer, None)
            if not answer.ready():
                answer.set(None)
        if isinstance(result, JournalUnavailable):
            raise result
        if isinstance(result, Exception):
            raise JournalUnavailable(f"{self._path}: {result}.") from result
        return cast(T, result)
