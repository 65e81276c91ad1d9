"""What clients are answered, counted: middleware of Falcon's."""

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from mspc.metrics.children import Children

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class RequestMetrics:
    """One for each door."""

    def __init__(self, registry: CollectorRegistry) -> None:
        requests = Counter(
            "mspc_requests",
            "Requests of the calls' port by the status of the answer.",
            ("status",),
            registry=registry,
        )
        self._requests = Children(requests)
        self._seconds = Histogram(
            "mspc_request_duration_seconds",
            "From a request's head to its answer.",
            buckets=SECONDS,
            registry=registry,
        )

    def process_request(self, req: Any, resp: Any) -> None:
        req.context.began = time.monotonic()

    def process_response(
        self, req: Any, resp: Any, resource: object, succeeded: bool
    ) -> None:
        self._requests[(str(resp.status)[:3],)].inc()
        self._seconds.observe(time.monotonic() - req.context.began)
