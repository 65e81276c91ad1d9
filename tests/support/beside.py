"""Another greenlet, which shows whether it gets its turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import gevent


@dataclass(slots=True)
class Beside:
    """`turns`: how many it has had."""

    turns: int = 0

    def run(self) -> None:
        while True:
            self.turns += 1
            gevent.sleep(0)


@contextmanager
def somebody_beside() -> Iterator[Beside]:
    """Runs until the end of the `with`."""
    beside = Beside()
    greenlet = gevent.spawn(beside.run)
    try:
        yield beside
    finally:
        greenlet.kill()
