"""Calls that lie in a queue before mspc starts."""

import sys

from benchmarks.processes import Child
from benchmarks.service import Place
from benchmarks.stage import Stage

FILL_SECONDS = 600.0


def store_calls(
    stage: Stage, place: Place, count: int, origin: str = "", *, answers: bool = False
) -> int:
    """Adds `count` calls to a queue that mspc has made and left.

    With an `origin` they are new calls to it, which `answers` slowly or not at all;
    otherwise they wait for their next attempt, due in an hour. Returns how many such
    calls there are then.
    """
    if place.node is None:
        where = ["sqlite", str(place.directory / "data" / "queue.db")]
    else:
        where = ["amqp", place.node.host, str(place.node.port), place.queue]
    arguments = [*where, str(count), *([origin] if origin else [])]
    arguments += ["answers"] if answers else []
    command = [sys.executable, "-m", "benchmarks.fill", *arguments]
    child = Child(command, stage.directory / "fill.log")
    try:
        return int(child.finish(FILL_SECONDS).split()[-1])
    finally:
        child.stop()
