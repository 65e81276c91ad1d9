"""Answers that stay the same until something is written: the file is asked once.

The way to the journal's thread and back is most of what a count takes: each of them is
a wait for a processor, which may be busy with something else.
"""

from typing import Any, Protocol, TypeVar, cast

from mspc.journal.asking import Ask

T = TypeVar("T")

# Each is a number, or one for each of some destinations.
MOST_ANSWERS = 64


class Asked(Protocol):
    """Whoever has the answers."""

    def ask(self, question: Ask[T]) -> T: ...

    def version(self) -> int | None: ...


class Lasting:
    """Remembers answers."""

    def __init__(self, asked: Asked) -> None:
        """
        Args:
            asked: has the answers, and says by another number when they are others;
                None while it has something to write.
        """
        self._asked = asked
        self._version: int | None = None
        self._answers: dict[Ask[Any], Any] = {}

    def ask(self, question: Ask[T]) -> T:
        """The answer to a question that equals itself when it is asked again.

        Raises:
            JournalUnavailable: there is none.
        """
        version = self._asked.version()
        if version != self._version or len(self._answers) >= MOST_ANSWERS:
            self._answers.clear()
            self._version = version
        if question in self._answers:
            return cast(T, self._answers[question])
        answer = self._asked.ask(question)
        if version is not None and self._version == version == self._asked.version():
            self._answers[question] = answer
        return answer
