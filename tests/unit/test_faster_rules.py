"""The rules that the alerts are tried with are the product's, but for times."""

import re
from typing import Any

import yaml

from tests.support.prometheus import RULES, faster

AS_THEY_ARE = RULES.read_text()
TIME = re.compile(r"\[[^]]+\]|(?<=_age_seconds > )[\d.]+")


def rules(text: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def without_times(rule: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in rule.items() if name != "for"}
    return {**kept, "expr": TIME.sub("TIME", rule["expr"])}


def test_only_times_are_other_ones() -> None:
    shorter = rules(faster(AS_THEY_ARE))
    product = rules(AS_THEY_ARE)
    assert [*map(without_times, shorter)] == [*map(without_times, product)]
    assert [*("for" in one for one in shorter)] == [*("for" in one for one in product)]


def test_times_are_shorter() -> None:
    told = {rule["alert"]: rule for rule in rules(faster(AS_THEY_ARE))}
    assert told["MspcFailing"]["expr"].count("[5000ms]") == 2
    assert "[7500ms]" in told["MspcDeadGrowing"]["expr"]
    assert told["MspcBehind"]["expr"] == "mspc_oldest_due_age_seconds > 2.5"
    lag = told["MspcLoopLag"]["expr"]
    assert lag == "max_over_time(mspc_loop_lag_seconds[2500ms]) > 0.5"
    lasting = {name: rule.get("for") for name, rule in told.items()}
    assert lasting["MspcDeadGrowing"] is None
    assert lasting["MspcDown"] == lasting["MspcBehind"] == "2500ms"
    assert lasting["MspcFailing"] == lasting["MspcDestinationPaused"] == "5000ms"
