"""Everything that Prometheus may ask for, and how it is written down."""

import platform
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Info, generate_latest
from prometheus_client.process_collector import ProcessCollector

from mspc import __version__
from mspc.metrics.families import Tallies
from mspc.metrics.state import State
from mspc.metrics.tallies import Counts, Spread


class Metrics:
    """The registry of one service."""

    def __init__(
        self, engine: str, parts: Iterable[Counts | Spread], state: State | None
    ) -> None:
        """
        Args:
            engine: `sqlite` or `amqp`.
            parts: what is counted.
            state: how things stand; None when there is nobody to ask.
        """
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Info("mspc_build", "Which mspc this is.", registry=self.registry)
        build.info(
            {
                "version": __version__,
                "python": platform.python_version(),
                "engine": engine,
            }
        )
        self.registry.register(Tallies(parts))
        if state is not None:
            self.registry.register(state)

    def rendered(self) -> bytes:
        """As Prometheus reads it; see resource.MEDIA_TYPE."""
        return generate_latest(self.registry)
