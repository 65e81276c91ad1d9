"""What the alerts and the dashboard ask for exists."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from mspc.journal.base import Tally
from mspc.metrics.calls import CallMetrics
from mspc.metrics.registry import Metrics
from mspc.metrics.requests import RequestMetrics
from mspc.metrics.state import State
from mspc.metrics.stores import StoreMetrics
from tests.unit.metrics.test_state import SOURCES, View

DEPLOY = Path(__file__).parents[3] / "deploy"
NAME = re.compile(r"\b(?:mspc|process)_[a-z_]+")


def asked() -> Iterator[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
    for group in rules["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    dashboard = json.loads((DEPLOY / "grafana/mspc.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def names(registry: CollectorRegistry) -> set[str]:
    found = set()
    for metric in registry.collect():
        found |= {sample.name for sample in metric.samples} | {metric.name}
        if metric.type == "histogram":
            found.add(f"{metric.name}_bucket")
        if metric.type == "counter":
            found.add(f"{metric.name}_total")
    return found


@pytest.mark.parametrize("expression", sorted(set(asked())))
def test_what_is_asked_for_exists(expression: str) -> None:
    stores = StoreMetrics()
    stores.took("commit", 0.001)
    parts = (*CallMetrics().parts, *RequestMetrics().parts, *stores.parts)
    view = View(Tally({"dead": 1}))
    sources = replace(SOURCES, spooled=lambda: 0, connected=lambda: True)
    state = State(sources, view, lambda: 0.0)  # type: ignore[arg-type]
    known = names(Metrics("sqlite", parts, state).registry)
    for name in NAME.findall(expression):
        assert name in known
