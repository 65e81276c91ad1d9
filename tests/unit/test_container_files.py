"""Dockerfile, docker-compose.yml and env.dist.yml: what they must keep."""

import itertools
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from mspc.settings.load import load_config
from mspc.settings.table import NAMES

PROJECT = Path(__file__).parents[2]
SAMPLE = (PROJECT / "env.dist.yml").read_text()

# docker-compose.yml


@pytest.fixture(name="compose")
def _compose() -> Any:
    return yaml.safe_load((PROJECT / "docker-compose.yml").read_text())


@pytest.fixture(name="app")
def _app(compose: Any) -> Any:
    return compose["services"]["app"]


@pytest.fixture(name="queue")
def _queue(compose: Any) -> Any:
    return compose["services"]["queue"]


def test_compose_has_two_services_and_no_obsolete_version(compose: Any) -> None:
    assert set(compose) == {"services", "volumes"}
    services = compose["services"]
    usual = {name for name, one in services.items() if "profiles" not in one}
    assert usual == {"app", "queue"}


def test_monitoring_is_for_those_who_ask_for_it(compose: Any) -> None:
    services = compose["services"]
    asked = {n for n, one in services.items() if one.get("profiles") == ["monitoring"]}
    assert asked == {"prometheus", "grafana"}
    for name in asked:
        for mount in services[name]["volumes"]:
            source = mount.partition(":")[0]
            assert source in compose["volumes"] or (PROJECT / source).exists()


def test_prometheus_asks_the_operators_door(compose: Any) -> None:
    config = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yml").read_text())
    port = load_config(None, {}, PROJECT / "nowhere").admin.port
    (scrape,) = config["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    assert compose["services"]["prometheus"]["network_mode"] == "service:app"


def test_compose_keeps_both_running(app: Any, queue: Any) -> None:
    assert app["restart"] == queue["restart"] == "unless-stopped"


def test_the_app_is_not_process_1(app: Any) -> None:
    assert app["init"] is True


def test_the_app_starts_alone(app: Any) -> None:
    assert app["build"] == "."
    assert "depends_on" not in app
    assert "links" not in app


def test_the_app_publishes_the_default_ports(app: Any) -> None:
    config = load_config(None, {}, PROJECT / "nowhere").http

    *calls, door = app["ports"]
    assert calls == [f"{port}:{port}" for port in (config.port, 8009)]
    assert door == "127.0.0.1:8010:8010"
    assert config.https_port == 8009


def test_the_app_may_read_its_settings_and_certificates(app: Any) -> None:
    mounts = {
        mount["target"]: mount for mount in app["volumes"] if isinstance(mount, dict)
    }

    assert {target: mount["source"] for target, mount in mounts.items()} == {
        "/app/env.yml": "./env.yml",
        "/app/ssl": "./ssl",
    }
    for mount in mounts.values():
        assert mount["type"] == "bind"
        assert mount["read_only"] is True
        # A missing env.yml is an error, not a directory of that name.
        assert mount["bind"] == {"create_host_path": False}


def test_what_must_last_is_in_named_volumes(compose: Any, app: Any, queue: Any) -> None:
    named = [mount for mount in app["volumes"] if isinstance(mount, str)]

    assert named == ["data:/app/data", "logs:/app/logs"]
    assert queue["volumes"] == ["queue:/var/lib/rabbitmq"]
    kept = {"data", "logs", "queue", "grafana", "prometheus"}
    assert set(compose["volumes"]) == kept


def test_attempts_in_flight_may_end_before_docker_kills(app: Any) -> None:
    grace = int(app["stop_grace_period"].removesuffix("s"))
    sample = load_config(PROJECT / "env.dist.yml", {}, PROJECT / "nowhere")

    assert grace >= sample.shutdown_timeout + 15


def test_rabbitmq_is_reachable_from_this_machine_only(queue: Any) -> None:
    assert queue["ports"] == ["127.0.0.1:15672:15672"]


def test_rabbitmq_keeps_its_name_and_version(queue: Any) -> None:
    sample = yaml.safe_load(SAMPLE)

    assert queue["hostname"] == sample["QUEUE_HOST"] == "queue"
    assert re.fullmatch(r"rabbitmq:[0-9]+\.[0-9]+-management", queue["image"])
    assert queue["env_file"] == "env.yml"
    assert queue["healthcheck"]["test"][1:] == ["rabbitmq-diagnostics", "-q", "ping"]


# Dockerfile


@pytest.fixture(name="steps")
def _steps() -> list[tuple[str, str]]:
    """Instructions in order, with their lines joined."""
    text = (PROJECT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (name, " ".join(rest.split()))
        for name, _, rest in (
            line.partition(" ") for line in joined.splitlines() if line
        )
    ]


def only(steps: list[tuple[str, str]], name: str) -> str:
    (rest,) = [rest for step, rest in steps if step == name]
    return rest


def test_the_image_has_a_python_that_mspc_runs_on(
    steps: list[tuple[str, str]],
) -> None:
    match = re.fullmatch(r"python:3\.([0-9]+)-slim", only(steps, "FROM"))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    least = int(project["requires-python"].removeprefix(">=3."))

    assert match is not None
    assert int(match[1]) >= least


def test_the_command_gets_the_signals(steps: list[tuple[str, str]]) -> None:
    command = json.loads(only(steps, "CMD"))
    # `env` becomes the program that it names.
    assert command[0] == "env"
    assert command[-2:] == ["python", "mspc.py"]
    assert all(option.startswith("--block-signal=") for option in command[1:-2])
    assert only(steps, "STOPSIGNAL") == "SIGTERM"
    assert "ENTRYPOINT" not in dict(steps)


def test_the_image_checks_its_health(steps: list[tuple[str, str]]) -> None:
    options, _, command = only(steps, "HEALTHCHECK").partition(" CMD ")

    assert json.loads(command) == ["python", "mspc.py", "--check"]
    assert "--interval=" in options


def test_the_image_does_not_run_as_root(steps: list[tuple[str, str]]) -> None:
    names = [name for name, _ in steps]

    assert only(steps, "USER") == "1000:1000"
    assert names.index("USER") > max(
        place for place, name in enumerate(names) if name in ("RUN", "COPY")
    )


def test_the_directories_exist_with_their_owner_before_they_are_volumes(
    steps: list[tuple[str, str]],
) -> None:
    made = next(place for place, step in enumerate(steps) if "--owner=mspc" in step[1])
    declared = steps.index(("VOLUME", '["/app/data", "/app/logs"]'))

    assert steps[made][1].endswith("data logs ssl")
    assert made < declared


def test_packages_are_a_layer_of_their_own(steps: list[tuple[str, str]]) -> None:
    copied = [rest for name, rest in steps if name == "COPY"]

    assert copied[0] == "requirements.txt requirements-tracing.txt ./"
    assert only(steps, "EXPOSE") == "8008 8009"
    assert "PYTHONUNBUFFERED=1" in only(steps, "ENV")


def test_the_image_gets_no_secrets() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    kept = {rule[1:] for rule in rules if rule.startswith("!")}

    assert rules[0] == "*"
    assert kept == {
        *("LICENSE", "mspc.py", "mspc"),
        *("requirements.txt", "requirements-tracing.txt"),
    }
    assert all((PROJECT / name).exists() for name in kept)


# env.dist.yml


def test_every_setting_is_a_line_with_a_comment_above() -> None:
    lines = SAMPLE.splitlines()
    found = []
    for above, line in itertools.pairwise(lines):
        if not line or line.startswith("#"):
            continue
        name, colon, value = line.partition(": ")
        found.append(name)
        assert colon, line
        assert value == value.strip(), line
        assert "#" not in value, line
        assert above.startswith("# "), f"{name} has no comment above it"

    assert sorted(found) == sorted(NAMES)


def test_the_sample_is_a_flat_mapping_of_plain_values() -> None:
    values = yaml.load(SAMPLE, Loader=yaml.BaseLoader)

    assert all(type(value) is str for value in values.values())
    # Compose would put variables in, or read quotes in another way.
    assert not re.search(r"[$'\\]", "".join(values.values()))
