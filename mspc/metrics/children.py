"""The children of a metric, kept: looking one up takes longer than counting."""

from prometheus_client import Counter

Labels = tuple[str, ...]


class Children(dict[Labels, Counter]):
    """The counter of each combination of labels."""

    def __init__(self, metric: Counter) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: Labels) -> Counter:
        child = self[labels] = self._metric.labels(*labels)
        return child
