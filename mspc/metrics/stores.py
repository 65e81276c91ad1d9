"""How the store of calls does: told by the queues, counted for Prometheus."""

from mspc.metrics.tallies import Counts, Spread

# A commit takes a disk's time, a confirm that of a disk and a network.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10)
FAILING = ("put", "ack", "retry", "bury")


class StoreMetrics:
    """Counts what it is told. A StoreWatch of the queues.

    Attributes:
        parts: what is counted.
    """

    def __init__(self) -> None:
        self._seconds = Spread(
            "mspc_store_operation_seconds",
            "Until what was written was durable, once for all calls that shared it:"
            " commit is a transaction of the embedded queue or the spool, confirm the"
            " oldest of the messages that RabbitMQ confirmed together.",
            SECONDS,
            ("operation",),
        )
        self._errors = Counts(
            "mspc_store_errors",
            "Calls that could not be stored or settled, each time it was tried.",
            ("operation",),
        )
        for operation in FAILING:
            self._errors.values[operation,] = 0
        self._known: set[str] = set()
        self.parts = (self._seconds, self._errors)

    def took(self, operation: str, seconds: float) -> None:
        if operation not in self._known:  # which there are depends on the queue
            self._known.add(operation)
            self._seconds.begin(operation)
        self._seconds.observe(seconds, operation)

    def failed(self, operation: str) -> None:
        self._errors.add(operation)
