"""Writes docs/benchmarks.md from the results."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import fairness_page, growth, limits, load, operators_page, pages_page
from benchmarks.goals import judge
from benchmarks.machine import listed
from benchmarks.plots import Plots
from benchmarks.service import GREENLETS
from benchmarks.store import END_TO_END, FAIRNESS, GROWTH, LIMITS, Store
from benchmarks.subjects import SUBJECTS
from benchmarks.tables import Row, number, spread, table

INTRODUCTION = """\
# Benchmarks

Written by `make bench`, from what it measured; the raw figures are in
[{json}]({json}). Each figure is the median of its rounds, with the least and the
greatest in brackets. Every subject is durable, with publisher confirms or fsync, and
logs a line for each call that it accepts and each that it makes."""

HOW = f"""\
## How it is measured

All of it runs on one machine, side by side with its clients, its target, RabbitMQ and
PostgreSQL: figures tell how the subjects compare, not what a server can do. Subjects
take turns, each round starting every one of them anew.

- **Work.** A client POSTs a call (method, two headers, a JSON body). It is stored, and
  answered 202. It is then made over kept connections by one of {GREENLETS} greenlets,
  and acknowledged when the target has answered 2xx.
- **mspc** is one process. **Peers** are two: a Falcon front on gevent.pywsgi with
  TCP_NODELAY, monkey-patched, which checks no more than that the body is JSON with a
  `url`, and a worker, which calls with urllib3. Workly is one, its own, and checks,
  stores and calls by itself.
- **Journal:** whether what became of each call is kept, to be looked at later. mspc
  does by default; Workly cannot be without, the others have nothing like it.
- **Target:** haproxy, which answers 200 at once, keeps connections and counts.
  **Clients:** h2load with {load.CONNECTIONS} connections over HTTP/1.1.
- **End to end:** calls are sent as fast as they are accepted; the time runs from the
  first POST to the arrival of the last call at the target, after a warm-up.
- **Accepts/s, p50, p99 (closed loop):** of the same run, as the clients see it, while
  calls are being made.
- **At half:** requests come at half of those accepts/s, evenly spread, whatever the
  answers take (open loop), while calls are being made. A connection does wait for its
  answer before its next request, which shortens the longest latencies once an answer
  takes longer than {load.CONNECTIONS} requests are apart.
- **CPU:** user and system time of all processes of the subject. **Its server:**
  RabbitMQ or PostgreSQL, whose time has a column of its own and is in no other
  figure. **Memory:** the sum of the processes' highest resident sizes. **Idle:** CPU
  time over ten seconds without a call, in percent of a core.
- **made twice:** calls that reached the target more often than once, a sum of all
  rounds.
"""


def write(store: Store, path: Path, plots: Plots) -> None:
    """The whole page."""
    json_name = path.with_suffix(".json").name
    pictures = {
        section: [f"![{title}]({file.name})" for title, file in drawn]
        for section, drawn in plots.items()
    }
    parts = [
        INTRODUCTION.format(json=json_name),
        *_warnings(store),
        *_goals(store),
        *_end_to_end(store),
        *pictures.get(END_TO_END, ()),
        *_limits(store),
        *_growth(store),
        *pictures.get(GROWTH, ()),
        *fairness_page.parts(store),
        *pictures.get(FAIRNESS, ()),
        *operators_page.parts(store),
        *pages_page.parts(store),
        HOW.rstrip(),
        *_settings(),
        *_runs(store),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n")


def _warnings(store: Store) -> Iterator[str]:
    if any(run.quick for run in store.runs.values()):
        yield "**With figures of a `--quick` run: it shows that all works, no more.**"
    if len(store.runs_of(END_TO_END) | store.runs_of(LIMITS)) > 1:
        yield (
            "**The figures come from several runs, named at the end.** Subjects of"
            " different runs have not taken turns."
        )
    if store.failures:
        failures = store.failures.values()
        lines = "\n".join(f"- {' '.join(one.split())[:300]}" for one in failures)
        yield f"**What failed:**\n\n{lines}"


def _goals(store: Store) -> Iterator[str]:
    words = {True: "met", False: "**missed**", None: "-"}
    rows = [(v.goal, v.measured, words[v.met]) for v in judge(store)]
    yield "## What it must show"
    yield table(("goal", "measured", ""), rows)


def _end_to_end(store: Store) -> Iterator[str]:
    if not store.names(END_TO_END):
        return
    columns = (
        ("calls/s", "calls_per_s"),
        ("CPU s per 1,000", "cpu_s_per_1000"),
        ("its server's CPU s", "broker_cpu_s_per_1000"),
        ("memory, MiB", "rss_mib"),
        ("idle, %", "idle_percent"),
    )
    yield "## End to end"
    yield _figures(store, columns)
    accepting = (
        ("accepts/s", "accepts_per_s"),
        ("p50, ms", "accept_p50_ms"),
        ("p99, ms", "accept_p99_ms"),
        ("at half: /s", "steady_rate_per_s"),
        ("p50, ms", "steady_p50_ms"),
        ("p99, ms", "steady_p99_ms"),
    )
    yield "## Accepting"
    yield _figures(store, accepting)
    yield "\n".join(_rounds(store))


def _figures(store: Store, columns: Sequence[tuple[str, str]]) -> str:
    rows = []
    for subject in SUBJECTS:
        if subject.key in store.names(END_TO_END):
            cells = [
                spread(store.spread(END_TO_END, subject.key, figure))
                for _, figure in columns
            ]
            journal = "yes" if subject.journal else "no"
            rows.append((subject.title, subject.queue, journal, *cells))
    return table(("", "queue", "journal", *(title for title, _ in columns)), rows)


def _rounds(store: Store) -> Iterator[str]:
    for subject in SUBJECTS:
        rounds = store.results.get(END_TO_END, {}).get(subject.key, [])
        if rounds:
            calls = sorted({round(one["calls"]) for one in rounds})
            twice = sum(one["made_twice"] for one in rounds)
            yield (
                f"- {subject.title}: {len(rounds)} rounds of"
                f" {' or '.join(f'{c:,}' for c in calls)} calls, {twice:.0f} made twice"
            )


def _limits(store: Store) -> Iterator[str]:
    if not store.names(LIMITS):
        return
    yield "## The limits"
    yield (
        "The bare parts, each alone in a process of its own: what the libraries cost"
        " when nothing else is done. The sum of the parts that each call needs is the"
        " floor. It has no logging, no validation, and on SQLite no reading of rows."
    )
    rows = [
        (
            part,
            what,
            spread(store.spread(LIMITS, part, "per_s")),
            spread(store.spread(LIMITS, part, "cpu_us")),
        )
        for part, what in limits.PARTS.items()
    ]
    yield table(("part", "what", "a second", "CPU µs"), rows)
    yield table(
        ("queue", "floor: CPU µs a call", "mspc: CPU µs a call", "times"),
        [_ratio(store, queue) for queue in limits.QUEUES],
    )


def _ratio(store: Store, queue: str) -> Row:
    floor = store.floor(limits.floor_parts(queue))
    cpu = store.median(END_TO_END, f"mspc-{queue}", "cpu_s_per_1000")
    times = f"{cpu * 1000 / floor:.2f}" if cpu and floor else "-"
    micro = None if cpu is None else cpu * 1000
    return queue, number(floor), number(micro), times


def _growth(store: Store) -> Iterator[str]:
    if not store.names(GROWTH):
        return
    yield "## Growth"
    yield (
        "mspc beside calls that wait for their next attempt, due in an hour. Start-up"
        " runs from the start of the process to the first 200 from `/health/ready`."
        f" Throughput, CPU and p99 are medians of {growth.TIMES} runs in a row."
    )
    columns = (
        ("calls/s", "calls_per_s"),
        ("CPU s per 1,000", "cpu_s_per_1000"),
        ("accept p99, ms", "accept_p99_ms"),
        ("memory, MiB", "rss_mib"),
        ("start-up, s", "start_up_s"),
    )
    rows = [
        (
            queue,
            f"{size:,}",
            *(number(store.median(GROWTH, name, f)) for _, f in columns),
        )
        for queue in limits.QUEUES
        for size in growth.SIZES
        if (name := f"mspc-{queue} {size}") in store.names(GROWTH)
    ]
    yield table(("queue", "waiting", *(title for title, _ in columns)), rows)


def _settings() -> Iterator[str]:
    yield "## How each is set up"
    yield (
        "As it is today; the last section has the commit that each run measured, whose"
        " defaults may have been others."
    )
    for subject in SUBJECTS:
        lines = "\n".join(f"- {line}" for line in subject.settings)
        yield f"**{subject.title}**\n\n{lines}"


def _runs(store: Store) -> Iterator[str]:
    yield "## Where and with what"
    for run in store.runs.values():
        yield (
            f"`{run.command}`, {run.date}\n\n- {listed(run.machine)}\n"
            f"- {listed(run.versions)}"
        )
