"""What clients are answered, counted: middleware of Falcon's."""

import time
from collections import Counter
from typing import Any

from mspc.metrics.tallies import PORTION, Counts, Spread

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class RequestMetrics:
    """Those of the calls' port.

    Attributes:
        parts: what is counted.
    """

    def __init__(self) -> None:
        self._answered: list[tuple[str, float]] = []  # the status line, and seconds
        self._requests = Counts(
            "mspc_requests",
            "Requests of the calls' port by the status of the answer.",
            ("status",),
            self._count,
        )
        self._seconds = Spread(
            "mspc_request_duration_seconds",
            "From a request's head to its answer.",
            SECONDS,
            settle=self._count,
        )
        self._seconds.begin()
        self.parts = (self._requests, self._seconds)

    def process_request(self, req: Any, resp: Any) -> None:
        req.context.began = time.monotonic()

    def process_response(
        self, req: Any, resp: Any, resource: object, succeeded: bool
    ) -> None:
        answered = self._answered
        answered.append((resp.status, time.monotonic() - req.context.began))
        if len(answered) >= PORTION:
            self._count()

    def _count(self) -> None:
        """Of all that was answered."""
        answered, self._answered = self._answered, []
        for status, count in Counter(status for status, _ in answered).items():
            self._requests.values[str(status)[:3],] += count
        self._seconds.observe_all([seconds for _, seconds in answered])
