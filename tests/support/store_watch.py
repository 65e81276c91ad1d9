"""Who is told how a store does."""

from collections import Counter


class Told:
    """A StoreWatch that remembers.

    Attributes:
        times: seconds, by operation.
        failures: how many, by operation.
    """

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.failures: Counter[str] = Counter()

    def took(self, operation: str, seconds: float) -> None:
        self.times.setdefault(operation, []).append(seconds)

    def failed(self, operation: str) -> None:
        self.failures[operation] += 1
