"""The rows of the fault matrix: every module here registers some with `@row`.

They are found by importing the modules of this package; a new file needs no entry.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.harness import (
    ALL,
    BROKERS,
    CLASSIC,
    QUORUM,
    QUORUM4,
    SQLITE,
    Run,
)
from tests.faults.service import Service

__all__ = [
    "ALL",
    "BROKERS",
    "CLASSIC",
    "QUORUM",
    "QUORUM4",
    "SQLITE",
    "Row",
    "Run",
    "Service",
    "discover",
    "in_flight",
    "row",
]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the fault matrix.

    Attributes:
        queues: where it makes sense.
        everywhere: a run of all rows has it on each of them; otherwise on the embedded
            queue and on one RabbitMQ only, since mspc does the same on the others.
        bound: on duplicates: for each injection, or computed at the end of the run.
        recover_within: seconds that a recovery may take.
        timeout: seconds until the row is given up.
        alone: whether it needs the machine for itself: it offers about as many calls as
            that can make, and each has a time.
    """

    number: int
    fault: str
    function: Callable[[Run], None]
    queues: tuple[str, ...]
    everywhere: bool
    bound: int | Callable[[Run], int]
    recover_within: float
    timeout: float
    alone: bool = False

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def usual(self) -> tuple[str, ...]:
        """The queues that a run of all rows has it on."""
        if self.everywhere:
            return self.queues
        return tuple(one for one in self.queues if one in (SQLITE, QUORUM))

    def bound_of(self, run: Run) -> int:
        if run.bound is not None:
            return run.bound
        if callable(self.bound):
            return self.bound(run)
        return self.bound * run.injections


_ROWS: list[Row] = []


def row(
    number: int,
    fault: str,
    *,
    queues: tuple[str, ...] = ALL,
    everywhere: bool = False,
    bound: int | Callable[[Run], int] = 0,
    recover_within: float = 15.0,
    timeout: float = 900.0,
    alone: bool = False,
) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Registers a row of the fault matrix; see `Row`."""

    def register(function: Callable[[Run], None]) -> Callable[[Run], None]:
        _ROWS.append(
            Row(
                number,
                fault,
                function,
                queues,
                everywhere,
                bound,
                recover_within,
                timeout,
                alone,
            )
        )
        return function

    return register


def in_flight(run: Run) -> int:
    """What one crash may repeat: an attempt and an unsettled ack for each consumer."""
    return run.injections * 2 * run.consumers


def discover() -> list[Row]:
    """Imports every module of this package; all rows, by number."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return sorted(_ROWS, key=lambda row: (row.number, row.name))
