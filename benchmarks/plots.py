"""The plots beside the tables, as SVG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks import fairness_plot
from benchmarks.fairness_plot import COLOURS
from benchmarks.growth import SIZES
from benchmarks.limits import QUEUES
from benchmarks.store import END_TO_END, FAIRNESS, GROWTH, Store
from benchmarks.subjects import SUBJECTS

OURS, PEER = "#1f6feb", "#9aa4b1"

# The same figures give the same file.
mpl.rcParams.update({"svg.hashsalt": "mspc", "svg.fonttype": "none", "font.size": 9})


Plots = dict[str, list[tuple[str, Path]]]


def draw(store: Store, stem: Path) -> Plots:
    """Writes a file for each plot that there are figures for.

    Returns:
        Titles and files, by section.
    """
    drawn: Plots = {}
    bars = (
        ("throughput", "calls_per_s", "Calls a second, end to end"),
        ("cpu", "cpu_s_per_1000", "CPU seconds for 1,000 calls"),
    )
    for name, figure, title in bars:
        if store.names(END_TO_END):
            file = stem.with_name(f"{stem.name}-{name}.svg")
            _save(_bars(store, figure, title), file)
            drawn.setdefault(END_TO_END, []).append((title, file))
    if store.names(GROWTH):
        file = stem.with_name(f"{stem.name}-growth.svg")
        _save(_growth(store), file)
        drawn[GROWTH] = [("Beside waiting calls", file)]
    if store.names(FAIRNESS):
        file = stem.with_name(f"{stem.name}-fairness.svg")
        _save(fairness_plot.draw(store), file)
        drawn[FAIRNESS] = [("Healthy calls beside trouble, and a recovery", file)]
    return drawn


def _bars(store: Store, figure: str, title: str) -> Any:
    rows = [
        (subject, spread)
        for subject in reversed(SUBJECTS)
        if (spread := store.spread(END_TO_END, subject.key, figure)) is not None
    ]
    drawing = Figure(figsize=(7, 0.45 * len(rows) + 0.9), layout="constrained")
    axes: Any = drawing.subplots()
    medians = [spread.median for _, spread in rows]
    errors = [
        [spread.median - spread.least for _, spread in rows],
        [spread.greatest - spread.median for _, spread in rows],
    ]
    colours = [OURS if subject.product == "mspc" else PEER for subject, _ in rows]
    names = [_label(subject.title, subject.queue) for subject, _ in rows]
    bars = axes.barh(names, medians, xerr=errors, color=colours, capsize=3)
    texts = [f"{m:,.0f}" if m >= 100 else f"{m:.2f}" for m in medians]
    axes.bar_label(bars, texts, padding=6)
    axes.margins(x=0.15)
    axes.set_title(f"{title} (median, least and greatest)")
    axes.spines[["top", "right"]].set_visible(False)
    return drawing


def _label(title: str, queue: str) -> str:
    return title if queue in title else f"{title}, {queue}"


def _growth(store: Store) -> Any:
    panels = (
        ("calls_per_s", "calls/s"),
        ("rss_mib", "resident memory, MiB"),
        ("start_up_s", "start-up, s"),
        ("accept_p99_ms", "accept p99, ms"),
    )
    drawing = Figure(figsize=(9, 5), layout="constrained")
    grid: Any = drawing.subplots(2, 2)
    for axes, (figure, title) in zip(grid.flat, panels, strict=True):
        for queue in QUEUES:
            _line(axes, store, queue, figure)
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("waiting calls")
        axes.spines[["top", "right"]].set_visible(False)
    grid.flat[0].legend(frameon=False)
    return drawing


def _line(axes: Any, store: Store, queue: str, figure: str) -> None:
    points = [
        (_power(size), value)
        for size in SIZES
        if (value := store.median(GROWTH, f"mspc-{queue} {size}", figure)) is not None
    ]
    if points:
        names: Sequence[str]
        names, values = zip(*points, strict=True)
        axes.plot(names, values, marker="o", label=queue, color=COLOURS[queue])


def _power(size: int) -> str:
    return f"10^{len(str(size)) - 1}" if size else "0"


def _save(drawing: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(file, metadata={"Date": None, "Creator": None})
