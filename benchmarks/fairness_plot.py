"""The plot of the fairness section."""

from typing import Any

from matplotlib.figure import Figure

from benchmarks import fairness
from benchmarks.fairness_page import each_second
from benchmarks.limits import QUEUES
from benchmarks.store import FAIRNESS, Store

COLOURS = {"sqlite": "#1a7f37", "classic": "#bf8700", "quorum": "#1f6feb"}
_THICKNESS = 0.25


def draw(store: Store) -> Any:
    """Left the p99 of each case, right the calls in each second of a recovery."""
    drawing = Figure(figsize=(11, 5), layout="constrained")
    waits, recovery = drawing.subplots(1, 2, width_ratios=(3, 2))
    _waits(waits, store)
    _recovery(recovery, store)
    for axes in (waits, recovery):
        axes.spines[["top", "right"]].set_visible(False)
    handles, queues = waits.get_legend_handles_labels()
    if not handles:
        handles, queues = recovery.get_legend_handles_labels()
    drawing.legend(handles, queues, loc="outside lower center", ncols=3, frameon=False)
    return drawing


def _waits(axes: Any, store: Store) -> None:
    cases = {case for queue in QUEUES for case in fairness.measured(store, queue)}
    shown = sorted(cases - {fairness.RECOVERY}, key=fairness.order)
    for number, queue in enumerate(QUEUES):
        for place, case in enumerate(shown):
            name = f"mspc-{queue} {case}"
            p99 = store.spread(FAIRNESS, name, "p99_ms")
            alone = store.median(FAIRNESS, name, "alone_p99_ms")
            if p99 is None or alone is None:
                continue
            at = place + (number - 1) * _THICKNESS
            error = [[p99.median - p99.least], [p99.greatest - p99.median]]
            colour = COLOURS[queue]
            label = queue if place == 0 else None
            axes.barh(at, p99.median, _THICKNESS, xerr=error, color=colour, label=label)
            axes.plot([alone], [at], marker="|", markersize=9, color="black")
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [fairness.title(case) for case in shown])
    axes.invert_yaxis()
    axes.set_title("healthy calls: p99, ms (black: alone)")


def _recovery(axes: Any, store: Store) -> None:
    for queue in QUEUES:
        counts = each_second(store, queue)
        seconds = range(1, len(counts) + 1)
        if counts:
            axes.plot(seconds, counts, marker="o", label=queue, color=COLOURS[queue])
    axes.set_title("calls in each second of a recovery")
    axes.set_xlabel("second")
    axes.set_ylim(bottom=0)
