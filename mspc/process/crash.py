"""Crash points: where the fault tests kill the process, for real and repeatably.

MSPC_CRASH_AT=name:n ends the process by SIGKILL when the point `name` is passed for the
n-th time. Unset, a point is an empty function.
"""

import os
import signal
from collections.abc import Callable, Mapping

POINTS = (
    "before_put",
    "publish_written",  # RabbitMQ only
    "after_put",
    "delivery_taken",
    "request_sent",
    "response_read",
    "before_ack",
    "after_ack",
    "before_retry",
    "retry_confirmed",  # RabbitMQ only: the new copy is stored, the old one not let go
    "after_retry",
    "timer_set",
    "timer_fired",
    "before_commit",  # SQLite only
    "after_commit",  # SQLite only
    "decision_reached",  # by what an operator does to one call: the journal not, yet
)


def _nothing(name: str) -> None:
    pass


def _armed(environ: Mapping[str, str]) -> Callable[[str], None]:
    wanted, _, count = environ.get("MSPC_CRASH_AT", "").partition(":")
    if wanted not in POINTS or not count.isdecimal():
        return _nothing
    left = int(count)

    def at(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return at


at = _armed(os.environ)
