"""What was counted, as Prometheus has it."""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from mspc.metrics.tallies import Counts, Spread


class Tallies:
    """A collector of prometheus-client."""

    def __init__(self, parts: Iterable[Counts | Spread]) -> None:
        self._parts = tuple(parts)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        for part in self._parts:
            part.settle()
            yield _counter(part) if isinstance(part, Counts) else _histogram(part)


def _counter(counts: Counts) -> Metric:
    family = CounterMetricFamily(counts.name, counts.text, labels=counts.labels)
    for labels, value in counts.values.items():
        family.add_metric(labels, value)
    return family


def _histogram(spread: Spread) -> Metric:
    family = HistogramMetricFamily(spread.name, spread.text, labels=spread.labels)
    words = (*map(floatToGoString, spread.bounds), "+Inf")
    for labels, counts in spread.counts.items():
        buckets = list(zip(words, accumulate(counts), strict=True))
        family.add_metric(labels, buckets, spread.sums[labels])
    return family
