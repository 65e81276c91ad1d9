"""What tests of the journal share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mspc.journal.asking import Ask
from mspc.journal.gathering import Shared
from mspc.journal.journal import Journal
from mspc.settings.config import JournalConfig
from tests.support.clock import Clock
from tests.support.happened import NOW
from tests.support.small_disk import small_disk


class Journals:
    """Opens journals that end with the test.

    Attributes:
        clock: theirs.
        timer: theirs.
    """

    def __init__(self) -> None:
        self.clock = Clock(NOW)
        self.timer = Clock()
        self._opened: list[Journal] = []

    def __call__(
        self,
        path: Path,
        shared: Shared | None = None,
        days: int = 7,
        max_calls: int = 1_000_000,
    ) -> Journal:
        config = JournalConfig(path, days=days, max_calls=max_calls)
        journal = Journal(config, shared, self.clock, self.timer)
        self._opened.append(journal)
        journal.start()
        return journal

    def stop(self) -> None:
        for journal in self._opened:
            journal.stop()


def questions_to(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[Ask[Any]]:
    """What its file is asked from now on."""
    asked: list[Ask[Any]] = []
    store = journal._keeper._store
    ask = store.ask

    def noted(question: Ask[Any]) -> Any:
        asked.append(question)
        return ask(question)

    monkeypatch.setattr(store, "ask", noted)
    return asked


@pytest.fixture
def journals() -> Iterator[Journals]:
    opened = Journals()
    yield opened
    opened.stop()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    with small_disk(directory, 8) as mounted:
        if not mounted:
            pytest.skip("only root may mount a small disk")
        yield directory


def fill(disk: Path) -> Path:
    """Leaves nothing of the tiny disk; the file to delete for room again."""
    ballast = disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(16 * 2**20))
    return ballast
