"""What lies there for somebody to look at: calls that wait, dead letters, decisions."""

import http.client
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

from benchmarks.browser import Browser
from benchmarks.door import TIMEOUT_SECONDS, Door
from benchmarks.processes import Failed, wait_until
from benchmarks.service import Place, Service
from benchmarks.stage import Stage
from benchmarks.target import BROKEN

Call = dict[str, Any]

# What POST /v1/calls:batch takes at once.
_BATCH = 500
# After so many calls the journal is waited for: it drops what it has no room for.
_PACE = 5_000
# Nothing that is not told of is waited for so long.
_SILENT_SECONDS = 60.0
_AGAIN_SECONDS = 0.2
_DELAY = "12h"
_LABELS = ("invoices", "reminders", "imports", "newsletters")
# Of what the pages of jobs and decisions show.
JOBS = DECISIONS = 200


@dataclass(frozen=True, slots=True)
class Stock:
    """How much lies there.

    Attributes:
        waiting: calls that are open: a tenth of them has failed once, the others were
            asked for no sooner.
        dead: dead letters: one half was refused a connection, the other was answered.
        destinations: over which those that were not answered are spread.
    """

    waiting: int = 1_000_000
    dead: int = 100_000
    destinations: int = 10_000

    @property
    def failed(self) -> int:
        return self.waiting // 10


def destination(number: int) -> str:
    """One of a million on which nobody listens."""
    third, fourth = number // 250, 1 + number % 250
    return f"http://127.{1 + third // 250}.{third % 250}.{fourth}:9"


def call_to(url: str, number: int, **more: object) -> Call:
    """As a client would send it."""
    return {
        "url": f"{url}/notification/{number}",
        "method": "DELETE" if number % 1_000 == 999 else "POST",
        "headers": {"X-Auth": "MyAuthKey", "Content-Type": "application/json"},
        "body": f'{{"receiver": "john.doe@domain.tld", "number": {number}}}',
        "labels": [_LABELS[number % len(_LABELS)]],
        **more,
    }


def delayed(count: int, destinations: int) -> Iterator[Call]:
    """Calls that were asked for no sooner than half a day from now."""
    for number in range(count):
        yield call_to(destination(number % destinations), number, delay=_DELAY)


def refused(count: int, destinations: int, **more: object) -> Iterator[Call]:
    """Calls that nobody takes."""
    for number in range(count):
        yield call_to(destination(number % destinations), number, **more)


def answered(count: int, target: str, **more: object) -> Iterator[Call]:
    """Calls that are answered, and not well."""
    for number in range(count):
        status = BROKEN[number % len(BROKEN)]
        yield call_to(f"{target}/{status}", number, **more)


def fill(stage: Stage, service: Service, stock: Stock) -> None:
    """Stores all of it, and has something done to some of these calls.

    Args:
        stage: with the target.
        service: whose breakers are off, so that each call fails once and soon, and
            whose next attempts are hours away.
        stock: how much.

    Raises:
        Failed: the journal knows of less.
    """
    place, many = service.place, stock.destinations
    with Door(place.admin_port, place.data) as door:
        stage.say(f"  making {stock.dead:,} dead letters")
        half = stock.dead // 2
        send(place, door, refused(half, many, requeue=False))
        rest = stock.dead - half
        send(place, door, answered(rest, stage.target.base, requeue=False))
        await_state(door, "dead", stock.dead)
        stage.say(f"  posting {stock.waiting:,} calls that wait")
        send(place, door, refused(stock.failed, many))
        send(place, door, delayed(stock.waiting - stock.failed + JOBS, many))
        _steer(place, door, many)
        await_state(door, "waiting", stock.waiting)
        await_state(door, "queued", 1)
        dropped = known(door)["events_dropped"]
        if dropped:
            raise Failed(f"the journal dropped {dropped} events")


def send(place: Place, door: Door, calls: Iterable[Call]) -> None:
    """Posts them in batches, not faster than the journal can write them down."""
    client = http.client.HTTPConnection(
        "127.0.0.1", place.port, timeout=TIMEOUT_SECONDS
    )
    sent, left = 0, iter(calls)
    while batch := list(islice(left, _BATCH)):
        client.request("POST", "/v1/calls:batch", json.dumps({"calls": batch}))
        answer = client.getresponse()
        content = answer.read()
        stored = answer.status == http.client.ACCEPTED
        if not stored or json.loads(content)["message"] != "Accepted":
            raise Failed(f"a batch was answered {answer.status}: {content[:300]!r}")
        sent += len(batch)
        if sent % _PACE == 0:
            known(door)
    client.close()


def known(door: Door) -> dict[str, Any]:
    """What the journal counts, as soon as all that it was told is in it.

    Raises:
        Failed: it is not within a minute, while each answer may take seconds.
    """
    began = time.monotonic()
    while True:
        try:
            stats, _ = door.get("/v1/stats")
        except Failed:
            if time.monotonic() - began > _SILENT_SECONDS:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return dict(stats)


def await_state(door: Door, state: str, count: int) -> None:
    """Returns when so many calls are in a state.

    Raises:
        Failed: they become no more.
    """
    there, changed = -1, time.monotonic()
    while True:
        before, there = there, known(door)["states"][state]
        if there >= count:
            return
        if there != before:
            changed = time.monotonic()
        elif time.monotonic() - changed > _SILENT_SECONDS:
            raise Failed(f"{there:,} of {count:,} calls are {state}, and no more")
        time.sleep(_AGAIN_SECONDS)


def _steer(place: Place, door: Door, destinations: int) -> None:
    """What the pages of jobs and decisions have to show: as much as they can."""
    page, _ = door.get(f"/v1/calls?state=waiting&limit={max(JOBS, DECISIONS)}")
    ids = [call["id"] for call in page["calls"]]
    with Browser(place.admin_port, place.data) as browser:
        for call_id in ids[:JOBS]:
            browser.post("/bulk", {"action": "cancel", "id": call_id})
        wait_until(lambda: _are_done(door), _SILENT_SECONDS, "the jobs are done", 0.5)
        for call_id in ids[:DECISIONS]:
            browser.post(f"/calls/{call_id}/reveal", {})
        paused = destination(destinations - 1)
        key = quote(paused, safe="")
        browser.post(f"/destinations/{key}/pause", {"reason": "it moves"})
    send(place, door, [call_to(paused, 0)])  # which is due, and queued


def _are_done(door: Door) -> bool:
    jobs, _ = door.get("/v1/bulk")
    return all(job["status"] != "running" for job in jobs["jobs"])
