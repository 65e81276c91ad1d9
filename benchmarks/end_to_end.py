"""Calls a second from the first POST to the last delivery, and what they cost."""

import time
from dataclasses import dataclass

from benchmarks import measure
from benchmarks.load import Load
from benchmarks.service import Service, Subject
from benchmarks.stage import Stage

MEBIBYTE = 1 << 20
# Acknowledgements that are still under way after the last delivery.
SETTLE_SECONDS = 0.3
REST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is done in one round of one subject.

    Attributes:
        calls: from the first POST to the last delivery.
        warm_up: calls before that.
        steady_seconds: how long calls come at half of the maximum rate.
        idle_seconds: how long nothing comes.
    """

    calls: int = 10_000
    warm_up: int = 1_000
    steady_seconds: float = 5.0
    idle_seconds: float = 10.0


def run(stage: Stage, subject: Subject, counts: Counts) -> dict[str, float]:
    """One round: the figures by their names."""
    with stage.service(subject) as service:
        deliver(stage, service, counts.warm_up)
        figures = deliver(stage, service, counts.calls)
        load = steady(
            stage, service, figures["accepts_per_s"] / 2, counts.steady_seconds
        )
        figures["steady_rate_per_s"] = load.rate
        figures["steady_p50_ms"] = load.latency.p50
        figures["steady_p99_ms"] = load.latency.p99
        figures["rss_mib"] = service.peak_rss() / MEBIBYTE
        figures["idle_percent"] = _idle(service, counts.idle_seconds)
    return figures


def deliver(stage: Stage, service: Service, count: int) -> dict[str, float]:
    """`count` calls as fast as they are accepted, until the target has had them."""
    others = service.place.servers
    before = stage.target.count()
    cpu, broker_cpu = service.cpu_seconds(), measure.cpu_seconds(others)
    load = stage.clients.closed(service.entry(stage.target.url), count)
    seconds = stage.target.wait_for(before + count) - load.started
    time.sleep(SETTLE_SECONDS)
    cpu = service.cpu_seconds() - cpu
    broker_cpu = measure.cpu_seconds(others) - broker_cpu
    return {
        "calls_per_s": count / seconds,
        "cpu_s_per_1000": cpu / count * 1000,
        "broker_cpu_s_per_1000": broker_cpu / count * 1000,
        "accepts_per_s": load.rate,
        "accept_p50_ms": load.latency.p50,
        "accept_p99_ms": load.latency.p99,
        "made_twice": float(stage.target.count() - before - count),
    }


def steady(stage: Stage, service: Service, rate: float, seconds: float) -> Load:
    """Calls at a steady rate, until the target has had them."""
    before = stage.target.count()
    load = stage.clients.steady(service.entry(stage.target.url), rate, seconds)
    stage.target.wait_for(before + load.count)
    return load


def _idle(service: Service, seconds: float) -> float:
    time.sleep(REST_SECONDS)
    cpu, started = service.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (service.cpu_seconds() - cpu) / (time.monotonic() - started) * 100
