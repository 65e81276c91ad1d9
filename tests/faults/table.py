"""What a row gave, and the table of all of them: docs/faults.md."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.harness import ALL

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
_INTRODUCTION = """\
In each row mspc runs as a process of its own under load, with a target that writes down
every attempt. Something is broken for real: by signals, rabbitmqctl, a TCP proxy, small
disks, strace, limits, a DNS server. At the end, what the clients were told is compared
with what the target has seen, as Jepsen's total-queue checker does. A row fails when a
call is lost, unexpected, altered or too early, when there are more duplicates than the
fault can explain, when recovering takes longer than 15 s (30 s for partitions), when
mspc ends or prints a traceback though it should not, or when its own expectations do
not hold. The numbers are those of the fault matrix; what a row does is in
`tests/faults/rows`. In row 49 the exceptions are raised by a hook at the crash points,
since no message and no answer is known that provokes a bug; its tracebacks are wanted.

Queues: *sqlite* is the embedded one; *classic* and *quorum* are on RabbitMQ 3.10,
*quorum4* is on RabbitMQ 4.0."""
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


def line(result: Result) -> str:
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
    write_page(path)
    return len(table)


def write_page(path: Path) -> None:
    """Writes the table from the JSON beside it."""
    content = json.loads(path.with_suffix(".json").read_text())
    table = [_load(result) for result in content["results"]]
    path.write_text(_markdown(content["runs"], content["versions"], table))


def _load(content: dict[str, Any]) -> Result:
    return Result(**content)


def _markdown(runs: Any, used: dict[str, str], table: Sequence[Result]) -> str:
    commands = "".join(f"    {run['command']}  # seed {run['seed']}\n" for run in runs)
    names = ", ".join(f"{name} {version}" for name, version in used.items())
    lines = ["| " + " | ".join(_TITLES) + " |", "|---" * len(_TITLES) + "|"]
    lines += [_cells(result) for result in table]
    parts = [
        "# What faults do to mspc",
        _summary(table),
        _INTRODUCTION,
        f"Made by:\n\n{commands.rstrip()}",
        f"With {names}.",
        _EXPLANATION,
        "\n".join(lines),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(table: Sequence[Result]) -> str:
    def total(figure: str) -> str:
        return f"{sum(getattr(result, figure) for result in table):,}"

    run = [result for result in table if result.outcome != "not injected"]
    rows = len({result.name for result in run})
    failed = sum(result.outcome == "failed" for result in table)
    return (
        f"**{total('injected')} faults in {len(run)} runs of {rows}"
        f" rows, {total('accepted')} calls accepted: {total('lost')} lost,"
        f" {total('unexpected')} unexpected, {total('duplicated')} duplicates;"
        f" {failed} runs failed, {len(table) - len(run)} could not be injected.**"
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
