"""README.md and the pages: they lead somewhere, and say what the code says.

Their commands are run by tests/system/test_documents.py.
"""

import json
import re
import shutil
import subprocess
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from opentelemetry.sdk import environment_variables

from mspc.admin.app import admin_routes
from mspc.api.codes import CODES
from mspc.calls.validation import PROPERTIES
from mspc.client.arguments import parser
from mspc.settings.load import load_config
from mspc.settings.table import SETTINGS
from tests.support.documents import CODE, PROJECT, table, text_of

TOP = ("README.md", "SECURITY.md", "CONTRIBUTING.md")
PAGES = sorted({*TOP, *(f"docs/{page.name}" for page in PROJECT.glob("docs/*.md"))})
README_LINES = 200

# AUTHORIZATION_KEY yourauthorizationkey, timestamp 1482938098.
VECTOR = (
    "NTRjMTVhOWVhMzBiNjgwZWUyNjRkMzRjZDk2ODhmN2RjOWQ1ZTkzM2VhMmNiYjRiODFjOGI1ZDNkMTk1"
    "NDUzMzoxNDgyOTM4MDk4"
)
STATUSES = (200, 202, 307, 400, 401, 404, 405, 413, 414, 422, 431, 500, 503)


def blocks(page: str, language: str) -> list[str]:
    """The contents of the page's code blocks in `language`."""
    return [code for name, code in CODE.findall(text_of(page)) if name == language]


def prose(page: str) -> str:
    """The page without its code blocks."""
    return CODE.sub("", text_of(page))


def anchors(page: str) -> set[str]:
    """What `#...` may be behind the page's name: GitHub's names of its headings."""
    names: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        name = re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        again = sum(1 for known in names if re.fullmatch(rf"{name}(-\d+)?", known))
        names.add(f"{name}-{again}" if again else name)
    return names


def links(page: str) -> list[str]:
    """Targets of links and pictures that are not in the world outside."""
    found = re.findall(r"\]\(([^)]+)\)", prose(page))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


# Every page


@pytest.mark.parametrize("page", PAGES)
def test_the_links_lead_somewhere(page: str) -> None:
    lost = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        place = (PROJECT / page).parent / path if path else PROJECT / page
        if not place.exists():
            lost.append(target)
        elif anchor:
            name = str(place.resolve().relative_to(PROJECT))
            if anchor not in anchors(name):
                lost.append(target)

    assert not lost


@pytest.mark.parametrize("page", PAGES)
def test_the_json_is_json(page: str) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


@pytest.mark.parametrize("page", PAGES)
def test_the_requests_are_calls(page: str) -> None:
    """What the pages send with curl, but for the questions to RabbitMQ."""
    commands = [
        command for block in blocks(page, "sh") for command in re.split(r"\n\n", block)
    ]
    for command in commands:
        # What the shell puts there is run by the tests of the system.
        command = re.sub(r"'\"\$\(.*?\)\"'", "here", command)
        for request in re.findall(r"-d '(\{.*?\})'", command, re.DOTALL):
            properties = json.loads(request)
            assert "url" in properties or ":15672/api/" in command


@pytest.mark.parametrize("page", PAGES)
def test_the_settings_in_yaml_are_settings(page: str, tmp_path: Path) -> None:
    for place, block in enumerate(blocks(page, "yaml")):
        file = tmp_path / f"{place}.yml"
        file.write_text(block)
        load_config(file, {}, tmp_path)


# Of the environment, beside the settings.
_VARIABLES = (
    "MSPC_CONFIG",
    "MSPC_KEY",
    "MSPC_KEY_FILE",
    "MSPC_TEST_AMQP",
    "MSPC_TEST_ORACLE_EXAMPLES",
    "MSPC_TEST_RABBITMQ4",
    "MSPC_URL",
    "NO_COLOR",
)
# Those of OpenTelemetry's SDK, as it has them itself.
_OPENTELEMETRY = vars(environment_variables)


@pytest.mark.parametrize("page", PAGES)
def test_the_names_of_settings_are_right(page: str) -> None:
    known = {name for name, *_ in SETTINGS}
    for name in re.findall(r"`([A-Z][A-Z_]*_[A-Z_]+)(?:: [^`]*)?`", text_of(page)):
        if name.startswith("OTEL_") and name not in known:
            assert name in _OPENTELEMETRY, name
            continue
        other = {*_VARIABLES, "ACCESS_REFUSED"}
        partial = any(setting.endswith(name) for setting in known)  # _PASS
        assert name in known | other or partial, name


@pytest.mark.parametrize("page", PAGES)
def test_the_make_targets_exist(page: str) -> None:
    makefile = text_of("Makefile")
    spans = re.findall(r"`(make [^`\n]+)`", prose(page))
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]

    for command in [*spans, *lines]:
        if found := re.match(r"make ([a-z]+)", command):
            assert re.search(rf"^{found[1]}:", makefile, re.MULTILINE), command


@pytest.mark.parametrize("page", PAGES)
def test_the_services_of_docker_compose_exist(page: str) -> None:
    services = set(yaml.safe_load(text_of("docker-compose.yml"))["services"])
    spans = re.findall(r"`(docker compose [^`\n]+)`", prose(page))
    code = "\n".join(blocks(page, "sh")).replace("\\\n", " ")

    for command in [*spans, *re.findall(r"docker compose [^\n|;)#]+", code)]:
        assert compose_services(command) <= services, command


# Options of `docker compose` that are followed by a value, and what comes behind the
# service's name for these commands.
_VALUED = ("--entrypoint", "-s", "-f")
_ONE_SERVICE = ("exec", "run")


def compose_services(command: str) -> set[str]:
    """The services that a `docker compose` command names."""
    words = command.split()[2:]
    if words[0] == "--profile":
        words = words[2:]
    verb, rest = words[0], words[1:]
    names: list[str] = []
    while rest:
        word = rest.pop(0)
        if word in _VALUED and not (verb == "logs" and word == "-f"):
            rest.pop(0)
        elif not word.startswith("-"):
            names.append(word)
            if verb in _ONE_SERVICE:
                break
    return set(names)


def test_the_services_of_a_command_are_found() -> None:
    for command, services in {
        "docker compose up -d --build": set[str](),
        "docker compose --profile monitoring up -d": set[str](),
        "docker compose logs -f app": {"app"},
        "docker compose exec -T queue rabbitmqctl purge_queue x": {"queue"},
        "docker compose run --rm -T --entrypoint sh queue -c 'a b'": {"queue"},
        "docker compose kill -s HUP app": {"app"},
    }.items():
        assert compose_services(command) == services


# README.md


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= README_LINES


def test_the_readme_leads_to_every_page() -> None:
    pages = {page for page in PAGES if page != "README.md"}

    assert pages <= set(links("README.md"))


def test_the_readme_has_the_figures_of_the_benchmarks() -> None:
    measured = {
        tuple(cell.partition(" ")[0] for cell in row[3:5])
        for row in table("docs/benchmarks.md", "## End to end")
    }

    for name, *figures in table("README.md", "## Performance"):
        assert tuple(figures) in measured, name


@pytest.mark.parametrize("page", ["README.md", "docs/promises.md"])
def test_the_count_of_the_faults_is_that_of_the_last_run(page: str) -> None:
    found = re.search(
        r"\*\*([0-9,]+) faults in .* ([0-9,]+) calls accepted: 0 lost",
        text_of("docs/faults.md"),
    )
    assert found is not None

    said = " ".join(text_of(page).split())
    assert f"{found[2]} calls were accepted beside {found[1]} injected faults" in said


def test_the_readme_says_of_a_request_what_the_page_says() -> None:
    short = [row[:3] for row in table("README.md", "## A request")]
    whole = [row[:3] for row in table("docs/api.md", "## The request")]

    assert [row for row in whole if row in short] == short
    told = text_of("README.md").split("\n## A request\n", 1)[1].split("\n## ", 1)[0]
    names = PROPERTIES.split(", ")
    assert [name for name in names if f"`{name}`" not in told] == []
    assert re.findall("`([^`]+)`", " ".join(row[0] for row in whole)) == names


def test_the_readme_has_no_other_statuses() -> None:
    told = {
        status
        for row in table("README.md", "## The answers")
        for status in re.findall(r"\b\d{3}\b", f"{row[0]} {row[1]}")
    }

    assert told < set(map(str, STATUSES))


# docs/settings.md


def test_the_page_lists_every_setting_with_its_default() -> None:
    rows = table("docs/settings.md", "## All settings")
    listed = {row[0].strip("` "): row[1] for row in rows}
    defaults = {name: text for name, text, _, _ in SETTINGS}

    assert len(rows) == len(listed)
    assert listed.keys() == defaults.keys()
    for name, text in defaults.items():
        told = listed[name].strip("`").removeprefix("./")
        if name not in ("QUEUE_PORT", "FORWARD_DENY_NETWORKS"):  # told in words
            assert told == (text or "none"), name


def test_the_page_lists_what_is_denied_by_default() -> None:
    (default,) = [text for name, text, *_ in SETTINGS if name.endswith("DENY_NETWORKS")]
    told = text_of("docs/settings.md").split("\n## Network rules\n", 1)[1]

    for network in default.split(", "):
        assert f"`{re.sub('/(32|128)$', '', network)}`" in told


def test_the_page_says_where_the_sample_differs() -> None:
    sample = yaml.load(text_of("env.dist.yml"), Loader=yaml.BaseLoader)
    told = text_of("docs/settings.md").split("\n## All settings\n", 1)[0]

    for name, default, *_ in SETTINGS:
        if name.startswith("RABBITMQ_DEFAULT_") or name == "QUEUE_PORT":
            continue  # told in words
        value = sample[name]
        if value.removeprefix("./") not in (default, ""):
            assert f"`{name}: {value}`" in told


# docs/api.md


@pytest.mark.parametrize("status", STATUSES)
def test_the_page_lists_every_status(status: int) -> None:
    rows = table("docs/api.md", "## Answers")
    listed = [cell for row in rows for cell in row[0].split(", ")]

    assert str(status) in listed


def test_the_bodies_of_the_answers_are_json() -> None:
    bodies = [row[2].strip("` ") for row in table("docs/api.md", "## Answers")]

    for body in map(json.loads, bodies):
        known = {"error", "message", "code"} if body["error"] else {"error", "message"}
        assert set(body) - {"id", "errors"} == known


def test_the_page_lists_every_code() -> None:
    rows = table("docs/api.md", "## Codes")

    assert {row[0].strip("`"): int(row[1]) for row in rows} == CODES


def test_the_page_lists_every_route_of_the_operators_door() -> None:
    rows = table("docs/api.md", "## The operators' door")
    keys = {"read": "`READ_KEY`", "admin": "`ADMIN_KEY`"}
    routes = admin_routes(*[None] * 4)  # type: ignore[arg-type]

    assert [row[:3] for row in rows] == [
        [
            f"`{route.method} {re.sub('{(call|job)_id}', '{id}', route.path)}`",
            keys[route.right],
            route.summary,
        ]
        for route in routes
    ]


def test_the_header_is_the_test_vector() -> None:
    text = text_of("docs/api.md")

    assert re.findall(r'-H "X-Authorization: (\w+)"', text) == [VECTOR]


def test_there_is_a_request_of_each_kind() -> None:
    """Without a key, with one, and the one of the README."""
    pages = text_of("docs/api.md") + text_of("README.md")
    requests = re.findall(r"-d '(\{\n.*?\})'", pages, re.DOTALL)

    assert len(requests) == 3
    assert all("url" in json.loads(request) for request in requests)


@pytest.mark.parametrize("program", ["openssl", "python3"])
def test_a_line_makes_the_authorization(program: str) -> None:
    (line,) = [
        line
        for line in text_of("docs/api.md").splitlines()
        if "$(date +%s)" in line and program in line
    ]
    for needed in {program, *({"base64", "cut", "tr"} if program == "openssl" else ())}:
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")

    made = subprocess.run(
        ["sh", "-c", line.replace("$(date +%s)", "1482938098")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert made.stdout.strip() == VECTOR


# docs/operations.md


def test_the_commands_in_the_list_are_those_of_the_recipes() -> None:
    """Which tests/system/test_documents.py runs."""
    page = "docs/operations.md"
    rows = table(page, "# Operating mspc")
    recipes = "\n".join(blocks(page, "sh"))
    commands = [found for row in rows for found in re.findall("^`(.*)`$", row[1])]

    assert len(commands) > len(rows) / 2
    for command in commands:
        assert re.search(rf"^{re.escape(command)}( +#.*)?$", recipes, re.M), command


def test_every_recipe_is_in_the_list() -> None:
    page = "docs/operations.md"
    listed = {
        anchor
        for row in table(page, "# Operating mspc")
        for anchor in re.findall(r"\(#([^)]+)\)", row[2])
    }
    recipes = text_of(page).split("\n## Recipes\n")[1].split("\n## ")[0]

    for heading in re.findall("^### (.*)$", recipes, re.MULTILINE):
        assert re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") in listed


# docs/promises.md


def test_every_row_that_the_page_names_was_run() -> None:
    run = {
        int(row) for row in re.findall(r"^\| (\d+) \|", text_of("docs/faults.md"), re.M)
    }

    for row in table("docs/promises.md", "## What proves it"):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", row[2]):
            assert int(first) in run
            assert int(last or first) in run


@pytest.mark.parametrize("page", PAGES)
def test_the_files_of_the_project_that_are_named_exist(page: str) -> None:
    named = r"`((?:tests|mspc|scripts|deploy|benchmarks)/[\w./*-]*)`"
    for path in re.findall(named, text_of(page)):
        assert list(PROJECT.glob(path)), path


def options_of(command: ArgumentParser) -> Iterator[str]:
    """The long options of a command, and of those below it."""
    for action in command._actions:
        if isinstance(action, _SubParsersAction):
            for below in action.choices.values():
                yield from options_of(below)
        else:
            yield from (one for one in action.option_strings if one.startswith("--"))


def test_the_command_line_has_every_option_in_its_page() -> None:
    told = set(re.findall(r"--[a-z][a-z-]*", text_of("docs/command-line.md")))
    assert sorted(set(options_of(parser(()))) - told) == []


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load(text_of("deploy/prometheus/rules.yml"))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    explained = [row[0].strip("`") for row in table("docs/monitoring.md", "## Alerts")]
    assert explained == alerts
