"""A greenlet that must live."""

import logging

import gevent
import pytest
from gevent.event import Event

from mspc.process import greenlets
from mspc.process.greenlets import Watched
from tests.support.waiting import eventually


class Work:
    """Fails as often as it is told to, then runs until it is told to return."""

    def __init__(self, failures: int = 0) -> None:
        self.begun = 0
        self.returning = Event()
        self._failures = failures

    def __call__(self) -> None:
        self.begun += 1
        if self.begun <= self._failures:
            raise ZeroDivisionError("a bug")
        self.returning.wait()


def test_what_fails_is_logged_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(greenlets, "START_AGAIN_SECONDS", 0.0)
    work = Work(failures=2)
    part = Watched("part", work)
    part.start()
    eventually(lambda: work.begun == 3)
    assert part.problem() is None
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
        (logging.ERROR, "The part failed; starting it again")
    ] * 2
    work.returning.set()
    part.stop()


def test_there_is_a_problem_until_it_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greenlets, "START_AGAIN_SECONDS", 0.2)
    part = Watched("part", Work(failures=1))
    part.start()
    eventually(part.problem)
    assert part.problem() == "The part failed and is being started again."
    eventually(lambda: part.problem() is None)
    part.stop(timeout=0)


def test_there_is_a_problem_before_it_starts_and_after_it_returned() -> None:
    work = Work()
    part = Watched("part", work)
    assert part.problem() == "The part does not run."
    part.start()
    assert part.problem() is None
    work.returning.set()
    eventually(part.problem)
    assert work.begun == 1
    part.stop()


def test_stop_ends_the_pause_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greenlets, "START_AGAIN_SECONDS", 60.0)
    work = Work(failures=1)
    part = Watched("part", work)
    part.start()
    eventually(part.problem)
    with gevent.Timeout(5):
        part.stop()
    assert work.begun == 1


def test_stop_may_be_called_twice_and_without_start() -> None:
    part = Watched("part", Work())
    part.stop()
    part.start()
    part.stop(timeout=0)
    part.stop()
