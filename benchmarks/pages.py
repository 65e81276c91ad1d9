"""How soon pages come when much lies there, and what it costs to keep them open."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import mean

from benchmarks.browser import Browser
from benchmarks.door import Door
from benchmarks.end_to_end import MEBIBYTE, REST_SECONDS, deliver, steady
from benchmarks.load import Load
from benchmarks.looks import DESTINATIONS, DOWN, OVERVIEW, Look, find, looks
from benchmarks.measure import percentiles
from benchmarks.processes import wait_until
from benchmarks.service import Place, Service, Subject
from benchmarks.stage import Stage
from benchmarks.stock import Stock, await_state, fill, refused, send
from benchmarks.store import Figures

OVERVIEWS = 20
# How often an open page asks for itself: LIVE_SECONDS of mspc/pages/static/mspc.js.
LIVE_SECONDS = 5.0
# Without breakers, which would hold calls that are to fail.
_FILLING = {
    "BREAKER_FAILURES": "0",
    "REQUEUE_FAILED_AFTER_MILLISECONDS": "43200000",
}
# One failure shuts a lane, and what failed does not come again while it is looked at:
# so many destinations that are known and do not answer can be had within seconds.
_LOOKED_AT = {
    "BREAKER_FAILURES": "1",
    "REQUEUE_FAILED_AFTER_MILLISECONDS": "3600000",
}
# Neither the dead letters nor what succeeds meanwhile is forgotten.
_SETTINGS = {"JOURNAL_MAX_CALLS": "10000000"}
_RATE_CALLS = 3_000
_SCRAPES = 100
_HELD = re.compile(r'^mspc_destinations\{state="held"\} (\S+)$', re.MULTILINE)
_HELD_SECONDS = 120.0
# A lane may be shared, or forgotten for another one.
_NEARLY = 0.99

Rows = Iterator[tuple[str, Figures]]


@dataclass(frozen=True, slots=True)
class Sight:
    """How much is done.

    Attributes:
        stock: what lies there.
        times: how often each page is looked at.
        seconds: how long nothing comes but what open pages ask for; and how long calls
            come at a steady rate, alone and beside them, twice each.
    """

    stock: Stock = field(default_factory=Stock)
    times: int = 20
    seconds: float = 20.0


def run(stage: Stage, subject: Subject, sight: Sight, rounds: int) -> Rows:
    """Each round, in a process of its own: a page or "" for all, and its figures."""
    with stage.place(subject) as place:
        with Service(subject, _set(place, _FILLING)) as service:
            fill(stage, service, sight.stock)
        for _ in range(rounds):
            started = time.monotonic()
            with Service(subject, _set(place, _LOOKED_AT)) as service:
                start_up = time.monotonic() - started
                yield from _round(stage, service, sight, start_up)


def _round(stage: Stage, service: Service, sight: Sight, start_up: float) -> Rows:
    place = service.place
    rate = deliver(stage, service, _RATE_CALLS)["accepts_per_s"] / 2
    with Door(place.admin_port, place.data) as door:
        await_state(door, "succeeded", _RATE_CALLS)
    figures = {
        "waiting": float(sight.stock.waiting),
        "dead": float(sight.stock.dead),
        "start_up_s": start_up,
    }
    with Browser(place.admin_port, place.data) as browser:
        found = find(browser, place, sight.stock.destinations)
        yield from timed(browser, looks(found), sight.times)
        figures |= _cost(service, sight.seconds)
        figures |= _beside(partial(steady, stage, service, rate), place, sight.seconds)
        figures |= _scraped(service, browser, sight.stock.destinations)
        down = (Look(OVERVIEW + DOWN, "/"), Look(DESTINATIONS + DOWN, "/destinations"))
        yield from timed(browser, down, sight.times)
    yield "", figures | {"rss_mib": service.peak_rss() / MEBIBYTE}


def timed(browser: Browser, asked: Iterable[Look], times: int) -> Rows:
    """In turns; the first time is not counted, in which templates are compiled."""
    asked = list(asked)
    took: dict[str, list[float]] = {look.name: [] for look in asked}
    for turn in range(times + 1):
        for look in asked:
            milliseconds = look(browser)
            if turn:
                took[look.name].append(milliseconds)
    for name, some in took.items():
        yield name, {"p50_ms": percentiles(some).p50, "max_ms": max(some)}


def _cost(service: Service, seconds: float) -> Figures:
    """Of open overviews while nothing else happens, in percent of a core."""
    time.sleep(REST_SECONDS)
    quiet = _percent(service, seconds)
    with opened(service.place) as took:
        busy = _percent(service, seconds)
    return {
        "quiet_percent": quiet,
        "open_percent": busy - quiet,
        "asked_per_s": len(took) / seconds,
    }


def _percent(service: Service, seconds: float) -> float:
    cpu, started = service.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (service.cpu_seconds() - cpu) / (time.monotonic() - started) * 100


def _beside(calls: Callable[[float], Load], place: Place, seconds: float) -> Figures:
    """Calls at a steady rate in turns: alone, and beside open overviews."""
    alone: list[Load] = []
    beside: list[Load] = []
    live: list[float] = []
    for _ in range(2):
        alone.append(calls(seconds))
        with opened(place) as took:
            beside.append(calls(seconds))
        live += took
    return {
        "rate_per_s": mean(load.rate for load in beside),
        "alone_p50_ms": mean(load.latency.p50 for load in alone),
        "alone_p99_ms": mean(load.latency.p99 for load in alone),
        "p50_ms": mean(load.latency.p50 for load in beside),
        "p99_ms": mean(load.latency.p99 for load in beside),
        "live_p50_ms": percentiles(live).p50,
        "live_max_ms": max(live),
    }


@contextmanager
def opened(place: Place) -> Iterator[list[float]]:
    """Open overviews, each asking for itself as its script does, one after the other.

    Yields:
        How long each answer took, milliseconds.
    """
    took: list[float] = []
    closed = threading.Event()

    def look(browser: Browser, due: float) -> None:
        while not closed.wait(max(0.0, due - time.monotonic())):
            took.append(browser.refresh("/").took)
            due += LIVE_SECONDS

    with ExitStack() as stack, ThreadPoolExecutor(OVERVIEWS) as pool:
        browsers = [
            stack.enter_context(Browser(place.admin_port, place.data))
            for _ in range(OVERVIEWS)
        ]
        began = time.monotonic()
        pause = LIVE_SECONDS / OVERVIEWS
        readers = [
            pool.submit(look, browser, began + number * pause)
            for number, browser in enumerate(browsers)
        ]
        try:
            yield took
        finally:
            closed.set()
        for reader in readers:
            reader.result()


def _scraped(service: Service, browser: Browser, destinations: int) -> Figures:
    """What Prometheus waits for when all destinations are known, and none answers."""
    place = service.place
    with Door(place.admin_port, place.data) as door:
        send(place, door, refused(destinations, destinations))

    def held() -> float:
        found = _HELD.search(browser.get("/metrics").text)
        return float(found[1]) if found else 0.0

    enough = _NEARLY * destinations
    wait_until(lambda: held() >= enough, _HELD_SECONDS, "all are known", 0.5)
    took = [browser.get("/metrics").took for _ in range(_SCRAPES)]
    return {
        "known": held(),
        "scrape_p50_ms": percentiles(took).p50,
        "scrape_p99_ms": percentiles(took).p99,
    }


def _set(place: Place, settings: dict[str, str]) -> Place:
    return replace(place, settings=place.settings | _SETTINGS | settings)
