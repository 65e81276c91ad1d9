"""Another greenlet, which shows whether it gets its turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import socketpair

import gevent
from gevent.socket import wait_write


@dataclass(slots=True)
class Beside:
    """`turns`: how many it has had."""

    turns: int = 0

    def run(self) -> None:
        """Waits for what is always ready: for the event loop to look whether it is.

        After gevent.sleep(0) it need not have looked.
        """
        here, there = socketpair()
        with here, there:
            while True:
                wait_write(here.fileno())
                self.turns += 1


@contextmanager
def somebody_beside() -> Iterator[Beside]:
    """Runs until the end of the `with`."""
    beside = Beside()
    greenlet = gevent.spawn(beside.run)
    try:
        yield beside
    finally:
        greenlet.kill()
