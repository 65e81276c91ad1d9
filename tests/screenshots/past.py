"""Starts mspc with an hour that was busy behind it, and with names that lead here.

Rates are kept in memory, so that the charts of an mspc that was just started are empty.
Run as a command that becomes another one: its first two arguments are the interpreter
and mspc.py, as tests.support.process starts them.
"""

import math
import random
import runpy
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv[2]).parent))

import mspc.starting  # noqa: F401 - patches, before all else
from mspc import operators, service
from mspc.forwarding import names
from mspc.journal.events import Accepted, Attempted, Event
from mspc.journal.journal import Journal
from mspc.journal.nothing import NoJournal
from mspc.settings.config import Config

MINUTES = 60
PLACES = ("orders", "mail", "search")


def events(now: float, chance: random.Random) -> Iterator[Event]:
    """Calls of the last hour, all done; a service was away for ten minutes of it."""
    for minute in range(MINUTES, 0, -1):
        start = now - minute * 60
        count = int(110 + 45 * math.sin(minute / 9) + chance.uniform(-12, 12))
        for number in range(count):
            at = start + 60 * number / count
            call = _accepted(at, chance)
            yield call
            failed = 24 <= minute < 34 and "mail" in call.destination
            if failed:
                again = now - 22 * 60 + chance.uniform(0, 300)
                yield Attempted(
                    call,
                    1,
                    at,
                    0.04,
                    503,
                    "bad_status",
                    decision="retry",
                    next_at=again,
                )
                at = again
            yield Attempted(call, 1 + failed, at, chance.uniform(0.01, 0.2), 200)


def _accepted(at: float, chance: random.Random) -> Accepted:
    made = int(at * 1000) << 80 | 7 << 76 | 2 << 62 | chance.getrandbits(60)
    place = f"http://{chance.choice(PLACES)}.internal:8080"
    url = f"{place}/v1/{chance.randrange(10_000)}"
    return Accepted(f"{made:032x}", at, "POST", url, place, ("shop:eu",), at)


def open_journal(config: Config) -> Journal | NoJournal:
    journal = _open_journal(config)
    for event in sorted(events(time.time(), random.Random(4)), key=lambda one: one.at):
        journal.record(event)
    return journal


def look_up(host: str) -> tuple[names.Place, ...] | Exception:
    return ((socket.AF_INET, ("127.0.0.1", 0)),)


if __name__ == "__main__":
    _open_journal = operators.open_journal
    service.open_journal = open_journal  # type: ignore[attr-defined]
    names._getaddrinfo = look_up
    sys.argv[:] = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
