"""mspc's end in the middle of things: at a crash point, with many calls waiting, with
the same calls again and again; and bugs of its own, which must not end it.
"""

import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gevent

from mspc.process import crash
from tests.faults.checker import TOLERATED_SECONDS, Hit
from tests.faults.ledger import fail_first, hang, ok, status
from tests.faults.rows import (
    CLASSIC,
    QUORUM,
    QUORUM4,
    SQLITE,
    Run,
    Service,
    in_flight,
    row,
)
from tests.support.process import SCRIPT

SQLITE_ONLY = {"before_commit", "after_commit"}
RABBITMQ_ONLY = {"publish_written", "retry_confirmed"}
OPERATORS_ONLY = {"decision_reached"}

REACHED_SECONDS = 20.0
LONGEST_RECOVERY_SECONDS = 15.0


def points_of(run: Run) -> list[str]:
    """The crash points that calls pass on this kind of queue."""
    others = RABBITMQ_ONLY if run.queue == SQLITE else SQLITE_ONLY
    others = others | OPERATORS_ONLY
    return [point for point in crash.POINTS if point not in others]


def unarmed(service: Service) -> None:
    """Starts it without a crash point; it may not end by itself any more."""
    service.settings.pop("MSPC_CRASH_AT", None)
    service.start()
    service.may_end = False


@row(1, "kill -9 at each crash point", bound=in_flight, timeout=1800)
def crash_points(run: Run) -> None:
    # Failures for the points of retries and timers; each call fails once at most, so
    # that a second copy (its retry stored, the first one not let go) is not "early".
    run.ledger.behave(fail_first(1, every=2))
    points = points_of(run)
    if run.quick:
        points = run.random.sample(points, 4)
    times = range(1, 3 if run.quick else 21)
    service = run.service()
    run.load(rate=100)
    for point in points:
        service.terminate()
        service.wait()
        for n in times:
            crash_at(run, service, point, n)
        with run.recovering():
            unarmed(service)
    run.remark(f"{len(points)} points, n = 1 to {times[-1]}")
    run.drain()


def crash_at(run: Run, service: Service, point: str, n: int) -> None:
    service.settings["MSPC_CRASH_AT"] = f"{point}:{n}"
    service.may_end = True
    service.start()
    try:
        code = service.wait(REACHED_SECONDS)
    except AssertionError:
        run.expect(False, f"{point}:{n} was not reached in {REACHED_SECONDS:g} s")
        service.kill()
        run.injected()
        return
    run.injected()
    run.expect(code == -signal.SIGKILL, f"exit code {code} at {point}:{n}")


@row(3, "kill -9 while 1000 calls wait", bound=in_flight)
def kills_while_calls_wait(run: Run) -> None:
    calls = 1000
    run.delay = 15.0 if run.quick else 20.0
    run.ledger.behave(fail_first(1))
    service = run.service()
    run.load(rate=250, count=calls).join()
    run.expect(
        waited(lambda: len(run.ledger.attempts) >= len(run.log.ids("ok")), 60),
        "not every call was attempted before the kill",
    )
    gevent.sleep(1)  # what has failed is stored
    kills: list[float] = []
    for _ in range(1 if run.quick else 4):
        waiting = len(run.log.ids("ok") - run.ledger.delivered)
        # On a slow machine the first are due before the last were attempted.
        run.expect(len(kills) or waiting > calls / 2, f"only {waiting} waited")
        kills.append(time.monotonic())
        service.kill()
        run.injected()
        service.restart()
        gevent.sleep(run.random.uniform(0.5, 1.0))
    up = time.monotonic()
    run.drain()
    late = waits(run, kills[0])
    early = [seconds for seconds in late if seconds < -TOLERATED_SECONDS]
    run.expect(not early, f"{len(early)} came early, by {-min(late, default=0):.1f} s")
    # What was due while mspc was down comes at once then: that is no lateness.
    slowest, down = max(late, default=0.0), up - kills[0]
    run.expect(slowest < down + 5, f"one came {slowest:.1f} s late, down {down:.1f} s")
    run.expect(spread(run) > 1.0, "they all came at once")
    run.remark(
        f"{len(late)} calls waited for {run.delay:g} s, and came {min(late):.2f} to"
        f" {slowest:.2f} s after that, spread over {spread(run):.1f} s"
    )


def waits(run: Run, kill: float) -> list[float]:
    """By how many seconds more than the delay each call waited over the kill."""
    return [
        second.at - first.ended - run.delay
        for first, second in attempts(run)
        if first.ended < kill - 0.5 and second.at > kill
    ]


def attempts(run: Run) -> list[tuple[Hit, Hit]]:
    """The first and the second attempt of each call that had two."""
    seen: dict[str, list[Hit]] = {}
    for hit in run.ledger.hits:
        seen.setdefault(hit.id, []).append(hit)
    return [(hits[0], hits[1]) for hits in seen.values() if len(hits) > 1]


def spread(run: Run) -> float:
    """Seconds between the earliest tenth of the second attempts and the last tenth."""
    at = sorted(second.at for _, second in attempts(run))
    return at[len(at) * 9 // 10] - at[len(at) // 10] if at else 0.0


@row(
    20,
    "30 crashes with the same calls in flight",
    queues=(QUORUM, QUORUM4),
    everywhere=True,
)
def crashes_with_the_same_calls(run: Run) -> None:
    # Unless told otherwise, RabbitMQ 4 drops what came back 20 times; what only waits
    # comes back just as often.
    crashes = 22 if run.quick else 30
    run.delay = 1.5 * crashes
    run.ledger.behave(status(500))
    service = run.service()
    waiting = [run.post().id for _ in range(5)]
    run.expect(waited(lambda: attempted(run, waiting, 1), 10), "none was attempted")
    gevent.sleep(0.5)
    run.ledger.behave(hang)
    # As many as a service may have of twenty consumers before it has answered.
    held = [run.post().id for _ in range(7)]
    for done in range(crashes):
        run.expect(
            waited(partial(attempted, run, held, done + 1), 15),
            f"after {done} crashes not every call was delivered again",
        )
        service.kill()
        run.injected()
        if done == crashes - 1:
            run.ledger.behave(ok)
            with run.recovering():
                service.start()
        else:
            service.restart()
    again = sum(run.ledger.attempts[call_id] > 1 for call_id in waiting)
    run.remark(f"{len(held)} calls in flight, {len(waiting) - again} waiting")
    run.drain(timeout=run.delay + 30)


def attempted(run: Run, ids: list[str], times: int) -> bool:
    return all(run.ledger.attempts[call_id] >= times for call_id in ids)


def waited(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        gevent.sleep(0.05)
    return True


# No message and no answer is known that provokes a bug. So Python runs this before
# mspc: the crash points raise, in place of ending the process.
_RAISING = """\
import os, random, sys
sys.path.insert(0, os.environ["FAULT_CODE"])
from mspc.process import crash
chance = random.Random(os.environ["FAULT_SEED"])
def at(name):
    try:
        with open(os.environ["FAULT_POINT"]) as file:
            wanted = file.read()
    except OSError:
        return
    if name == wanted and chance.random() < 0.1:
        os.write(2, f"raising at {name}\\n".encode())
        raise RuntimeError("a bug")
crash.at = at
"""


@row(
    49,
    "exceptions in the greenlets of requests, attempts, acks and timers",
    queues=(SQLITE, QUORUM, CLASSIC),
    bound=lambda run: 2 * run.injections,
)
def exceptions(run: Run) -> None:
    run.ledger.behave(fail_first(1, every=2))
    point_file = run.directory / "point"
    (run.directory / "sitecustomize.py").write_text(_RAISING)
    service = run.service(
        PYTHONPATH=str(run.directory),
        FAULT_CODE=str(SCRIPT.parent),
        FAULT_SEED=run.seed,
        FAULT_POINT=str(point_file),
    )
    service.tracebacks_allowed = True
    load = run.load(rate=40)
    for point in points_of(run):
        raise_at(run, service, point, point_file)
    load.stop()
    run.remark("each point raised one time in ten")
    run.drain()


def raise_at(run: Run, service: Service, point: str, point_file: Path) -> None:
    before = raised(service, point)
    start = time.monotonic()
    with run.fault(settles_within=run.delay + 1):
        point_file.write_text(point)
        waited(lambda: raised(service, point) > before, REACHED_SECONDS)
        gevent.sleep(max(0.0, start + (1 if run.quick else 5) - time.monotonic()))
        point_file.unlink()
    count = raised(service, point) - before
    run.injections += count - 1  # fault() has counted one
    run.expect(count, f"{point} was not reached in {REACHED_SECONDS:g} s")
    with run.recovering():
        pass
    seconds = run.recoveries[-1]
    if seconds > LONGEST_RECOVERY_SECONDS:
        run.expect(False, f"{seconds:.1f} s until a call went through after {point}")


def raised(service: Service, point: str) -> int:
    return len(re.findall(rf"^raising at {point}$", service.output, re.MULTILINE))
