"""What is broken while Prometheus looks, each thing until its block ends."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import gevent

from tests.support.broker_door import Door
from tests.support.process import MspcProcess
from tests.support.prometheus import Prometheus
from tests.support.target import Target

MIB = 1 << 20
DISK_MIB = 1024 + 32  # MspcDiskLow is about the last 1024
BALLAST_MIB = 40


@dataclass(frozen=True, slots=True)
class World:
    """What there is to break.

    Attributes:
        embedded: an mspc on a disk of its own, where that can be made.
        on_rabbitmq: an mspc that reaches RabbitMQ through `door`.
        disk: the directory that is a small disk; None without one.
    """

    prometheus: Prometheus
    embedded: MspcProcess
    on_rabbitmq: MspcProcess
    door: Door
    disk: Path | None
    service: Target
    hanging: Target
    paused: Target


@contextmanager
def rabbitmq_away(world: World) -> Iterator[None]:
    world.door.shut()
    world.on_rabbitmq.wait_for_log("RabbitMQ .* is away")
    assert world.on_rabbitmq.post({"url": world.service.url("/spooled")}).status == 202
    yield
    world.door.open()


@contextmanager
def service_hangs(world: World) -> Iterator[None]:
    world.hanging.fault = "hang"
    for _ in range(5):  # BREAKER_FAILURES
        world.embedded.post({"url": world.hanging.url("/")})
    yield
    world.hanging.fault = None


@contextmanager
def service_fails(world: World) -> Iterator[None]:
    world.service.answer("/fails", status=500)
    world.embedded.post({"url": world.service.url("/fails")})
    yield
    world.service.forget("/fails")


@contextmanager
def call_dies(world: World) -> Iterator[None]:
    world.service.answer("/gone", status=410)
    world.embedded.post({"url": world.service.url("/gone")})
    yield


@contextmanager
def destination_paused(world: World) -> Iterator[None]:
    host = quote(world.paused.url("").rstrip("/"), safe="")

    def steer(verb: str) -> None:
        answer = world.embedded.admin("POST", f"/v1/destinations/{host}/{verb}", {})
        assert answer.status == 200, answer.body

    steer("pause")
    yield
    steer("resume")


@contextmanager
def disk_low(world: World) -> Iterator[None]:
    if world.disk is None:
        yield
        return
    ballast = world.disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, BALLAST_MIB * MIB)
    yield
    ballast.unlink()


@contextmanager
def killed(mspc: MspcProcess) -> Iterator[None]:
    mspc.kill()
    yield
    mspc.restart()


@contextmanager
def stuttering(mspc: MspcProcess) -> Iterator[None]:
    """Stopped for most of each second, and never so long that a scrape fails.

    mspc looks for lag in steps of half a second that begin anew after each stop: each
    stop goes over the end of such a step, by more than half a second.
    """

    def stutter() -> None:
        while True:
            mspc.signal(signal.SIGSTOP)
            gevent.sleep(0.75)
            mspc.signal(signal.SIGCONT)
            gevent.sleep(0.4)

    stutters = gevent.spawn(stutter)
    try:
        yield
    finally:
        stutters.kill()
        mspc.signal(signal.SIGCONT)


# Those that do not get in each other's way.
FAULTS: tuple[Callable[[World], AbstractContextManager[None]], ...] = (
    *(rabbitmq_away, service_hangs, service_fails, call_dies),
    *(destination_paused, disk_low),
)
