"""Greenlets that must live, those that give way, and what they have others do."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import gevent
from gevent.event import Event
from gevent.greenlet import Greenlet

log = logging.getLogger(__name__)

T = TypeVar("T")

START_AGAIN_SECONDS = 1.0
# Not zero, and over before the event loop asks for how long it may wait.
_NEXT_ITERATION = 1e-9


def give_way() -> None:
    """Others have their turn: also those for whom something has arrived meanwhile.

    Not gevent.sleep(0), as its documentation says: whoever does that again and again
    is followed by himself, and until the switch interval is over, 5 ms, nobody looks
    what has arrived.
    """
    gevent.sleep(_NEXT_ITERATION)


def giving_way(items: Iterable[T], at_once: int) -> Iterator[T]:
    """`items`; after so many of them other greenlets have their turn."""
    for number, item in enumerate(items, 1):
        yield item
        if number % at_once == 0:
            give_way()


def caught(function: Callable[..., T], *arguments: Any) -> T | Exception:
    """What it returns, or raises, which the hub would print of a ThreadPool's job."""
    try:
        return function(*arguments)
    except Exception as exc:  # noqa: BLE001 - told apart where it is returned to
        return exc


class Watched:
    """Runs a function until it returns; again, after a pause, when it raises."""

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        """
        Args:
            name: for the log and for /health/ready.
            function: returns when it was told to stop, and only then.
        """
        self._name = name
        self._function = function
        self._stopping = Event()
        self._failed = False
        self._greenlet: Greenlet[[], None] | None = None

    def start(self) -> None:
        self._greenlet = Greenlet.spawn(self._run)

    def stop(self, timeout: float | None = None) -> None:
        """Waits until the function has returned; ends it after `timeout` seconds.

        Whoever calls this has told the function to stop.
        """
        self._stopping.set()
        if self._greenlet is not None:
            self._greenlet.join(timeout)
            self._greenlet.kill()
            self._greenlet = None

    def problem(self) -> str | None:
        """Why its work is not done at the moment; None when it is."""
        if self._greenlet is None or self._greenlet.dead:
            return f"The {self._name} does not run."
        if self._failed:
            return f"The {self._name} failed and is being started again."
        return None

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._function()
                return
            except Exception:
                log.exception("The %s failed; starting it again", self._name)
            self._failed = True
            self._stopping.wait(START_AGAIN_SECONDS)
            self._failed = False
