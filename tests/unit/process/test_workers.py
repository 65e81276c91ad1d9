"""Greenlets that are used again."""

import logging
from typing import Any

import gevent
import pytest
from gevent.event import Event

from mspc.process import workers
from mspc.process.workers import Workers
from tests.support.waiting import eventually


class Work:
    """Notes who does it; waits when it is told to."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.by: set[int] = set()
        self.go_on = Event()
        self.go_on.set()

    def __call__(self, number: int) -> None:
        self.by.add(id(gevent.getcurrent()))
        self.go_on.wait()
        if number < 0:
            raise ZeroDivisionError("a bug")
        self.done.append(number)


def test_one_after_the_other_is_done_by_the_same_greenlet() -> None:
    work = Work()
    some = Workers(10, work)
    for number in range(5):
        some.begin(number)
        assert len(some) == 1
        some.join(5)
    assert work.done == [0, 1, 2, 3, 4]
    assert len(work.by) == 1
    some.kill()


def test_there_are_as_many_as_there_is_work_and_no_more_than_their_number() -> None:
    work = Work()
    some = Workers(3, work)
    work.go_on.clear()
    for number in range(3):
        some.wait_available()
        some.begin(number)
    gevent.sleep(0)
    assert (len(some), len(work.by)) == (3, 3)
    one_is_free = Event()
    gevent.spawn(some.wait_available).rawlink(lambda _: one_is_free.set())
    assert not one_is_free.wait(0.01)
    work.go_on.set()
    assert one_is_free.wait(5)
    some.join(5)
    assert sorted(work.done) == [0, 1, 2]
    some.kill()


def test_join_returns_when_its_time_is_over() -> None:
    work = Work()
    some = Workers(1, work)
    work.go_on.clear()
    some.begin(0)
    some.join(0.01)
    assert len(some) == 1
    some.kill()
    assert not len(some)
    assert not work.done


def test_what_fails_is_logged_and_the_next_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work()
    some = Workers(1, work)
    some.begin(-1)
    some.join(5)
    some.begin(1)
    some.join(5)
    assert work.done == [1]
    assert len(work.by) == 1
    assert [one.levelno for one in caplog.records] == [logging.ERROR]
    some.kill()


def test_of_those_that_have_nothing_to_do_a_few_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "KEPT", 2)
    ends: list[Any] = []

    def work(number: int) -> None:
        ends.append(gevent.getcurrent())
        gevent.sleep(0)

    some = Workers(5, work)
    for number in range(5):
        some.begin(number)
    some.join(5)
    eventually(lambda: sum(one.dead for one in ends) == 3)
    some.kill()
    assert all(one.dead for one in ends)


def test_work_that_is_over_is_not_kept_in_memory() -> None:
    freed = Event()

    class Large:
        def __del__(self) -> None:
            freed.set()

    some: Workers[Large] = Workers(1, lambda large: None)
    some.begin(Large())
    assert freed.wait(5)
    some.kill()
