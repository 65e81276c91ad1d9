"""Whom to ask how things stand when somebody scrapes."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom to ask.

    Attributes:
        consumers: calls in flight at once, at most.
        in_flight: attempts that run now.
        problem: why the service is not ready; None when it is.
        destinations: how many there are in each state.
        spooled: calls in the spool; None without one.
        connected: whether RabbitMQ is; None without it.
        disk_free: bytes of the volume of DATA_DIR; raises OSError.
        lines_dropped: of the log, since the start.
        spans_dropped: the same; None where nobody collects them.
    """

    consumers: int
    in_flight: Callable[[], int]
    problem: Callable[[], str | None]
    destinations: Callable[[], dict[str, int]]
    spooled: Callable[[], int | None]
    connected: Callable[[], bool | None]
    disk_free: Callable[[], int]
    lines_dropped: Callable[[], int]
    spans_dropped: Callable[[], int | None]
