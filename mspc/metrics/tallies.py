"""Counters and histograms of the event loop's own.

Prometheus' children take a lock for each step, and gevent's locks are slow: what is
counted of one call took 14 us with them. Nobody but the greenlets of one thread counts
here, and none of them is interrupted between two steps. families.py gives them to
Prometheus.

What each call is counted by is counted for PORTION of them at once, and before somebody
looks: one after another they take twice as long.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence

Labels = tuple[str, ...]

PORTION = 100


def _all_is_counted() -> None:
    """Where nothing is put off."""


class Counts:
    """A counter for each combination of labels.

    Attributes:
        name: of the metric, without `_total`.
        text: what it is.
        labels: their names.
        values: by the labels' values.
        settle: to be called before somebody looks.
    """

    def __init__(
        self,
        name: str,
        text: str,
        labels: Labels = (),
        settle: Callable[[], None] = _all_is_counted,
    ) -> None:
        self.name, self.text, self.labels, self.settle = name, text, labels, settle
        self.values: defaultdict[Labels, int] = defaultdict(int)
        if not labels:
            self.values[()] = 0

    def add(self, *labels: str) -> None:
        self.values[labels] += 1


class Spread:
    """A histogram for each combination of labels.

    Attributes:
        name: of the metric.
        text: what it is.
        labels: their names.
        bounds: the upper ones of the buckets, ascending; the last has none.
        counts: of each bucket, by the labels' values.
        sums: of what was observed, by the labels' values.
        settle: to be called before somebody looks.
    """

    def __init__(
        self,
        name: str,
        text: str,
        bounds: Sequence[float],
        labels: Labels = (),
        settle: Callable[[], None] = _all_is_counted,
    ) -> None:
        self.name, self.text, self.labels, self.settle = name, text, labels, settle
        self.bounds = tuple(bounds)
        self.counts: dict[Labels, list[int]] = {}
        self.sums: dict[Labels, float] = {}

    def begin(self, *labels: str) -> None:
        """Shows it though nothing was observed yet."""
        self.counts[labels] = [0] * (len(self.bounds) + 1)
        self.sums[labels] = 0.0

    def observe(self, value: float, *labels: str) -> None:
        self.observe_all((value,), *labels)

    def observe_all(self, values: Sequence[float], *labels: str) -> None:
        counts, bounds = self.counts[labels], self.bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.sums[labels] += sum(values)
