"""What signals mean once there is a service; first.py has those that come before."""

import logging
import os
import signal
import time
from collections.abc import Callable
from functools import partial

import gevent

from mspc.process import logs
from mspc.process.first import MEANINGLESS, STOP

log = logging.getLogger(__name__)

# After SHUTDOWN_TIMEOUT_SECONDS, to store what became of the attempts.
SETTLE_SECONDS = 10.0
# GNU timeout, for one, delivers each signal twice, some milliseconds apart: to us and
# to our group. Nobody who waits is impatient so soon.
SAME_SECONDS = 0.5


class Stopping:
    """Tells who asks again from who asked once, in several signals."""

    def __init__(
        self,
        begin: Callable[[], None],
        leave: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            begin: called at the first signal.
            leave: called at each one that is no part of the first.
            clock: seconds.
        """
        self._begin = begin
        self._leave = leave
        self._clock = clock
        self._asked_at: float | None = None

    def asked(self) -> None:
        """A signal to stop has come."""
        now = self._clock()
        if self._asked_at is None:
            self._asked_at = now
            self._begin()
        elif now - self._asked_at >= SAME_SECONDS:
            self._leave()


def heed(
    stop: Callable[[], None],
    reload: Callable[[], None],
    shutdown_timeout: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """From now on signals call these.

    Args:
        stop: called at the first signal to stop; it returns at once.
        reload: called at SIGHUP.
        shutdown_timeout: seconds that attempts get after `stop`.
        clock: seconds.
    """

    def begin() -> None:
        stop()
        seconds = shutdown_timeout + SETTLE_SECONDS
        # A disk that hangs must not keep it here until somebody kills it.
        gevent.spawn(_leave_after, seconds)

    # Whoever asks twice does not want to wait: what is in flight comes again.
    stopping = Stopping(begin, partial(_leave, "asked a second time"), clock)
    for number in STOP:
        gevent.signal_handler(number, stopping.asked)
    gevent.signal_handler(signal.SIGHUP, reload)
    for number in MEANINGLESS:
        gevent.signal_handler(number, _remark, number)


def heed_no_more() -> None:
    """From now on nobody can ask to stop: it has stopped, and its exit code is known.

    Python gives signals their default back before it has ended: one of those moments
    later would make a stop in order look like a crash.
    """
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)


def _leave_after(seconds: float) -> None:
    gevent.sleep(seconds)
    _leave(f"not at its end {seconds:g} s after it was asked to stop")


def _leave(why: str) -> None:
    log.critical("mspc leaves at once, %s: what is in flight is made again", why)
    logs.flush()
    os._exit(1)


def _remark(number: int) -> None:
    try:
        name = signal.Signals(number).name
    except ValueError:  # most of the real-time signals have none
        name = f"Signal {number}"
    log.warning("%s has no meaning for mspc, which goes on", name)
