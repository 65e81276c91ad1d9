"""What signals mean once there is a service; first.py has those that come before."""

import logging
import os
import signal
from collections.abc import Callable

import gevent

from mspc.process import logs
from mspc.process.first import MEANINGLESS, STOP

log = logging.getLogger(__name__)

# After SHUTDOWN_TIMEOUT_SECONDS, to store what became of the attempts.
SETTLE_SECONDS = 10.0


def heed(
    stop: Callable[[], None], reload: Callable[[], None], shutdown_timeout: float
) -> None:
    """From now on signals call these.

    Args:
        stop: called at the first signal to stop; it returns at once.
        reload: called at SIGHUP.
        shutdown_timeout: seconds that attempts get after `stop`.
    """

    def stop_once() -> None:
        stop()
        # Whoever asks twice does not want to wait: what is in flight comes again.
        for number in STOP:
            gevent.signal_handler(number, _leave, "asked a second time")
        seconds = shutdown_timeout + SETTLE_SECONDS
        # A disk that hangs must not keep it here until somebody kills it.
        gevent.spawn(_leave_after, seconds)

    for number in STOP:
        gevent.signal_handler(number, stop_once)
    gevent.signal_handler(signal.SIGHUP, reload)
    for number in MEANINGLESS:
        gevent.signal_handler(number, _remark, number)


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
