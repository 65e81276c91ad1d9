"""Calls with delays of their own, of all lengths, and mspc killed in the middle."""

import itertools
import time
import zlib
from collections import defaultdict
from collections.abc import Mapping

import gevent

from tests.faults.checker import TOLERATED_SECONDS, Hit
from tests.faults.ledger import fail_first
from tests.faults.rows import CLASSIC, QUORUM, SQLITE, Run, in_flight, row

KINDS = (SQLITE, CLASSIC, QUORUM)
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 60.0
LATE_SECONDS = 1.0
# What was due while mspc was down comes when it is back, before what is due next.
BACK_SECONDS = 5.0
BACKOFF = (1.0, 2.0, 4.0)
JITTER = 0.5
HERD_SECONDS = 40.0
# Chance, and a machine that pauses.
HERD_FACTOR = 5
COPIES_SECONDS = sum(BACKOFF) + BACK_SECONDS


def chance(call_id: str) -> float:
    """Of each call its own, uniform in [0, 1)."""
    return zlib.crc32(call_id.encode()) / 2**32


def delay_of(call_id: str) -> float:
    span = LONGEST_SECONDS - SHORTEST_SECONDS
    return round(SHORTEST_SECONDS + chance(call_id) * span, 3)


@row(
    59,
    "delays of 1 to 60 s, and a kill -9",
    queues=KINDS,
    bound=in_flight,
    alone=True,
)
def delays(run: Run) -> None:
    run.consumers = 200
    service = run.service()
    count, rate = (2_000, 100) if run.quick else (100_000, 250)

    def own(call_id: str) -> Mapping[str, object]:
        return {"delay": delay_of(call_id)}

    load = run.load(rate, count=count, properties=own)
    gevent.sleep(count / rate / 2)
    down = time.monotonic()
    service.kill()
    run.injected()
    service.restart()
    up = time.monotonic()
    load.join()
    run.drain(LONGEST_SECONDS + 60)
    first = {hit.id: hit for hit in reversed(run.ledger.hits)}
    late = []
    for sent in run.log.sent.values():
        if sent.outcome != "ok" or sent.id not in first:
            continue
        due = sent.at + delay_of(sent.id)
        hit = first[sent.id]
        if down - LATE_SECONDS <= due <= up + BACK_SECONDS:
            run.expect(hit.at <= up + BACK_SECONDS + LATE_SECONDS, f"{sent.id} is late")
        elif not sent.id.startswith("probe"):
            late.append((hit.at - due - sent.seconds, hit.at - due))
    expect_in_time(run, late)


@row(
    60,
    "backoff and jitter of three failures, and a kill -9",
    queues=KINDS,
    bound=in_flight,
)
def backoffs(run: Run) -> None:
    run.consumers = 200
    run.delay = BACKOFF[0] * (1 - JITTER)
    run.ledger.behave(fail_first(len(BACKOFF)))
    service = run.service()
    # Four attempts each.
    count, rate = (1_000, 50) if run.quick else (4_000, 50)

    def own(call_id: str) -> Mapping[str, object]:
        steps = {"initial": BACKOFF[0], "factor": 2, "jitter": JITTER}
        return {"backoff": steps}

    load = run.load(rate, count=count, properties=own)
    gevent.sleep(count / rate / 2)
    down = time.monotonic()
    # Of a call whose retry was stored and that was not let go there are two copies, and
    # each has failures of its own before it.
    with run.fault(settles_within=COPIES_SECONDS):
        service.kill()
        service.restart()
    up = time.monotonic()
    load.join()
    run.drain(120)
    late = []
    for hits in attempts_of(run).values():
        for number, (sooner, later) in enumerate(itertools.pairwise(hits)):
            spans = sooner.ended <= up + COPIES_SECONDS and later.at >= down
            if number < len(BACKOFF) and not spans:
                longest = BACKOFF[number]
                gap = later.at - sooner.ended
                late.append((gap - longest, gap - longest * (1 - JITTER)))
    expect_in_time(run, late)


@row(66, "ten thousand calls that fail together", queues=KINDS)
def herd(run: Run) -> None:
    """They are due together, fail, and come back spread over their jitter."""
    run.consumers = 200
    run.delay = HERD_SECONDS * (1 - JITTER)
    run.ledger.behave(fail_first(1, code=503))
    run.service(BREAKER_FAILURES="0")
    count, rate = (1_000, 200) if run.quick else (10_000, 400)
    together = time.time() + count / rate + 5

    def own(call_id: str) -> Mapping[str, object]:
        steps = {"initial": HERD_SECONDS, "factor": 1, "jitter": JITTER}
        return {"not_before": together, "backoff": steps}

    load = run.load(rate, count=count, properties=own)
    load.join()
    run.injected()
    run.drain(2 * HERD_SECONDS + 60)
    attempts = attempts_of(run).values()
    first = sorted(hits[0].at for hits in attempts)
    again = sorted(hits[1].at for hits in attempts if len(hits) > 1)
    run.expect(len(again) == len(first), f"{len(first) - len(again)} came once only")
    for name, times in (("first attempts", first), ("second ones", again)):
        run.remark(f"{most_within(times, 0.1)} {name} in 100 ms at most")
    span = again[-1] - again[0]
    run.remark(f"spread over {span:.1f} s")
    expected = len(again) / (HERD_SECONDS * JITTER) * 0.1
    most = most_within(again, 0.1)
    run.expect(most <= expected * HERD_FACTOR, f"{most} at once, {expected:.0f} usual")


def most_within(times: list[float], seconds: float) -> int:
    """The most in any span of that length; `times` ascend."""
    first = most = 0
    for place, at in enumerate(times):
        while at - times[first] > seconds:
            first += 1
        most = max(most, place - first + 1)
    return most


def attempts_of(run: Run) -> dict[str, list[Hit]]:
    found: dict[str, list[Hit]] = defaultdict(list)
    for hit in run.ledger.hits:
        found[hit.id].append(hit)
    return found


def expect_in_time(run: Run, late: list[tuple[float, float]]) -> None:
    """Each came within a second of its time, and none before it.

    Args:
        run: gets the problems.
        late: seconds after the latest moment that is in time, and after the earliest.
    """
    run.expect(late, "none was looked at")
    most = max((seconds for seconds, _ in late), default=0.0)
    least = min((seconds for _, seconds in late), default=0.0)
    slow = sum(seconds > LATE_SECONDS for seconds, _ in late)
    run.remark(
        f"{len(late):,} of them: at most {most:.2f} s late, {least:.2f} s at least"
    )
    run.expect(not slow, f"{slow} were late, by {most:.2f} s at most")
    run.expect(least >= -TOLERATED_SECONDS, f"one came {-least:.2f} s early")
