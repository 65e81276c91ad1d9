"""Answers are remembered until something is written."""

import sqlite3
from dataclasses import dataclass
from typing import TypeVar, cast

import pytest

from mspc.errors import JournalUnavailable
from mspc.journal import lasting
from mspc.journal.asking import Ask
from mspc.journal.lasting import Lasting

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """Equals another one about the same."""

    about: str

    def __call__(self, db: sqlite3.Connection) -> str:
        raise AssertionError("the file is not here")


class File:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.at: int | None = 1
        self.asked = 0
        self.away = False
        self.changes_meanwhile = False

    def version(self) -> int | None:
        return self.at

    def ask(self, question: Ask[T]) -> T:
        self.asked += 1
        if self.away:
            raise JournalUnavailable("It is away.")
        if self.changes_meanwhile:
            self.at = (self.at or 0) + 1
        return cast(T, f"{question.about} {self.at}")  # type: ignore[attr-defined]


@pytest.fixture
def file() -> File:
    return File()


@pytest.fixture
def answers(file: File) -> Lasting:
    return Lasting(file)


def test_the_file_is_asked_once(file: File, answers: Lasting) -> None:
    assert [answers.ask(Question("due")) for _ in range(3)] == ["due 1"] * 3
    assert answers.ask(Question("of it")) == "of it 1"
    assert file.asked == 2


def test_what_was_written_changes_all_of_them(file: File, answers: Lasting) -> None:
    answers.ask(Question("due"))
    answers.ask(Question("of it"))
    file.at = 2
    assert [answers.ask(Question("due")) for _ in range(2)] == ["due 2"] * 2
    assert answers.ask(Question("of it")) == "of it 2"
    assert file.asked == 4


def test_while_something_is_to_be_written_none_is_remembered(
    file: File, answers: Lasting
) -> None:
    answers.ask(Question("due"))
    file.at = None
    assert [answers.ask(Question("due")) for _ in range(2)] == ["due None"] * 2
    file.at = 1  # there was no room for it
    assert answers.ask(Question("due")) == "due 1"
    assert file.asked == 4


def test_what_changes_while_it_is_asked_is_not_remembered(
    file: File, answers: Lasting
) -> None:
    file.changes_meanwhile = True
    assert answers.ask(Question("due")) == "due 2"
    file.changes_meanwhile = False
    assert [answers.ask(Question("due")) for _ in range(2)] == ["due 2"] * 2
    assert file.asked == 2


def test_nor_is_what_somebody_else_was_told_to_forget_meanwhile(
    file: File, answers: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something came meanwhile, and there was no room for it."""
    ask = file.ask

    def asked_beside(question: Ask[T]) -> T:
        monkeypatch.setattr(file, "ask", ask)
        file.at = None
        answers.ask(Question("of it"))
        file.at = 1
        return ask(question)

    monkeypatch.setattr(file, "ask", asked_beside)
    assert answers.ask(Question("due")) == "due 1"
    file.at = None
    assert answers.ask(Question("due")) == "due None"


def test_a_file_that_is_away_is_asked_again(file: File, answers: Lasting) -> None:
    file.away = True
    for _ in range(2):
        with pytest.raises(JournalUnavailable):
            answers.ask(Question("due"))
    file.away = False
    assert answers.ask(Question("due")) == "due 1"


def test_they_are_bounded(
    file: File, answers: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting, "MOST_ANSWERS", 2)
    for about in ("a", "b", "c", "c", "a"):
        answers.ask(Question(about))
    assert file.asked == 4
    assert len(answers._answers) <= 2
