"""What it costs calls when somebody pages through all that lies there."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from benchmarks.door import Door
from benchmarks.end_to_end import MEBIBYTE, deliver, steady
from benchmarks.load import Load
from benchmarks.measure import percentiles
from benchmarks.service import Service, Subject
from benchmarks.stage import Stage
from benchmarks.store import Figures

PAGE = 1_000
# Nobody listens there: what is posted to it waits.
DEAD = "http://127.0.0.1:9/notification"
# What h2load posts at once; it writes a line for each.
_PART = 50_000
# How many there are: of all, by cause of death, by destination.
COUNTS = ("/v1/stats", "/v1/dead/groups", "/v1/destinations")
# So many pages are read for each look at the counts.
_PAGES_A_LOOK = 10
_RATE_CALLS = 3_000

Get = Callable[[str], tuple[Any, float]]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is done.

    Attributes:
        stored: calls that wait, in the queue and in the journal.
        seconds: how long calls come at a steady rate, alone and beside a reader.
    """

    stored: int = 1_000_000
    seconds: float = 20.0


@dataclass(slots=True)
class Reading:
    """What somebody has read so far.

    Attributes:
        calls: how many, page by page.
        pages, counts: how long each page and each look at one of COUNTS took, ms.
    """

    calls: int = 0
    pages: list[float] = field(default_factory=list)
    counts: list[float] = field(default_factory=list)


def run(
    stage: Stage, subject: Subject, extent: Extent, rounds: int
) -> Iterator[Figures]:
    """Each round, in a process of its own, beside the same calls that wait."""
    with stage.place(subject) as place:
        with Service(subject, place) as service:
            with Door(place.admin_port, place.data) as door:
                door.get("/v1/stats")  # there is one: all else would be in vain
            stage.say(f"  posting {extent.stored:,} calls that wait")
            _store(stage, service, extent.stored)
        for _ in range(rounds):
            started = time.monotonic()
            with Service(subject, place) as service:
                start_up = time.monotonic() - started
                figures = _measure(stage, service, extent.seconds)
                memory = service.peak_rss() / MEBIBYTE
            stored = float(extent.stored)
            yield {
                "stored": stored,
                "start_up_s": start_up,
                "rss_mib": memory,
                **figures,
            }


def _store(stage: Stage, service: Service, count: int) -> None:
    entry = service.entry(DEAD)
    for done in range(0, count, _PART):
        stage.clients.closed(entry, min(_PART, count - done))


def _measure(stage: Stage, service: Service, seconds: float) -> Figures:
    place = service.place
    rate = deliver(stage, service, _RATE_CALLS)["accepts_per_s"] / 2
    alone = steady(stage, service, rate, seconds)
    with Door(place.admin_port, place.data) as door:
        everything = read_all(door.get)
        beside, read = _beside(partial(steady, stage, service, rate, seconds), door.get)
    return {
        "rate_per_s": beside.rate,
        "alone_p50_ms": alone.latency.p50,
        "alone_p99_ms": alone.latency.p99,
        "p50_ms": beside.latency.p50,
        "p99_ms": beside.latency.p99,
        "listed": float(everything.calls),
        "read": float(read.calls),
        "page_p99_ms": percentiles(read.pages).p99,
        "page_max_ms": max(read.pages),
        "counts_max_ms": max(read.counts),
        "quiet_page_max_ms": max(everything.pages),
        "quiet_counts_max_ms": max(everything.counts),
    }


def _beside(work: Callable[[], Load], get: Get) -> tuple[Load, Reading]:
    """The work, while somebody reads everything again and again."""
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read_until, get, done.is_set)
        try:
            load = work()
        finally:
            done.set()
        return load, reader.result()


def read_until(get: Get, done: Callable[[], bool]) -> Reading:
    """Everything from the beginning, again and again."""
    reading = Reading()
    while not done():
        _read(reading, get, done)
    return reading


def read_all(get: Get) -> Reading:
    """Everything once."""
    reading = Reading()
    _read(reading, get, lambda: False)
    return reading


def _read(reading: Reading, get: Get, done: Callable[[], bool]) -> None:
    cursor = ""
    while True:
        if len(reading.pages) % _PAGES_A_LOOK == 0:
            reading.counts += [get(path)[1] for path in COUNTS]
        page, took = get(f"/v1/calls?limit={PAGE}{cursor}")
        reading.pages.append(took)
        reading.calls += len(page["calls"])
        if not page["next_cursor"] or done():
            return
        cursor = f"&cursor={quote(page['next_cursor'])}"
