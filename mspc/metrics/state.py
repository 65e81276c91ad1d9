"""How things stand, asked when somebody scrapes: gauges cost nothing in between."""

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mspc.calls.words import IN_FLIGHT, QUEUED, STATES, WAITING
from mspc.errors import JournalUnavailable
from mspc.journal.base import View
from mspc.metrics.sources import Sources


class State:
    """A collector of prometheus-client."""

    def __init__(
        self,
        sources: Sources,
        view: View,
        lag: Callable[[], float],
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            sources: whom to ask.
            view: how many calls there are.
            lag: the longest that the loop was late since the last question, seconds.
            now: Unix seconds.
        """
        self._sources = sources
        self._view = view
        self._lag = lag
        self._now = now

    def describe(self) -> Iterable[Metric]:
        return ()  # so that registering asks nobody

    def collect(self) -> Iterator[Metric]:
        ask = self._sources
        ready = ask.problem() is None
        yield GaugeMetricFamily("mspc_ready", "1: calls can be stored and made.", ready)
        yield GaugeMetricFamily(
            "mspc_consumers", "Calls in flight at most.", ask.consumers
        )
        yield GaugeMetricFamily(
            "mspc_in_flight", "Attempts that run now.", ask.in_flight()
        )
        yield GaugeMetricFamily(
            "mspc_loop_lag_seconds",
            "The longest that the event loop was late since the last scrape.",
            self._lag(),
        )
        yield CounterMetricFamily(
            "mspc_log_lines_dropped", "Lines that nobody read.", ask.lines_dropped()
        )
        if (lost := ask.spans_dropped()) is not None:
            yield CounterMetricFamily(
                "mspc_spans_dropped", "Spans that the collector did not get.", lost
            )
        states = GaugeMetricFamily(
            "mspc_destinations", "Destinations by state.", labels=("state",)
        )
        for state, count in ask.destinations().items():
            states.add_metric((state,), count)
        yield states
        yield from self._stores()
        yield from self._calls()

    def _stores(self) -> Iterator[Metric]:
        connected, spooled = self._sources.connected(), self._sources.spooled()
        if connected is not None:
            yield GaugeMetricFamily(
                "mspc_broker_connected", "1: RabbitMQ is there.", connected
            )
        if spooled is not None:
            yield GaugeMetricFamily("mspc_spool_calls", "Calls in the spool.", spooled)
        try:
            free = self._sources.disk_free()
        except OSError:
            return
        yield GaugeMetricFamily(
            "mspc_disk_free_bytes", "Of the volume of DATA_DIR.", free
        )

    def _calls(self) -> Iterator[Metric]:
        try:
            tally, dropped = self._view.tally(), self._view.dropped
        except JournalUnavailable:
            return
        calls = GaugeMetricFamily(
            "mspc_calls",
            "Calls by state, as the journal knows them.",
            labels=("state",),
        )
        for state in STATES:
            if (
                state != IN_FLIGHT
            ):  # among the queued and the waiting: see mspc_in_flight
                calls.add_metric((state,), tally.states.get(state, 0))
        yield calls
        due = tally.oldest_due
        age = 0.0 if due is None else max(0.0, self._now() - due)
        yield GaugeMetricFamily(
            "mspc_oldest_due_age_seconds",
            f"How long the oldest call that is due ({QUEUED}, {WAITING} or {IN_FLIGHT})"
            " has been so, but for those that may have ended in a crash.",
            age,
        )
        yield CounterMetricFamily(
            "mspc_journal_dropped", "Events the journal had no room for.", dropped
        )
