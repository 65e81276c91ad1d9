"""What every worker does: one call with urllib3, failed unless answered 2xx."""

import logging
import sys
import time
from typing import Any

import urllib3

RETRY_SECONDS = 5
GREENLETS = 100

log = logging.getLogger("work")

_pool = urllib3.PoolManager(
    maxsize=GREENLETS,
    retries=False,
    timeout=urllib3.Timeout(connect=5, read=60),
)


class NotDelivered(Exception):
    """Answered, but not 2xx."""


def make(call_id: str, call: dict[str, Any]) -> None:
    """Makes the call once.

    Raises:
        NotDelivered, urllib3.exceptions.HTTPError: it has to be made again.
    """
    started = time.monotonic()
    method = call.get("method") or "GET"
    response = _pool.request(
        method,
        call["url"],
        body=call.get("body"),
        headers={**(call.get("headers") or {}), "Idempotency-Key": call_id},
        redirect=False,
    )
    took = (time.monotonic() - started) * 1000
    log.info(
        "%s %s %s -> %s in %d ms", call_id, method, call["url"], response.status, took
    )
    if not 200 <= response.status < 300:
        raise NotDelivered(response.status)


def log_to_stderr() -> None:
    """The same lines in every process of every peer: only ours, and warnings.

    Dramatiq would send them through a pipe of its own, which costs it time; the
    original stream goes straight to the file.
    """
    handler = logging.StreamHandler(sys.__stderr__)
    form = "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(logging.Formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("front", "work"):
        logging.getLogger(name).setLevel(logging.INFO)
