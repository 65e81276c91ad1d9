"""What a start leaves out: seen in a process of its own.

It writes what it found into a file: its standard output is the log's.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import free_port

PROJECT = Path(__file__).parents[2]
# As `python mspc.py`, until both ports listen.
SERVING = """
import importlib.metadata, sys
asked = []
importlib.metadata.entry_points = lambda **group: asked.append(group) or ()

import mspc.__main__
from mspc.serving.server import Server

apps, listening = [], []
init = Server.__init__

def made(self, config, app, *arguments, **named):
    apps.append(app)
    init(self, config, app, *arguments, **named)

def answered(app):
    from wsgiref.util import setup_testing_defaults
    statuses, compiled, path = [], [], "/health/live"
    environ = {"PATH_INFO": path, "REQUEST_URI": path}
    setup_testing_defaults(environ)
    watching = [True]
    sys.addaudithook(
        lambda event, _: watching and event == "compile" and compiled.append(event)
    )
    app(environ, lambda status, *_: statuses.append(status))
    watching.clear()
    return statuses + compiled

def start(self):
    listening.append(self)
    if len(listening) < 2:
        return
    import gc, json, mimetypes, os, socket
    first = [answered(app) for app in apps]
    with open("found.json", "w") as found:
        json.dump({
            "asked": asked,
            "patched": socket.socket.__module__,
            "modules": sorted(sys.modules),
            "collecting": gc.isenabled(),
            "frozen": gc.get_freeze_count(),
            "types": len(mimetypes.types_map),
            "first": first,
        }, found)
    os._exit(0)

Server.__init__, Server.start = made, start
mspc.__main__.run()
"""
# `python mspc.py --check`, to its end.
CHECKING = """
import json, mspc.__main__, sys
code = mspc.__main__.run()
with open("found.json", "w") as found:
    json.dump({"code": code, "modules": sorted(sys.modules)}, found)
"""


def ran(script: str, folder: Path, *arguments: str, **settings: str) -> Any:
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PROJECT),
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(free_port()),
        "ADMIN_PORT": str(free_port()),
        "DATA_DIR": str(folder / "data"),
        **settings,
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return ran(SERVING, tmp_path_factory.mktemp("started"))


def test_no_package_is_asked_whether_it_has_plugins_for_gevent(started: Any) -> None:
    assert started["asked"] == []
    assert started["patched"] == "gevent._socket3"


def test_only_what_is_used_is_imported(started: Any) -> None:
    """With these settings, and before anybody has asked for a page or for metrics."""
    libraries = {name.partition(".")[0] for name in started["modules"]}
    assert not {"amqpstorm", "pamqp", "jinja2", "prometheus_client", "yaml"} & libraries
    assert {"falcon", "urllib3", "sqlite3"} <= libraries
    assert started["types"] < 300, "the machine's list of file types was read"


def test_a_start_on_rabbitmq_imports_no_embedded_queue(tmp_path: Path) -> None:
    broker = {"QUEUE_SCHEME": "amqp", "QUEUE_PORT": str(free_port())}
    started = ran(SERVING, tmp_path, **broker)
    assert "mspc.queues.amqp.queue" in started["modules"]
    assert "mspc.queues.sqlite.queue" not in started["modules"]


def test_who_asks_for_the_health_imports_nothing_that_serves(tmp_path: Path) -> None:
    done = ran(CHECKING, tmp_path, "--check")
    assert done["code"] == 1
    assert not {"mspc.service", "falcon", "sqlite3"}.intersection(done["modules"])


def test_garbage_is_looked_for_again_but_not_in_what_was_imported(started: Any) -> None:
    assert started["collecting"]
    assert started["frozen"] > 10_000


def test_the_first_request_waits_for_no_compiler(started: Any) -> None:
    """Falcon has one for the paths, and all calls would wait for it, too."""
    assert started["first"] == [["200 OK"], ["200 OK"]]
