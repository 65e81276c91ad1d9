"""Rows side by side, in processes of their own: most of a row's time is waiting.

A worker reads the rows to run from its standard input, one a line, and writes what
each gave to its standard output; when the input ends, it stops its RabbitMQ nodes.
"""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import gevent

from tests.faults.rows import Row, discover
from tests.faults.run import Say, run_all
from tests.faults.table import Result
from tests.support.children import die_with_parent, end

END_SECONDS = 60.0
Chosen = list[tuple[Row, str]]


def run_side_by_side(
    chosen: Chosen, seed: int, jobs: int, *, quick: bool, say: Say
) -> tuple[list[Result], dict[str, str]]:
    """Runs the rows in `jobs` workers; the results, and the versions they hold for.

    Those that want to be alone come last, one after another.
    """
    beside = deque(one for one in chosen if not one[0].alone)
    alone = deque(one for one in chosen if one[0].alone)
    results: list[Result] = []
    versions: dict[str, str] = {}

    def said(result: Result, seconds: float) -> None:
        results.append(result)
        say(result, seconds)

    command = [sys.executable, "-m", "tests.faults", "--worker", "--seed", str(seed)]
    command += ["--quick"] if quick else []
    workers = [_start(command) for _ in range(min(jobs, max(1, len(beside))))]
    greenlets = [gevent.spawn(_feed, one, beside, said) for one in workers]
    try:
        gevent.joinall(greenlets, raise_error=True)
        for worker in workers[1:]:
            versions |= _finish(worker)
        _feed(workers[0], alone, said)
        versions |= _finish(workers[0])
    finally:
        gevent.killall(greenlets)
        for worker in workers:
            end(worker, END_SECONDS)
    return results, versions


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,
    )


def _feed(
    worker: "subprocess.Popen[bytes]",
    left: deque[tuple[Row, str]],
    said: Callable[[Result, float], None],
) -> None:
    """Gives it one row after another."""
    assert worker.stdin is not None, "it has a pipe"
    while left:
        row, queue = left.popleft()
        worker.stdin.write(f"{row.name} {queue}\n".encode())
        worker.stdin.flush()
        answer = _answer(worker)
        said(Result(**answer["result"]), answer["seconds"])


def _finish(worker: "subprocess.Popen[bytes]") -> dict[str, str]:
    """Stops its nodes; returns the versions that it has used."""
    assert worker.stdin is not None, "it has a pipe"
    worker.stdin.close()
    versions = dict(_answer(worker)["versions"])
    worker.wait(END_SECONDS)
    return versions


def _answer(worker: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert worker.stdout is not None, "it has a pipe"
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"a worker ended by itself, exit code {worker.wait()}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def work(seed: int, *, quick: bool) -> None:
    """Runs the rows that standard input names, as a worker."""

    def say(result: Result, seconds: float) -> None:
        _tell(result=asdict(result), seconds=seconds)

    _, versions = run_all(_wanted(), seed, quick=quick, say=say)
    _tell(versions=versions)


def _wanted() -> Iterator[tuple[Row, str]]:
    rows = {row.name: row for row in discover()}
    for line in iter(sys.stdin.readline, ""):
        name, queue = line.split()
        yield rows[name], queue


def _tell(**content: object) -> None:
    print(json.dumps(content), flush=True)
