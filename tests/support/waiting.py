"""Waiting for something that gives no event, bounded."""

import time
from collections.abc import Callable

import gevent


def eventually(condition: Callable[[], object], timeout: float = 15) -> None:
    """Returns when `condition()` is true; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        gevent.sleep(0.01)
