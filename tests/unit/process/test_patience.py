"""Waits that take too long, ended by one timer."""

import gevent
import pytest
from gevent.event import AsyncResult

from mspc.process.patience import Patience, TookTooLong

LONG = 600.0
SHORT = 0.02


def waiting(
    patience: Patience,
) -> tuple["AsyncResult[str]", "gevent.Greenlet[..., str]"]:
    done: AsyncResult[str] = AsyncResult()
    greenlet = gevent.spawn(patience.wait, done)
    gevent.sleep(0)
    return done, greenlet


def test_what_comes_in_time_is_returned() -> None:
    patience = Patience(LONG)
    first, one = waiting(patience)
    second, other = waiting(patience)
    second.set("second")
    first.set("first")
    assert (one.get(timeout=10), other.get(timeout=10)) == ("first", "second")


def test_what_does_not_come_is_waited_for_no_longer() -> None:
    """By none of those who wait, and the next one waits as long as the first."""
    patience = Patience(SHORT)
    for _ in range(2):
        greenlets = [waiting(patience)[1] for _ in range(3)]
        for greenlet in greenlets:
            with pytest.raises(TookTooLong):
                greenlet.get(timeout=10)


def test_an_error_that_comes_is_raised() -> None:
    done, greenlet = waiting(Patience(LONG))
    done.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        greenlet.get(timeout=10)


def test_who_was_ended_waits_no_more() -> None:
    patience = Patience(SHORT)
    _, ended = waiting(patience)
    gevent.kill(ended)
    _, after = waiting(patience)
    with pytest.raises(TookTooLong):
        after.get(timeout=10)
    assert not patience._since


def test_a_timeout_of_somebody_else_is_that() -> None:
    patience = Patience(LONG)
    done: AsyncResult[str] = AsyncResult()
    with pytest.raises(gevent.Timeout), gevent.Timeout(SHORT):
        patience.wait(done)
    done.set("later")
    assert patience.wait(done) == "later"


def test_nobody_waiting_takes_no_timer() -> None:
    patience = Patience(SHORT)
    done, greenlet = waiting(patience)
    assert patience._timer is not None
    done.set("done")
    greenlet.join()
    while patience._timer is not None:
        gevent.sleep(SHORT / 10)
