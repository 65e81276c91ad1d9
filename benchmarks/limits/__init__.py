"""The bare parts of the work alone, each in a process of its own."""

import json
import shutil
import sys
import time

from benchmarks import measure
from benchmarks.load import Entry, body
from benchmarks.processes import Child, wait_until
from benchmarks.stage import Stage
from tests.support.children import free_port
from tests.support.rabbitmq import unique_name

QUEUES = ("sqlite", "classic", "quorum")
TIMEOUT_SECONDS = 300.0
_NAME = __name__

Figures = dict[str, float]

PARTS = {
    "pywsgi": "gevent.pywsgi reads a POST and answers 202",
    "calls": "urllib3 makes a call on a kept connection, a hundred at once",
    "sqlite insert": "a row is inserted, group commit with fsync",
    "sqlite delete": "a row is deleted, group commit with fsync",
    "classic publish": "a persistent message is published and confirmed, pipelined",
    "classic consume": "a message is delivered and acknowledged",
    "quorum publish": "the same, quorum queue",
    "quorum consume": "the same, quorum queue",
}


def floor_parts(queue: str) -> tuple[str, ...]:
    """The parts that every call on a kind of queue needs."""
    steps = ("insert", "delete") if queue == "sqlite" else ("publish", "consume")
    return ("pywsgi", *(f"{queue} {step}" for step in steps), "calls")


def run(stage: Stage, count: int) -> dict[str, Figures]:
    """Each part once."""
    port = str(stage.target.port)
    return {
        "pywsgi": _pywsgi(stage, count),
        "calls": _part(stage, "calls", port, str(count)),
        **_sqlite(stage, count),
        **_amqp(stage, "classic", count),
        **_amqp(stage, "quorum", count),
    }


def _pywsgi(stage: Stage, count: int) -> Figures:
    port = free_port()
    entry = Entry(f"http://127.0.0.1:{port}/", body(stage.target.url))
    command = [sys.executable, "-m", f"{_NAME}.pywsgi", str(port)]
    server = Child(command, stage.directory / "pywsgi.log")

    def up() -> bool:
        server.check()
        try:
            return bool(stage.clients.closed(entry, 1, 1))
        except Exception:  # noqa: BLE001 - not yet
            return False

    try:
        wait_until(up, 20, "pywsgi answers", 0.2)
        stage.clients.closed(entry, count // 10)
        cpu = measure.cpu_seconds([server.pid])
        rate = stage.clients.closed(entry, count).rate
        cpu = measure.cpu_seconds([server.pid]) - cpu
        return {"per_s": rate, "cpu_us": cpu / count * 1e6}
    finally:
        server.stop()


def _sqlite(stage: Stage, count: int) -> dict[str, Figures]:
    directory = stage.directory / f"limits-{time.time_ns()}"
    path = str(directory / "queue.db")
    try:
        return {
            f"sqlite {step}": _part(stage, "sqlite", path, str(count), step)
            for step in ("insert", "delete")
        }
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _amqp(stage: Stage, kind: str, count: int) -> dict[str, Figures]:
    node, queue = stage.node, unique_name("bench")
    where = [node.host, str(node.port), queue, kind, str(count)]
    try:
        return {
            f"{kind} {step}": _part(stage, "amqp", *where, step)
            for step in ("publish", "consume")
        }
    finally:
        node.delete_queues(queue)


def _part(stage: Stage, module: str, *arguments: str) -> Figures:
    command = [sys.executable, "-m", f"{_NAME}.{module}", *arguments]
    child = Child(command, stage.directory / f"{module}.log")
    try:
        output = child.finish(TIMEOUT_SECONDS)
    finally:
        child.stop()
    figures: Figures = json.loads(output.splitlines()[-1])
    return figures
