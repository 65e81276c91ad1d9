"""The command `python -m tests.faults`."""

import argparse
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults import table
from tests.faults.harness import ALL
from tests.faults.run import select
from tests.faults.side_by_side import run_side_by_side, work
from tests.faults.table import Result

JOBS = min(2, os.cpu_count() or 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the chosen rows; 1 when one of them has failed."""
    options = _parser().parse_args(arguments)
    # As with Ctrl-C, everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    if options.page:
        table.write_page(options.page)
        return 0
    if options.worker:
        work(seed, quick=options.quick)
        return 0
    command = f"make faults ARGS='{_as_typed(options, seed)}'"
    print(f"seed {seed}: {command}", flush=True)

    def say(result: Result, seconds: float) -> None:
        print(f"{table.line(result)} ({seconds:.0f} s)", flush=True)
        if options.write:  # at once: a run that is broken off has its results
            table.write(options.write, command, [result], {})

    chosen = select(options.rows, options.queues)
    results, used = run_side_by_side(
        chosen, seed, options.jobs, quick=options.quick, say=say
    )
    print(", ".join(f"{name} {version}" for name, version in used.items()))
    if options.write:
        table.write(options.write, command, results, used)
    failed = [result for result in results if result.outcome == "failed"]
    print(f"{len(results)} rows, {len(failed)} failed")
    return 1 if failed else 0


def _as_typed(options: argparse.Namespace, seed: int) -> str:
    text = f"--rows {','.join(map(str, options.rows))} " if options.rows else ""
    if options.queues:
        text += f"--queues {','.join(options.queues)} "
    if options.jobs != JOBS:
        text += f"--jobs {options.jobs} "
    return f"{text}--seed {seed}{' --quick' if options.quick else ''}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Injects faults into a running mspc and counts what was lost.",
    )
    parser.add_argument(
        "--rows", type=_numbers, default=[], help="for example 1,2,30; default: all"
    )
    parser.add_argument(
        "--queues",
        type=_queues,
        default=(),
        help=f"of {','.join(ALL)}; default: those that are usual for each row",
    )
    parser.add_argument("--seed", type=int, help="repeats the chances of a run")
    parser.add_argument(
        "--jobs",
        type=int,
        default=JOBS,
        help="rows side by side; default: 2, on one core 1",
    )
    parser.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="only write the table again, from the JSON beside it",
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
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
