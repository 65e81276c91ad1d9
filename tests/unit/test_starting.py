"""What a start leaves out: seen in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
START = """
import importlib.metadata, sys
asked = []
importlib.metadata.entry_points = lambda **group: asked.append(group) or ()

import mspc.__main__
from mspc.queues.opening import open_queue
from mspc.settings.config import SqliteConfig
from pathlib import Path

open_queue(SqliteConfig(Path("unused")))

import gc, json, socket
print(json.dumps({
    "asked": asked,
    "patched": socket.socket.__module__,
    "libraries": sorted({name.partition(".")[0] for name in sys.modules}),
    "collecting": gc.isenabled(),
    "frozen": gc.get_freeze_count(),
}))
"""


@pytest.fixture(scope="module")
def started() -> Any:
    command = [sys.executable, "-c", START]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_package_is_asked_whether_it_has_plugins_for_gevent(started: Any) -> None:
    assert started["asked"] == []
    assert started["patched"] == "gevent._socket3"


def test_only_who_has_rabbitmq_imports_what_speaks_to_it(started: Any) -> None:
    assert not {"amqpstorm", "pamqp"}.intersection(started["libraries"])
    assert "sqlite3" in started["libraries"]


def test_garbage_is_looked_for_again_but_not_in_what_was_imported(started: Any) -> None:
    assert started["collecting"]
    assert started["frozen"] > 10_000
