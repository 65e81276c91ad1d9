"""Workly as a subject: an HTTP task queue in Go, which calls by itself as mspc does."""

import http.client
import json
import sys
from pathlib import Path

from benchmarks import load
from benchmarks.processes import Failed
from benchmarks.service import GREENLETS, Command, Place, Subject

_PROGRAM = str(Path(sys.executable).parent / "workly")
_PATH = "/v1/queues/q"
# The nearest to what mspc does by default that it can be told.
_QUEUE = {
    "max_concurrency": GREENLETS,
    "min_backoff_seconds": 5,
    "max_backoff_seconds": 5,
    "backoff_multiplier": 1,
    "max_attempts": 1000,
    "timeout_seconds": 60,
    "retry_on_4xx": True,
}
_SETTINGS = (
    "queue: " + ", ".join(f"{name} {value}" for name, value in _QUEUE.items()),
    "no rate limit; more attempts it does not allow, mspc has no last one by default",
    "keeps each task and each attempt, as it comes: it has no setting without",
    "one process in Go, which uses every core",
)


def _sqlite(place: Place) -> list[Command]:
    return [_command(place, "dev", f"sqlite://{place.directory / 'workly.db'}")]


def _postgres(place: Place) -> list[Command]:
    url = f"{place.database}&pool_max_conns={load.CONNECTIONS}"
    return [_command(place, "serve", url)]


def _command(place: Place, mode: str, url: str) -> Command:
    arguments = [_PROGRAM, mode, "--port", str(place.port), "--database-url", url]
    return Command("workly", arguments, {"WORKLY_SIGNING_SECRET": "benchmark"})


def _make_queue(place: Place) -> None:
    client = http.client.HTTPConnection("127.0.0.1", place.port, timeout=30)
    try:
        client.request("PUT", _PATH, json.dumps(_QUEUE))
        answer = client.getresponse()
        said = answer.read().decode(errors="replace")
    finally:
        client.close()
    if answer.status not in (http.client.OK, http.client.CREATED):
        raise Failed(f"Workly refused its queue, {answer.status}: {said}")


SQLITE = Subject(
    "workly-sqlite",
    "Workly, sqlite",
    "Workly",
    "sqlite",
    _sqlite,
    (
        "workly dev, SQLite with WAL and synchronous=FULL, as it comes: a task is on"
        " the disk before it is answered",
        *_SETTINGS,
    ),
    journal=True,
    path=f"{_PATH}/tasks",
    ready="/readyz",
    prepare=_make_queue,
)
POSTGRES = Subject(
    "workly-postgres",
    "Workly, postgresql",
    "Workly",
    "postgresql",
    _postgres,
    (
        "workly serve; PostgreSQL as initdb sets it up, with fsync and"
        " synchronous_commit on, over its Unix socket",
        f"pool_max_conns={load.CONNECTIONS} in its URL: its default of a few"
        " connections would hold up the clients",
        *_SETTINGS,
    ),
    journal=True,
    path=f"{_PATH}/tasks",
    ready="/readyz",
    prepare=_make_queue,
)
