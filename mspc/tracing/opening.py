"""Spans of attempts, where somebody collects them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mspc.calls.call import Outcome, Request

if TYPE_CHECKING:
    from mspc.tracing.spans import Tracing


def open_tracing(
    endpoint: str | None, attempt: Callable[[Request, str, int], Outcome]
) -> "Tracing | None":
    """Makes a span of each attempt.

    Args:
        endpoint: the collector's, as OTEL_EXPORTER_OTLP_ENDPOINT has it; None for none.
        attempt: makes one.

    Returns:
        What makes attempts instead; None where nobody collects spans.
    """
    if endpoint is None:
        return None
    # Here: whoever has no collector needs nothing of OpenTelemetry, and loads nothing.
    from mspc.tracing.spans import open_spans

    return open_spans(endpoint, attempt)
