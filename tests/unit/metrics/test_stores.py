"""What the queues tell of their stores, by what the registry says afterwards."""

import pytest
from prometheus_client import CollectorRegistry

from mspc.metrics.registry import Metrics
from mspc.metrics.stores import StoreMetrics


@pytest.fixture
def metrics() -> StoreMetrics:
    return StoreMetrics()


@pytest.fixture
def registry(metrics: StoreMetrics) -> CollectorRegistry:
    return Metrics("sqlite", metrics.parts, None).registry


def test_how_long_it_takes(metrics: StoreMetrics, registry: CollectorRegistry) -> None:
    commit = {"operation": "commit"}
    count = "mspc_store_operation_seconds_count"
    assert registry.get_sample_value(count, commit) is None
    metrics.took("commit", 0.002)
    metrics.took("commit", 20.0)
    assert registry.get_sample_value(count, commit) == 2
    assert registry.get_sample_value(
        "mspc_store_operation_seconds_bucket", {**commit, "le": "0.0025"}
    ) == pytest.approx(1)
    assert registry.get_sample_value(
        "mspc_store_operation_seconds_sum", commit
    ) == pytest.approx(20.002)


def test_what_fails(metrics: StoreMetrics, registry: CollectorRegistry) -> None:
    metrics.failed("retry")
    told = {
        operation: registry.get_sample_value(
            "mspc_store_errors_total", {"operation": operation}
        )
        for operation in ("put", "ack", "retry", "bury")
    }
    assert told == {"put": 0, "ack": 0, "retry": 1, "bury": 0}
