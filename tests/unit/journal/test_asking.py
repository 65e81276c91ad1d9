"""Questions for the journal's thread."""

from pathlib import Path

import gevent
import pytest

from mspc.errors import JournalUnavailable
from mspc.journal import asking
from mspc.journal.asking import Questions


def test_what_nobody_waits_for_any_more_is_not_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.01)
    questions = Questions(Path("journal.db"), lambda: None)
    with pytest.raises(JournalUnavailable, match="has not answered"):
        questions.ask(lambda db: None)
    assert not questions
    monkeypatch.undo()
    asker = gevent.spawn(questions.ask, lambda db: None)
    gevent.idle()
    ((_, answer),) = questions.take()
    assert not answer.ready()
    asker.kill()
    assert answer.ready()
