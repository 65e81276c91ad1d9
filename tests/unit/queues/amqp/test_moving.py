"""Jobs that wait for the broker: each is done, whenever it comes."""

from functools import partial

import gevent
import pytest
from gevent.event import Event

from mspc.errors import QueueUnavailable
from mspc.queues.amqp.moving import Moving


def later() -> None:
    """Lets whatever can run do so."""
    for _ in range(5):
        gevent.sleep(0)


@pytest.fixture
def confirmed() -> Event:
    return Event()


@pytest.fixture
def done() -> list[int]:
    return []


def job(number: int, confirmed: Event, done: list[int]) -> None:
    confirmed.wait()
    done.append(number)


def test_so_many_are_done_at_once(confirmed: Event, done: list[int]) -> None:
    moving = Moving("moved", at_once=2)
    begun: list[int] = []

    def count() -> None:
        begun.append(1)
        job(0, confirmed, done)

    for _ in range(5):
        moving.do(count)
    later()
    assert len(begun) == 2
    confirmed.set()
    later()
    assert len(done) == 5


def test_one_that_comes_while_the_others_are_just_ending(
    confirmed: Event, done: list[int]
) -> None:
    """One confirm for all of them, and the next one in the same turn of the loop."""
    moving = Moving("moved", at_once=2)
    for number in range(2):
        moving.do(partial(job, number, confirmed, done))
    later()
    confirmed.set()
    gevent.spawn(moving.do, partial(done.append, 2))
    later()
    assert done == [0, 1, 2]


def test_one_that_fails_is_no_reason_to_do_no_more(done: list[int]) -> None:
    moving = Moving("moved", at_once=1)

    def fail() -> None:
        raise QueueUnavailable("away")

    moving.do(fail)
    moving.do(partial(done.append, 1))
    later()
    assert done == [1]


def test_nothing_begins_after_its_end(confirmed: Event, done: list[int]) -> None:
    moving = Moving("moved", at_once=1)
    for number in range(2):
        moving.do(partial(job, number, confirmed, done))
    later()
    moving.stop()
    confirmed.set()
    moving.do(partial(done.append, 2))
    moving.join(timeout=1.0)
    assert done == [0]
