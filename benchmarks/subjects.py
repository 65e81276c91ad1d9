"""What is measured: mspc on each of its queues, and its peers."""

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import workly
from benchmarks.processes import ROOT
from benchmarks.service import GREENLETS, Command, Place, Subject

_SCRIPTS = Path(sys.executable).parent
_PEERS = "benchmarks.peers"


def _mspc(queue: str, *, journal: bool = True) -> Subject:
    def commands(place: Place) -> list[Command]:
        settings = {
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(place.port),
            "DATA_DIR": str(place.data),
            "FILE_LOG_ENABLED": "0",
            # One service alone gets half of them on the embedded queue.
            "QUEUE_NUMBER_OF_CONSUMERS": str(2 * GREENLETS),
            "MSPC_CONFIG": str(place.directory / "env.yml"),
            "ADMIN_PORT": str(place.admin_port),
        }
        on = "1" if journal else "0"
        settings |= {"JOURNAL": on, "ADMIN": on}
        (place.directory / "env.yml").touch()
        if place.node is not None:
            settings |= place.node.settings(place.queue) | {"QUEUE_TYPE": queue}
        arguments = [sys.executable, str(ROOT / "mspc.py")]
        return [Command("mspc", arguments, settings | place.settings)]

    scheme = "sqlite" if queue == "sqlite" else f"amqp, QUEUE_TYPE {queue}"
    return Subject(
        f"mspc-{queue}" if journal else plain(queue),
        f"mspc, {queue}" if journal else f"mspc, {queue}, no journal",
        "mspc",
        queue,
        commands,
        (
            "one process: python mspc.py",
            f"QUEUE_SCHEME {scheme}",
            "QUEUE_NUMBER_OF_CONSUMERS 200 (the default)",
            "FILE_LOG_ENABLED 0: the log goes to standard output, a file here",
            "JOURNAL 1, ADMIN 1 (the defaults)" if journal else "JOURNAL 0, ADMIN 0",
        ),
        journal,
    )


def plain(queue: str) -> str:
    """The key of mspc that keeps nothing of what became of its calls."""
    return f"mspc-{queue}-plain"


def _peer(
    product: str,
    queue: str,
    worker: Callable[[str], list[str]],
    settings: tuple[str, ...],
) -> Subject:
    name = product.lower()
    module = f"{_PEERS}.{name}_tasks"

    def commands(place: Place) -> list[Command]:
        environment = {
            "BENCH_PORT": str(place.port),
            "BENCH_QUEUE": place.queue,
            "BENCH_FILE": str(place.directory / "queue.db"),
        }
        if place.node is not None:
            environment["BENCH_BROKER"] = place.broker
        front = [sys.executable, "-m", f"{_PEERS}.front", module]
        return [
            Command("worker", worker(module), environment),
            Command("front", front, environment),
        ]

    return Subject(name, product, product, queue, commands, settings)


def _celery(module: str) -> list[str]:
    pool = ["--pool", "gevent", "--concurrency", str(GREENLETS)]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app = [sys.executable, "-m", "celery", "--app", module, "worker"]
    return [*app, *pool, *quiet]


def _dramatiq(module: str) -> list[str]:
    script = str(_SCRIPTS / "dramatiq-gevent")
    size = ["--processes", "1", "--threads", str(GREENLETS)]
    return [script, module, *size, "--skip-logging"]


def _huey(module: str) -> list[str]:
    size = ["-k", "greenlet", "-w", str(GREENLETS), "--no-periodic", "--quiet"]
    return [sys.executable, "-m", f"{_PEERS}.huey_worker", f"{module}.huey", *size]


SUBJECTS = (
    _mspc("sqlite"),
    _mspc("sqlite", journal=False),
    _peer(
        "Huey",
        "sqlite",
        _huey,
        (
            "worker: huey_consumer -k greenlet -w 100 --no-periodic --quiet, patched"
            " by gevent first",
            "SqliteHuey(fsync=True, results=False), WAL (its default)",
            "task(retries=1000000000, retry_delay=5)",
            "takes a task out of the file before it runs it, so a crash loses up to"
            " 100 calls; it has no acknowledgement that could come later",
        ),
    ),
    workly.SQLITE,
    _mspc("classic"),
    _mspc("classic", journal=False),
    _mspc("quorum"),
    _mspc("quorum", journal=False),
    _peer(
        "Celery",
        "classic",
        _celery,
        (
            "worker: celery worker --pool gevent --concurrency 100 --without-gossip"
            " --without-mingle --without-heartbeat",
            "broker_transport_options={'confirm_publish': True},"
            " broker_pool_limit=64 (its default of 10 would hold up 64 clients)",
            "task_acks_late, task_reject_on_worker_lost, task_ignore_result;"
            " worker_enable_remote_control=False",
            "worker_prefetch_multiplier=4 (its default): 400 tasks ahead",
            "retry(countdown=5), max_retries=None; a durable classic queue (its"
            " default)",
        ),
    ),
    _peer(
        "Dramatiq",
        "classic",
        _dramatiq,
        (
            "worker: dramatiq-gevent --processes 1 --threads 100 --skip-logging",
            "RabbitmqBroker(confirm_delivery=True), default middleware, prefetch 200"
            " (its default for 100 threads)",
            "front: 64 connections in a pool instead of one for each greenlet"
            " (dramatiq's issue 381)",
            "max_retries=None, min_backoff = max_backoff = 5 s; a durable classic"
            " queue (its only kind without a subclass)",
        ),
    ),
    workly.POSTGRES,
)


def choose(keys: list[str]) -> list[Subject]:
    """Those named, in order; all for none."""
    return [subject for subject in SUBJECTS if not keys or subject.key in keys]
