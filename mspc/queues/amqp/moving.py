"""Writes calls that were delivered to another queue, a few at once.

The new copy is confirmed before the old one is acknowledged. Unthrottled it would take
a whole core, and calls that could be made would wait for it.
"""

import logging
from collections import deque
from collections.abc import Callable

from gevent.pool import Group

from mspc.errors import QueueUnavailable

log = logging.getLogger(__name__)

MOVED_AT_ONCE = 16


class Moving:
    """Jobs that wait for the broker, each in a greenlet."""

    def __init__(self, what: str, at_once: int = MOVED_AT_ONCE) -> None:
        """
        Args:
            what: is done to a call, for the log.
            at_once: so many greenlets.
        """
        self._what = what
        self._jobs: deque[Callable[[], None]] = deque()
        self._at_once = at_once
        self._workers = Group()
        # Those that look for a job still. A Pool counts one for a moment after its end,
        # when a job that comes would be left to it.
        self._working = 0
        self._stopped = False

    def do(self, job: Callable[[], None]) -> None:
        """Runs `job` as soon as there is room; never waits.

        One that raises QueueUnavailable has done nothing.
        """
        self._jobs.append(job)
        if not self._stopped and self._working < self._at_once:
            self._working += 1
            self._workers.spawn(self._work)

    def forget(self) -> None:
        """What has not begun is not done."""
        self._jobs.clear()

    def stop(self) -> None:
        """Nothing more is begun."""
        self._stopped = True
        self._jobs.clear()

    def join(self, timeout: float) -> None:
        """Waits for what has begun; ends it after `timeout` seconds."""
        self._workers.join(timeout)
        self._workers.kill()

    def _work(self) -> None:
        try:
            while self._jobs and not self._stopped:
                self._do_one(self._jobs.popleft())
        finally:
            self._working -= 1

    def _do_one(self, job: Callable[[], None]) -> None:
        try:
            job()
        except QueueUnavailable as exc:
            log.debug("A call could not be %s now: %s", self._what, exc)
        except Exception:
            log.exception("A call could not be %s", self._what)
