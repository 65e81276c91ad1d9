"""Huey on SQLite."""

import os
from typing import Any

from huey import SqliteHuey

from benchmarks.peers import work

huey = SqliteHuey(
    "bench",
    filename=os.environ.get("BENCH_FILE", ":memory:"),
    fsync=True,
    results=False,
    utc=True,
)


@huey.task(retries=1_000_000_000, retry_delay=work.RETRY_SECONDS)
def make(call_id: str, call: dict[str, Any]) -> None:
    work.make(call_id, call)


def enqueue(call_id: str, call: dict[str, Any]) -> None:
    """Returns when the task is committed."""
    make(call_id, call)
