"""Everything that Prometheus may ask for, and how it is written down."""

import platform

from prometheus_client import CollectorRegistry, Info, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0
from prometheus_client.process_collector import ProcessCollector

from mspc import __version__

MEDIA_TYPE = CONTENT_TYPE_PLAIN_1_0_0


class Metrics:
    """The registry of one service."""

    def __init__(self, engine: str) -> None:
        """`engine`: `sqlite` or `amqp`."""
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

    def rendered(self) -> bytes:
        """As Prometheus reads it; see MEDIA_TYPE."""
        return generate_latest(self.registry)
