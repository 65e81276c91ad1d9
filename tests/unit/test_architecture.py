"""Who may import whom. A new module needs a line in LAYERS, nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mspc"

# From top to bottom: a module imports modules of lower layers only ...
LAYERS = (
    {"main"},
    {"service"},
    {
        "server",
        "http_connection",
        "http_request",
        "api",
        "auth",
        "consumer",
        "healthcheck",
    }
    | {"forwarder", "connection", "dialer"}
    | {"queues", "queues.amqp", "queues.amqp_link"}
    | {"queues.amqp_channel", "queues.amqp_confirms"}
    | {"queues.amqp_message", "queues.amqp_topology"}
    | {"queues.spooled", "queues.sqlite"}
    | {"queues.sqlite_store", "queues.sqlite_bulk", "queues.sqlite_file"}
    | {"queues.sqlite_statements"},
    {"queues.dispatch", "in_flight", "accepted", "answer"},
    {"validation", "retry", "requeue", "queues.base", "settings", "logs"},
    {"body", "kinds"},
    {"config"},
    {"call", "crash", "errors", "networks", "watched", "wire"},
)
# ... and the parts that one station was divided into.
DIVIDED = {
    "server": {"http_connection", "http_request"},
    "http_connection": {"http_request"},
    "api": {"auth"},
    "forwarder": {"connection", "dialer"},
    "connection": {"dialer"},
    "queues": {"queues.amqp", "queues.spooled", "queues.sqlite"},
    "queues.amqp": {
        "queues.amqp_channel",
        "queues.amqp_confirms",
        "queues.amqp_link",
        "queues.amqp_message",
        "queues.amqp_topology",
    },
    "queues.amqp_link": {"queues.amqp_channel", "queues.amqp_topology"},
    "queues.amqp_channel": {"queues.amqp_confirms"},
    "queues.sqlite": {"queues.sqlite_statements", "queues.sqlite_store"},
    "queues.sqlite_statements": {"queues.sqlite_bulk"},
    "queues.sqlite_store": {"queues.sqlite_bulk", "queues.sqlite_file"},
    "config": {"networks"},
}
# A foreign library stays behind its adapter.
ADAPTERS = {
    "falcon": ("api", "auth"),
    "amqpstorm": ("queues.amqp",),
    "pamqp": ("queues.amqp",),
    "urllib3": ("forwarder", "connection", "dialer"),
    "sqlite3": ("queues.sqlite",),
    "voluptuous": ("settings", "kinds", "validation"),
    "yaml": ("settings",),
    "idna": ("validation",),
}
MAX_MODULE_LINES = 320
MAX_FUNCTION_LINES = 60


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {
    name: path
    for path in sorted(PACKAGE.rglob("*.py"))
    if (name := module_name(path))  # not the package itself
}


def tree_of(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names, with the imported member when there is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_modules(tree: ast.Module) -> Iterator[str]:
    """The modules of mspc that are imported; a member counts for its module."""
    for name in imported(tree):
        package, _, rest = name.partition(".")
        if package != "mspc":
            continue
        if rest in SOURCES:
            yield rest
        elif (module := rest.rpartition(".")[0]) in SOURCES:
            yield module


def layer_of(name: str) -> int:
    for number, layer in enumerate(LAYERS):
        if name in layer:
            return number
    pytest.fail(f"mspc/{name.replace('.', '/')}.py has no line in LAYERS")


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_down(name: str) -> None:
    layer = layer_of(name)
    wrong = [
        other
        for other in own_modules(tree_of(name))
        if layer_of(other) <= layer and other not in DIVIDED.get(name, ())
    ]
    assert not wrong, f"{name} must not import {', '.join(wrong)}"


@pytest.mark.parametrize("name", SOURCES)
def test_foreign_libraries_stay_behind_their_adapters(name: str) -> None:
    wrong = [
        library
        for library in {found.partition(".")[0] for found in imported(tree_of(name))}
        if library in ADAPTERS and not is_adapter(name, library)
    ]
    assert not wrong, f"{name} must not import {', '.join(wrong)}"


def is_adapter(name: str, library: str) -> bool:
    """`queues.amqp` stands for `queues.amqp_link` too."""
    return any(name == own or name.startswith(f"{own}_") for own in ADAPTERS[library])


@pytest.mark.parametrize("name", SOURCES)
def test_only_requeue_uses_spawn_later(name: str) -> None:
    uses = any(
        (isinstance(node, ast.Attribute) and node.attr == "spawn_later")
        or (isinstance(node, ast.alias) and node.name == "spawn_later")
        for node in ast.walk(tree_of(name))
    )
    assert uses == (name == "requeue")


@pytest.mark.parametrize("name", SOURCES)
def test_modules_and_functions_stay_readable(name: str) -> None:
    assert len(SOURCES[name].read_text().splitlines()) <= MAX_MODULE_LINES
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"
