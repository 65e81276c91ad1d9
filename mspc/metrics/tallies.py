"""Counters and histograms of the event loop's own.

Prometheus' children take a lock for each step, and gevent's locks are slow: what is
counted of one call took 14 us with them, and takes 4 us so. Nobody but the greenlets of
one thread counts here, and none of them is interrupted between two steps.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Counts:
    """A counter for each combination of labels."""

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        self._name, self._text, self._labels = name, text, labels
        self.values: defaultdict[Labels, int] = defaultdict(int)
        if not labels:
            self.values[()] = 0

    def add(self, *labels: str) -> None:
        self.values[labels] += 1

    def metric(self) -> Metric:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Spread:
    """A histogram for each combination of labels."""

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], labels: Labels = ()
    ) -> None:
        """`bounds`: the upper ones of the buckets, ascending; the last has none."""
        self._name, self._text, self._labels = name, text, labels
        self._bounds = tuple(bounds)
        self._words = (*map(floatToGoString, self._bounds), "+Inf")
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def begin(self, *labels: str) -> None:
        """Shows it though nothing was observed yet."""
        self._counts[labels] = [0] * len(self._words)
        self._sums[labels] = 0.0

    def observe(self, value: float, *labels: str) -> None:
        self._counts[labels][bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def metric(self) -> Metric:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labels, counts in self._counts.items():
            buckets = list(zip(self._words, _sums_of(counts), strict=True))
            family.add_metric(labels, buckets, self._sums[labels])
        return family


class Tallies:
    """A collector of prometheus-client."""

    def __init__(self, parts: Iterable[Counts | Spread]) -> None:
        self._parts = tuple(parts)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        return (part.metric() for part in self._parts)


def _sums_of(counts: Iterable[int]) -> Iterator[int]:
    total = 0
    for count in counts:
        total += count
        yield total
