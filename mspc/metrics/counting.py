"""The metrics of one service: what counts, and what is asked when somebody scrapes."""

from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

from mspc.journal.base import Recorder, View
from mspc.metrics.calls import CallMetrics
from mspc.metrics.lag import LoopLag
from mspc.metrics.requests import RequestMetrics
from mspc.metrics.several import Several
from mspc.metrics.sources import Sources
from mspc.metrics.stores import StoreMetrics

if TYPE_CHECKING:
    from mspc.metrics.registry import Metrics


class Counting:
    """Counts from start() to stop().

    Attributes:
        engine: `sqlite` or `amqp`.
        recorder: tells the journal, and what counts here.
        requests: middleware of the calls' port.
        stores: a StoreWatch of the queues.
    """

    def __init__(
        self, engine: str, journal: Recorder, named: Collection[str] = ()
    ) -> None:
        """
        Args:
            engine: the same.
            journal: is told, too.
            named: destinations with a label of their own.
        """
        self.engine = engine
        self._asked: tuple[Sources, View] | None = None
        self._calls = CallMetrics(named)
        self.recorder = Several(journal, self._calls)
        self.requests = RequestMetrics()
        self.stores = StoreMetrics()
        self._lag = LoopLag()

    def start(self) -> None:
        self._lag.start()

    def stop(self) -> None:
        self._lag.stop()

    def ask(self, sources: Sources, view: View) -> None:
        """Whom to ask for how things stand; before the first render()."""
        self._asked = (sources, view)

    def render(self) -> bytes:
        """All of it as Prometheus reads it."""
        return self._metrics.rendered()

    @cached_property
    def _metrics(self) -> "Metrics":
        # Here: what writes it down is a twentieth of the start, and it may be that
        # nobody ever asks.
        from mspc.metrics.registry import Metrics
        from mspc.metrics.state import State

        parts = (*self._calls.parts, *self.requests.parts, *self.stores.parts)
        state = State(*self._asked, self._lag.take) if self._asked else None
        return Metrics(self.engine, parts, state)
