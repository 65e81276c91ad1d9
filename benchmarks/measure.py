"""What processes have used so far, and what a list of figures says."""

import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of durations, in milliseconds."""

    p50: float
    p99: float


def tree(pid: int) -> list[int]:
    """The process and all its descendants that live."""
    found = [pid]
    for task in _listed(Path(f"/proc/{pid}/task")):
        for child in _text(task / "children").split():
            found += tree(int(child))
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU time of these processes and their descendants, ended ones included."""
    ticks = 0
    for root in roots:
        for pid in tree(root):
            # After the name, which may contain spaces: fields 3 and on of proc(5);
            # 14 to 17 are utime, stime, and the same of children that have ended.
            fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def peak_rss(roots: Iterable[int]) -> int:
    """The sum of the highest resident sizes of the processes, in bytes."""
    return sum(_status(pid, "VmHWM") for root in roots for pid in tree(root))


def rss(roots: Iterable[int]) -> int:
    """The sum of the resident sizes of the processes at the moment, in bytes."""
    return sum(_status(pid, "VmRSS") for root in roots for pid in tree(root))


def _status(pid: int, name: str) -> int:
    for line in _text(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def percentiles(milliseconds: Sequence[float]) -> Percentiles:
    """By the nearest rank; NaN of nothing."""
    ordered = sorted(milliseconds)

    def rank(share: float) -> float:
        if not ordered:
            return math.nan
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return Percentiles(rank(0.50), rank(0.99))


def median(figures: Sequence[float]) -> float:
    return statistics.median(figures) if figures else math.nan


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:  # it has ended
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""
