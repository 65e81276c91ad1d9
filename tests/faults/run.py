"""Runs rows of the fault matrix, one after another."""

import math
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import gevent

from mspc import __version__
from tests.faults.harness import Run
from tests.faults.nodes import Nodes, NotInjected
from tests.faults.rows import Row, discover
from tests.faults.table import Result

Say = Callable[[Result, float], object]


def run_row(row: Row, queue: str, nodes: Nodes, seed: int, *, quick: bool) -> Result:
    """Runs one row; whatever goes wrong is in the result."""
    run = Run(queue, f"{seed}-{row.name}-{queue}", nodes, quick=quick)
    result = Result(row.number, row.name, row.fault, queue, "not injected", seed)
    try:
        try:
            with gevent.Timeout(row.timeout):
                row.function(run)
        except NotInjected as exc:
            return _with(result, problems=[str(exc)], remarks=run.remarks)
        except (Exception, gevent.Timeout) as exc:  # noqa: BLE001 - it is the result
            run.problems.append(f"{type(exc).__name__}: {exc}")
        return _judge(result, row, run)
    finally:
        run.close()


def _judge(result: Result, row: Row, run: Run) -> Result:
    try:
        verdict = run.finish()
    except Exception as exc:  # noqa: BLE001 - it is the result
        problems = [*run.problems, f"{type(exc).__name__}: {exc}"]
        return _with(result, outcome="failed", problems=problems)
    bound = row.bound_of(run)
    problems = run.problems + verdict.problems(bound)
    slowest = max(run.recoveries, default=None)
    if slowest is not None and slowest > row.recover_within:
        problems.append(f"recovered in {slowest:.1f} s, bound {row.recover_within} s")
    if not run.injections:
        problems.append("nothing was injected")
    return _with(
        result,
        outcome="failed" if problems else "passed",
        injected=run.injections,
        accepted=verdict.accepted,
        unknown=verdict.unknown,
        lost=len(verdict.lost),
        unexpected=len(verdict.unexpected),
        duplicated=verdict.duplicated,
        bound=bound,
        recovered=None if slowest is None or math.isinf(slowest) else slowest,
        remarks=run.remarks,
        problems=problems,
    )


def _with(result: Result, **changes: Any) -> Result:
    return Result(**(asdict(result) | changes))


def select(numbers: Iterable[int], queues: Sequence[str]) -> list[tuple[Row, str]]:
    """The rows to run, each with one kind of queue.

    Args:
        numbers: none means all.
        queues: none means those that are usual for each row.
    """
    wanted = set(numbers)
    rows = [row for row in discover() if not wanted or row.number in wanted]
    return [
        (row, queue)
        for row in rows
        for queue in (queues or row.usual)
        if queue in row.queues
    ]


def run_all(
    chosen: Iterable[tuple[Row, str]],
    seed: int,
    *,
    quick: bool,
    say: Say,
) -> tuple[list[Result], dict[str, str]]:
    """Runs them one after another; the results, and the versions they hold for."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="mspc-faults-") as directory:
        nodes = Nodes(Path(directory))
        try:
            for row, queue in chosen:
                start = time.monotonic()
                result = run_row(row, queue, nodes, seed, quick=quick)
                results.append(result)
                say(result, time.monotonic() - start)
            return results, versions() | nodes.versions()
        finally:
            nodes.stop()


def versions() -> dict[str, str]:
    return {
        "mspc": __version__,
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "gevent": metadata.version("gevent"),
        "amqpstorm": metadata.version("amqpstorm"),
        "Linux": platform.release(),
        "cores": str(os.cpu_count()),
    }
