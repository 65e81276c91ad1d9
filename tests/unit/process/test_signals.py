"""Signals to stop: which are one request, and which a second one."""

import subprocess
import sys
from pathlib import Path

import pytest

from mspc.process.signals import SAME_SECONDS, Stopping
from tests.support.clock import Clock

# Signals that come at the given seconds, each when the one before it was heeded.
HEEDING = """
import gevent, os, signal, sys
from mspc.process.signals import heed

now, looked, stops = 0.0, [], []

def clock():
    looked.append(now)
    return now

heed(lambda: stops.append(now), print, 30.0, clock)
for at in map(float, sys.argv[1:]):
    now = at
    os.kill(os.getpid(), signal.SIGTERM)
    while now not in looked:
        gevent.sleep(0.001)
assert len(stops) == 1
"""


class World:
    """What was done, and the clock.

    Attributes:
        done: "begin" and "leave", in turn.
    """

    def __init__(self) -> None:
        self.clock = Clock(100.0)
        self.done: list[str] = []
        self.stopping = Stopping(
            lambda: self.done.append("begin"),
            lambda: self.done.append("leave"),
            self.clock,
        )

    def asked(self, later: float = 0.0) -> None:
        self.clock.now += later
        self.stopping.asked()


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_one_begins_a_stop(world: World) -> None:
    world.asked()
    assert world.done == ["begin"]


def test_what_comes_twice_is_one_request(world: World) -> None:
    """However often, until there was time to be impatient."""
    world.asked()
    world.asked(0.002)
    world.asked(SAME_SECONDS - 0.01)
    assert world.done == ["begin"]


def test_who_asks_again_does_not_want_to_wait(world: World) -> None:
    world.asked()
    world.asked(0.002)
    world.asked(SAME_SECONDS)
    assert world.done == ["begin", "leave"]


@pytest.mark.parametrize(("moments", "code"), [("0 .002 .4", 0), ("0 .002 .6", 1)])
def test_signals_that_come(moments: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEEDING, *moments.split()],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert (b"leaves at once, asked a second time" in done.stderr) == bool(code)
