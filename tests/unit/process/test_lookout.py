"""A look that hangs: whoever asks is told what is known, and for how long it is so."""

from collections.abc import Iterator

import gevent
import pytest
from gevent.monkey import get_original

from mspc.process.lookout import PATIENCE_SECONDS, Lookout
from tests.support.clock import Clock

allocate_lock = get_original("_thread", "allocate_lock")


class Disk:
    """Something to look at, which may hang."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.looks = 0
        self.door = allocate_lock()

    def look(self) -> str | None:
        self.looks += 1
        with self.door:
            return self.problem


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def lookout(disk: Disk, clock: Clock) -> Iterator[Lookout]:
    lookout = Lookout("/data", disk.look, clock)
    yield lookout
    lookout.close()


def test_nobody_looks_before_somebody_asks(disk: Disk, lookout: Lookout) -> None:
    assert disk.looks == 0


def test_what_is_true_now_is_told(disk: Disk, lookout: Lookout) -> None:
    assert lookout.problem() is None
    disk.problem = "The disk is full."
    assert lookout.problem() == "The disk is full."
    disk.problem = None
    assert lookout.problem() is None
    assert disk.looks == 3


@pytest.mark.parametrize("known", [None, "The disk is full."])
def test_a_look_that_hangs(
    disk: Disk, lookout: Lookout, clock: Clock, known: str | None
) -> None:
    disk.problem = known
    assert lookout.problem() == known
    with disk.door:
        assert lookout.problem() == known
        clock.now += PATIENCE_SECONDS
        assert lookout.problem() == "/data has not answered for 5 s."
        clock.now += 60
        assert lookout.problem() == "/data has not answered for 65 s."
        assert disk.looks == 2  # one at a time
    disk.problem = "It is read-only."
    assert lookout.problem() in (known, "It is read-only.")
    assert lookout.problem() == "It is read-only."


def test_others_run_while_somebody_waits_for_a_look(
    disk: Disk, lookout: Lookout
) -> None:
    with disk.door:
        asking = gevent.spawn(lookout.problem)
        ran = gevent.spawn(lambda: True)
        gevent.joinall([ran], timeout=10)
        assert ran.value
        assert asking.get(timeout=10) is None


def test_closing_does_not_wait_for_a_look(disk: Disk, lookout: Lookout) -> None:
    with disk.door:
        lookout.problem()
        lookout.close()
