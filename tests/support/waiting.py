"""Waiting for something that gives no event, bounded."""

import time
from collections.abc import Callable

import gevent

# Looked at often at first, then less: whoever looks has other tests wait for a
# processor, and what takes seconds may be seen a little later.
SHORTEST_SECONDS, LONGEST_SECONDS = 0.005, 0.1
PART = 0.05


def eventually(condition: Callable[[], object], timeout: float = 15) -> None:
    """Returns when `condition()` is true; fails after `timeout` seconds."""
    begun = time.monotonic()
    while not condition():
        waited = time.monotonic() - begun
        assert waited < timeout, f"not within {timeout} s"
        pause = max(SHORTEST_SECONDS, min(PART * waited, LONGEST_SECONDS))
        gevent.sleep(pause)
