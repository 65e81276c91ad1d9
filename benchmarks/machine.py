"""What a run ran on: the machine and the versions."""

import os
import platform
import re
import sqlite3
import subprocess
from importlib import metadata
from pathlib import Path

from benchmarks.postgres import Postgres
from benchmarks.processes import ROOT, find
from mspc import __version__
from tests.support.rabbitmq import RabbitNode

_PACKAGES = (
    "gevent",
    "falcon",
    "urllib3",
    "amqpstorm",
    "celery",
    "kombu",
    "amqp",
    "dramatiq",
    "pika",
    "huey",
    "workly-cli",
)


def machine(directory: Path) -> dict[str, str]:
    """The hardware; `directory` is where the files of the queues lie."""
    kibibytes = int(_first(r"^MemTotal:\s*(\d+)", "/proc/meminfo"))
    filesystem = _output("df", "--output=fstype", str(directory)).split()
    return {
        "CPU": _first(r"^model name\s*: (.+)$", "/proc/cpuinfo"),
        "cores": str(os.cpu_count()),
        "RAM": f"{kibibytes / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem": filesystem[-1] if filesystem else "?",
    }


def versions(
    node: RabbitNode | None, postgres: Postgres | None = None
) -> dict[str, str]:
    """Of everything that takes part."""
    used = {
        "mspc": f"{__version__}{_commit()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **{name: metadata.version(name) for name in _PACKAGES},
        "haproxy": _number(_output(find("haproxy") or "haproxy", "-v")),
        "h2load": _number(_output("h2load", "--version")),
    }
    if node is not None:
        used["RabbitMQ"] = node.ctl("version").split()[-1]
        system = "list_to_integer(erlang:system_info(otp_release))."
        used["Erlang"] = _number(node.ctl("eval", system))
    if postgres is not None:
        used["PostgreSQL"] = _number(_output(postgres.program("postgres"), "--version"))
    return used


def _commit() -> str:
    commit = _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    if not commit:
        return ""
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "mspc")
    return f" (commit {commit}{', changed' if changed else ''})"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _first(pattern: str, file: str) -> str:
    found = re.search(pattern, Path(file).read_text(), re.MULTILINE)
    return found[1] if found else "0"


def _number(text: str) -> str:
    found = re.search(r"\b\d+(\.\d+)*\b", text)
    return found[0] if found else "?"


def listed(values: dict[str, str]) -> str:
    """`name value` pairs for a sentence."""
    return ", ".join(f"{name} {value}" for name, value in values.items())
