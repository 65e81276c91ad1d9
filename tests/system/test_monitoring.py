"""Every alert of deploy/, and every panel of its dashboard, with Prometheus itself.

Two mspc do well; then something is broken for each alert until it fires, and mended
until it is silent. The rules are the product's own, in less time: see
tests/support/prometheus.py.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.broker_door import Door
from tests.support.process import MspcProcess
from tests.support.prometheus import (
    LONGEST_SECONDS,
    RULES,
    SCRAPE_SECONDS,
    Prometheus,
)
from tests.support.rabbitmq import Broker, unique_name
from tests.support.small_disk import small_disk
from tests.support.target import Target
from tests.support.waiting import eventually
from tests.system.breaking import DISK_MIB, FAULTS, World, killed, stuttering

DASHBOARD = RULES.parents[1] / "grafana" / "mspc.json"

# What is said of it: by then everything in braces has become a value.
SUMMARIES = {
    "MspcDown": r"{} does not answer\.",
    "MspcNotAccepting": r"{} is not ready\.",
    "MspcBehind": r"{}: the oldest call is [\d.]+s behind\.",
    "MspcDeadGrowing": r"{}: 1 calls became dead letters in 15 minutes \(permanent\)\.",
    "MspcFailing": r"{}: [\d.]+% of the attempts fail\.",
    "MspcSpooling": r"{}: 1 calls are in the spool\.",
    "MspcBrokerAway": r"{} has no connection to RabbitMQ\.",
    "MspcDiskLow": r"{}: \d+(\.\d+)?MiB are left for DATA_DIR\.",
    "MspcDestinationHeld": r"{}: for an hour some service did not answer, 1 now\.",
    "MspcDestinationPaused": r"{}: for a day some service was paused, 1 now\.",
    "MspcLoopLag": r"{}: everything waits for [\d.]+m?s at times\.",
}
ON_RABBITMQ = {"MspcDown", "MspcNotAccepting", "MspcSpooling", "MspcBrokerAway"}

# Three times what takes longest: what has to last, its window, a probe of the breaker.
FIRES_SECONDS = SILENT_SECONDS = 30.0

Fired = tuple[str, str]  # an alert's name, and the instance


def name_of(mspc: MspcProcess) -> str:
    """As Prometheus calls it."""
    return f"127.0.0.1:{mspc.admin_port}"


@dataclass(slots=True)
class Story:
    """What was seen.

    Attributes:
        well: what fired before anything was broken.
        fired: what each alert said.
        lasting: what was not silent in the end.
        ever: what fired at any time.
    """

    well: set[Fired]
    fired: dict[Fired, Any] = field(default_factory=dict)
    lasting: set[Fired] = field(default_factory=set)
    ever: set[Fired] = field(default_factory=set)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A file system of DISK_MIB."""
    directory = tmp_path_factory.mktemp("disk")
    with small_disk(directory, DISK_MIB) as mounted:
        yield directory if mounted else None


@pytest.fixture(scope="module")
def targets() -> Iterator[list[Target]]:
    targets = [Target() for _ in range(3)]
    for target in targets:
        target.start()
    yield targets
    for target in targets:
        target.stop()


@pytest.fixture(scope="module")
def door(rabbitmq: Broker) -> Iterator[Door]:
    door = Door(rabbitmq)
    door.open()
    yield door
    door.shut()


@pytest.fixture(scope="module")
def world(
    rabbitmq: Broker,
    door: Door,
    disk: Path | None,
    targets: list[Target],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    here = tmp_path_factory.mktemp("alerts")
    queue_name = unique_name("alerts")
    embedded = MspcProcess(
        (disk or here) / "embedded",
        {
            "REQUEUE_FAILED_AFTER_MILLISECONDS": "200",
            "FORWARD_TIMEOUT_SECONDS": "1",
            "PERMANENT_STATUSES": "410",
        },
    )
    on_rabbitmq = MspcProcess(
        here / "rabbitmq",
        {
            **rabbitmq.settings(queue_name),
            "QUEUE_HOST": "127.0.0.1",
            "QUEUE_PORT": str(door.port),
            "SPOOL": "1",
        },
    )
    both = (embedded, on_rabbitmq)
    prometheus = Prometheus(here / "prometheus", [mspc.admin_port for mspc in both])
    try:
        for mspc in both:
            mspc.start()
        for mspc in both:
            mspc.wait_ready()
        prometheus.start()
        yield World(prometheus, embedded, on_rabbitmq, door, disk, *targets)
        for mspc in both:
            assert "Traceback" not in mspc.output, mspc.output
    finally:
        prometheus.stop()
        for mspc in both:
            mspc.kill()
        rabbitmq.delete_queues(queue_name)


@pytest.fixture(scope="module")
def story(world: World) -> Story:
    """All of it, told once: most of it is waiting, and waits side by side."""
    story = Story(well(world))
    with ExitStack() as broken:
        for fault in FAULTS:
            broken.enter_context(fault(world))
        see(story, world, expected(world) - {of_kill(world), of_stutter(world)})
    with stuttering(world.embedded):
        see(story, world, {of_stutter(world)})
    story.lasting = not_silent(world)  # now: who is killed tells nothing any more
    with killed(world.on_rabbitmq):
        see(story, world, {of_kill(world)})
    story.lasting |= not_silent(world)
    story.ever = ever_fired(world)
    return story


def of_kill(world: World) -> Fired:
    return "MspcDown", name_of(world.on_rabbitmq)


def of_stutter(world: World) -> Fired:
    return "MspcLoopLag", name_of(world.embedded)


def expected(world: World) -> set[Fired]:
    """Which alert fires on which instance."""
    places = {
        name: world.on_rabbitmq if name in ON_RABBITMQ else world.embedded
        for name in SUMMARIES
        if world.disk is not None or name != "MspcDiskLow"
    }
    return {(name, name_of(mspc)) for name, mspc in places.items()}


def fired(alert: Any) -> Fired:
    labels = alert["labels"]
    return labels["alertname"], labels["instance"]


def see(story: Story, world: World, wanted: set[Fired]) -> None:
    """Waits until all of them have fired, and remembers what each said."""

    def all_fired() -> bool:
        for alert in world.prometheus.alerts():
            story.fired.setdefault(fired(alert), alert)
        return wanted <= set(story.fired)

    with suppress(AssertionError):  # which ones have not, the tests say one by one
        eventually(all_fired, FIRES_SECONDS)


def not_silent(world: World) -> set[Fired]:
    """The alerts that do not stop, now that nothing is broken."""
    with suppress(AssertionError):
        eventually(lambda: not world.prometheus.alerts(), SILENT_SECONDS)
    return {fired(alert) for alert in world.prometheus.alerts()}


def well(world: World) -> set[Fired]:
    """What fires while calls are made, for longer than any alert has to last."""
    for mspc in (world.embedded, world.on_rabbitmq):
        mspc.post({"url": world.service.url("/well")})
    world.service.wait_for(2, "/well")
    scrapes = int(LONGEST_SECONDS / SCRAPE_SECONDS) + 2
    lasting = f"count(count_over_time(up[1m]) >= {scrapes}) == 2"
    eventually(lambda: world.prometheus.query(lasting), FIRES_SECONDS)
    return ever_fired(world)


def ever_fired(world: World) -> set[Fired]:
    series = 'count_over_time(ALERTS{alertstate="firing"}[10m])'
    told = world.prometheus.query(series)
    return {(one["metric"]["alertname"], one["metric"]["instance"]) for one in told}


def test_nothing_fires_while_all_is_well(story: Story) -> None:
    assert story.well == set()


@pytest.mark.parametrize("name", SUMMARIES)
def test_it_fires_and_falls_silent(name: str, story: Story, world: World) -> None:
    place = name_of(world.on_rabbitmq if name in ON_RABBITMQ else world.embedded)
    if name == "MspcDiskLow" and world.disk is None:
        pytest.skip("only root may mount a small disk")
    assert (name, place) in story.fired, f"{sorted(story.ever)} fired"
    said = story.fired[name, place]
    assert said["labels"]["severity"] in ("warning", "critical")
    summary = SUMMARIES[name].replace("{}", re.escape(place))
    assert re.fullmatch(summary, said["annotations"]["summary"])
    assert "{{" not in said["annotations"]["description"]
    assert (name, place) not in story.lasting


def test_nothing_else_fires(story: Story, world: World) -> None:
    late = ("MspcBehind", name_of(world.on_rabbitmq))  # what is spooled is, soon
    assert story.ever - {late} == expected(world)


def test_these_are_all_the_alerts() -> None:
    rules = yaml.safe_load(RULES.read_text())
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert sorted(names) == sorted(SUMMARIES)


def panels() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("expression", sorted(set(panels())))
def test_every_panel_has_something_to_show(
    expression: str, story: Story, world: World
) -> None:
    asked = expression.replace("$__rate_interval", "10s").replace("$instance", ".*")
    assert "$" not in asked
    assert world.prometheus.query(asked)
