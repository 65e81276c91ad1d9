"""The metrics of one service: what counts, and what is asked when somebody scrapes."""

from collections.abc import Callable, Collection

from mspc.journal.base import Recorder, View
from mspc.metrics.calls import CallMetrics
from mspc.metrics.lag import LoopLag
from mspc.metrics.registry import Metrics
from mspc.metrics.requests import RequestMetrics
from mspc.metrics.several import Several
from mspc.metrics.state import Sources, State
from mspc.metrics.stores import StoreMetrics


class Counting:
    """Counts from start() to stop().

    Attributes:
        recorder: tells the journal, and what counts here.
        requests: middleware of the calls' port.
        stores: a StoreWatch of the queues.
    """

    def __init__(
        self, engine: str, journal: Recorder, named: Collection[str] = ()
    ) -> None:
        """
        Args:
            engine: `sqlite` or `amqp`.
            journal: is told, too.
            named: destinations with a label of their own.
        """
        self._metrics = Metrics(engine)
        registry = self._metrics.registry
        self.recorder = Several(journal, CallMetrics(registry, named))
        self.requests = RequestMetrics(registry)
        self.stores = StoreMetrics(registry)
        self._lag = LoopLag()

    def start(self) -> None:
        self._lag.start()

    def stop(self) -> None:
        self._lag.stop()

    def ask(self, sources: Sources, view: View) -> None:
        """Whom to ask for how things stand; once."""
        self._metrics.registry.register(State(sources, view, self._lag.take))

    @property
    def render(self) -> Callable[[], bytes]:
        """Gives all of it as Prometheus reads it."""
        return self._metrics.rendered
