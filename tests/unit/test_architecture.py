"""The house holds: who may import whom, and which library belongs to which room.

CONTRIBUTING.md has the picture. A new room needs a line in ROOMS, a new file nothing.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mspc"

BASEMENT = frozenset({"calls", "errors"})
# The rooms in the order in which a call meets them, from top to bottom, and which of
# those below each of them may use.
ROOMS: dict[str, frozenset[str]] = {
    "__main__": frozenset({"client", "starting", "process"}),
    "client": frozenset({"calls", "errors", "settings"}),
    "starting": frozenset({"main", "process"}),
    "main": BASEMENT | {"service", "process", "settings"},
    "service": BASEMENT
    | {"operators", "serving", "api", "delivery", "tracing", "forwarding", "queues"}
    | {"lanes"}
    | {"journal", "process", "settings"},
    "operators": BASEMENT
    | {"door", "serving", "metrics", "api", "steering", "queues"}
    | {"lanes", "journal", "process", "settings"},
    "door": BASEMENT
    | {"serving", "pages", "metrics", "admin", "api", "steering", "queues"}
    | {"journal", "process", "settings"},
    "serving": frozenset({"api", "process", "settings", "errors"}),
    "pages": BASEMENT | {"admin", "api", "steering", "journal", "process", "settings"},
    "metrics": BASEMENT | {"admin", "journal", "process"},
    "admin": BASEMENT | {"api", "steering", "journal", "process", "settings"},
    "api": BASEMENT | {"steering", "queues", "journal", "process", "settings"},
    "steering": BASEMENT | {"queues", "lanes", "journal", "process"},
    "delivery": BASEMENT | {"queues", "lanes", "journal", "process"},
    "tracing": BASEMENT | {"process"},
    "forwarding": BASEMENT | {"process", "settings"},
    "queues": BASEMENT | {"lanes", "journal", "process", "settings"},
    "lanes": frozenset(),
    "journal": BASEMENT | {"process", "settings"},
    "process": frozenset({"settings"}),
    "settings": BASEMENT,
    "calls": frozenset({"errors"}),
    "errors": frozenset(),
    "version": frozenset(),
}
# A foreign library stays behind its adapter: where each may be imported.
ADAPTERS = {
    "falcon": ("api", "admin", "pages", "metrics"),
    "jinja2": ("pages",),
    "markupsafe": ("pages",),
    "prometheus_client": ("metrics",),
    "amqpstorm": ("queues.amqp",),
    "pamqp": ("queues.amqp",),
    "urllib3": ("forwarding",),
    "opentelemetry": ("tracing",),
    "sqlite3": ("queues.sqlite", "journal", "process.bulk"),
    "voluptuous": ("settings", "calls"),
    "yaml": ("settings",),
    "idna": ("calls",),
    "pythonjsonlogger": ("process.json_lines",),
    "msgspec": ("calls", "journal", "api", "admin", "pages", "queues", "tracing"),
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
# Everybody may say which version this is: `from mspc import __version__`.
VERSION = {"", "version"}


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names, with the imported member when there is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here: from mspc.room import x"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_modules(tree: ast.Module) -> Iterator[str]:
    """The modules of mspc that are imported; a member counts for its module."""
    for name in imported(tree):
        package, _, rest = name.partition(".")
        if package != "mspc":
            continue
        yield rest if rest in SOURCES else rest.rpartition(".")[0]


IMPORTS = {name: set(own_modules(tree_of(name))) - VERSION for name in SOURCES}


def room_of(name: str) -> str:
    return name.partition(".")[0]


def file_of(name: str) -> str:
    return str(SOURCES[name].relative_to(PACKAGE.parent))


def test_every_file_is_in_a_room() -> None:
    homeless = [file_of(name) for name in SOURCES if room_of(name) not in ROOMS]
    assert not homeless, (
        f"{', '.join(homeless)}: put it into the room whose question it answers"
        f" ({', '.join(ROOMS)}), or give a new room a line in ROOMS and a place in the"
        " picture in CONTRIBUTING.md."
    )


def test_the_rooms_are_listed_from_top_to_bottom() -> None:
    order = list(ROOMS)
    for number, room in enumerate(order):
        above = ROOMS[room] & set(order[: number + 1])
        assert not above, f"{room} may use {above}, which do not stand below it"


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_down(name: str) -> None:
    room = room_of(name)
    allowed = ROOMS[room] | {room}
    wrong = sorted(other for other in IMPORTS[name] if room_of(other) not in allowed)
    assert not wrong, (
        f"{file_of(name)} imports {', '.join(f'mspc.{other}' for other in wrong)}, but"
        f" the room {room} uses {', '.join(sorted(ROOMS[room])) or 'no other'} only."
        " Have mspc/service.py hand over what is needed, as an argument, or move it"
        " to a room below both; CONTRIBUTING.md has the picture."
    )


def test_no_file_imports_itself_in_a_circle() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as exc:
        circle = " -> ".join(map(file_of, exc.args[1]))
        pytest.fail(
            f"Each of these is imported by the next: {circle}. Move what two of them"
            " share into a file of its own."
        )


@pytest.mark.parametrize("name", SOURCES)
def test_rooms_have_no_code_in_their_doors(name: str) -> None:
    """An import in an __init__.py would make every import of the room a large one."""
    if SOURCES[name].name == "__init__.py":
        assert not IMPORTS[name], f"{file_of(name)} must stay empty"


@pytest.mark.parametrize("name", SOURCES)
def test_foreign_libraries_stay_behind_their_adapters(name: str) -> None:
    for library in {found.partition(".")[0] for found in imported(tree_of(name))}:
        rooms = ADAPTERS.get(library)
        if rooms is None:
            continue
        assert any(name == room or name.startswith(f"{room}.") for room in rooms), (
            f"{file_of(name)} imports {library}, which belongs into"
            f" {' and '.join(f'mspc.{room}' for room in rooms)}: let that room do it,"
            " in the words of mspc, with its errors turned into those of"
            " mspc/errors.py."
        )


@pytest.mark.parametrize("name", SOURCES)
def test_only_the_clock_uses_spawn_later(name: str) -> None:
    uses = any(
        (isinstance(node, ast.Attribute) and node.attr == "spawn_later")
        or (isinstance(node, ast.alias) and node.name == "spawn_later")
        for node in ast.walk(tree_of(name))
    )
    assert uses == (name == "queues.clock"), (
        f"{file_of(name)}: the clock of waiting calls is queues/clock.py, and is the"
        " only user of spawn_later"
    )


@pytest.mark.parametrize("name", SOURCES)
def test_modules_and_functions_stay_readable(name: str) -> None:
    lines = len(SOURCES[name].read_text().splitlines())
    assert lines <= MAX_MODULE_LINES, f"{file_of(name)} has {lines} lines: divide it"
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"
