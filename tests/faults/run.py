"""Runs rows of the fault matrix and writes down what they gave."""

import argparse
import json
import math
import platform
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import gevent

from mspc import __version__
from tests.faults.harness import ALL, Run
from tests.faults.nodes import Nodes, NotInjected
from tests.faults.rows import Row, discover

Say = Callable[[str], object]

_TITLES = (
    "#",
    "fault",
    "queue",
    "injected",
    "accepted",
    "unknown",
    "lost",
    "unexpected",
    "duplicates (bound)",
    "recovered in",
    "remark",
)
_EXPLANATION = """\
*Accepted* calls were promised with 200 or 202. Of the *unknown* ones nobody can say
whether they exist: 503, a timeout, a reset. *Lost*: accepted and never answered 2xx by
the target. *Unexpected*: seen by the target although never accepted nor unknown.
*Duplicates*: attempts after the target had answered 2xx. *Recovered in*: the longest
time from the end of a fault to the delivery of a call posted after it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one row gave on one kind of queue.

    Attributes:
        outcome: `passed`, `failed` or `not injected`.
        recovered: the longest recovery in seconds, None when none was measured.
        problems: why it failed, or could not be injected.
    """

    number: int
    name: str
    fault: str
    queue: str
    outcome: str
    seed: int
    injected: int = 0
    accepted: int = 0
    unknown: int = 0
    lost: int = 0
    unexpected: int = 0
    duplicated: int = 0
    bound: int = 0
    recovered: float | None = None
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[int, str, str]:
        return self.number, self.name, self.queue


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
    """The rows to run, each with one kind of queue; no number means all."""
    wanted = set(numbers)
    rows = [row for row in discover() if not wanted or row.number in wanted]
    return [(row, queue) for row in rows for queue in queues if queue in row.queues]


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
                say(f"{_line(result)} ({time.monotonic() - start:.0f} s)")
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
    }


def _line(result: Result) -> str:
    head = f"{result.number:>3} {result.fault} [{result.queue}]: {result.outcome}"
    if result.outcome == "not injected":
        return f"{head}: {'; '.join(result.problems)}"
    figures = (
        f"{result.injected} injected, {result.accepted} accepted,"
        f" {result.unknown} unknown, {result.lost} lost,"
        f" {result.unexpected} unexpected,"
        f" {result.duplicated} duplicates (bound {result.bound}),"
        f" recovered in {_seconds(result.recovered)}"
    )
    problems = "".join(f"\n      ! {problem}" for problem in result.problems)
    remarks = "".join(f"\n      . {remark}" for remark in result.remarks)
    return f"{head}: {figures}{remarks}{problems}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


# The table, and the results of several runs that it is built from


def write(path: Path, command: str, results: list[Result], used: dict[str, str]) -> int:
    """Merges `results` into the JSON beside `path`, and writes the table; its length.

    A row that ran again replaces its former result.
    """
    store = path.with_suffix(".json")
    known: dict[str, Any] = {"runs": [], "versions": {}, "results": []}
    if store.exists():
        known = json.loads(store.read_text())
    merged = {former.key: former for former in map(_load, known["results"])}
    merged |= {result.key: result for result in results}
    order = {queue: place for place, queue in enumerate(ALL)}
    table = sorted(merged.values(), key=lambda r: (r.number, r.name, order[r.queue]))
    seed = results[0].seed if results else 0
    runs = [run for run in known["runs"] if run["command"] != command]
    runs = [r for r in runs if any(result.seed == r["seed"] for result in table)]
    runs.append({"command": command, "seed": seed})
    content = {
        "runs": runs,
        "versions": known["versions"] | used,
        "results": [asdict(result) for result in table],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    path.write_text(_markdown(runs, content["versions"], table))
    return len(table)


def _load(content: dict[str, Any]) -> Result:
    return Result(**content)


def _markdown(runs: Any, used: dict[str, str], table: Sequence[Result]) -> str:
    commands = "".join(f"    {run['command']}  # seed {run['seed']}\n" for run in runs)
    names = ", ".join(f"{name} {version}" for name, version in used.items())
    lines = ["| " + " | ".join(_TITLES) + " |", "|---" * len(_TITLES) + "|"]
    lines += [_cells(result) for result in table]
    return (
        f"# What faults do to mspc\n\nMade by:\n\n{commands}\n"
        f"With {names}.\n\n{_EXPLANATION}\n\n" + "\n".join(lines) + "\n"
    )


def _cells(result: Result) -> str:
    remark = "; ".join(result.remarks)
    if result.outcome == "not injected":
        figures = ["-"] * 7
        remark = f"not injected: {'; '.join(result.problems)}"
    else:
        figures = [
            f"{result.injected:,}",
            f"{result.accepted:,}",
            f"{result.unknown:,}",
            f"{result.lost:,}",
            f"{result.unexpected:,}",
            f"{result.duplicated:,} ({result.bound:,})",
            _seconds(result.recovered),
        ]
    if result.outcome == "failed":
        failed = f"**failed**: {'; '.join(result.problems)}"
        remark = f"{failed}; {remark}" if remark else failed
    cells = [str(result.number), result.fault, result.queue, *figures, remark]
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())[:500]


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the chosen rows; 1 when one of them has failed."""
    options = _parser().parse_args(arguments)
    # As with Ctrl-C, everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    command = f"python -m tests.faults{_as_typed(options, seed)}"
    print(f"seed {seed}: {command}", flush=True)

    def say(line: str) -> None:
        print(line, flush=True)

    chosen = select(options.rows, options.queues)
    results, used = run_all(chosen, seed, quick=options.quick, say=say)
    print(", ".join(f"{name} {version}" for name, version in used.items()))
    if options.write and results:
        write(options.write, command, results, used)
    failed = [result for result in results if result.outcome == "failed"]
    print(f"{len(results)} rows, {len(failed)} failed")
    return 1 if failed else 0


def _as_typed(options: argparse.Namespace, seed: int) -> str:
    text = f" --rows {','.join(map(str, options.rows))}" if options.rows else ""
    if tuple(options.queues) != ALL:
        text += f" --queues {','.join(options.queues)}"
    return f"{text} --seed {seed}{' --quick' if options.quick else ''}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Injects faults into a running mspc and counts what was lost.",
    )
    parser.add_argument(
        "--rows", type=_numbers, default=[], help="for example 1,2,30; default: all"
    )
    parser.add_argument(
        "--queues", type=_queues, default=ALL, help=f"default: {','.join(ALL)}"
    )
    parser.add_argument("--seed", type=int, help="repeats the chances of a run")
    parser.add_argument("--quick", action="store_true", help="a short run of each row")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="the table; its JSON lies beside it"
    )
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _queues(text: str) -> tuple[str, ...]:
    queues = tuple(part for part in text.split(",") if part)
    if wrong := set(queues) - set(ALL):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(wrong))}")
    return queues
