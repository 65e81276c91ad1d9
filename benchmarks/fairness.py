"""How long healthy targets wait while others are down, hang, are slow, or come back."""

import json
import random
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.backlog import store_calls
from benchmarks.probing import Fault, Plan, Return, Window
from benchmarks.processes import Child, wait_until
from benchmarks.service import Place, Service, Subject
from benchmarks.stage import Stage
from benchmarks.store import FAIRNESS, Figures, Store
from tests.support.children import free_port

RATE = 200.0
MANY_ORIGINS = 200
SLOW_SECONDS = 30.0
# The default of FORWARD_TIMEOUT_SECONDS, which all of it is measured with.
TIMEOUT_SECONDS = 60.0
NEIGHBOUR_SECONDS = 0.5
RECOVERED_SECONDS = 0.05
# The default of REQUEUE_FAILED_AFTER_MILLISECONDS.
RETRY_SECONDS = 5.0
RECOVERY = "recovery"
_SETTINGS = {"SHUTDOWN_TIMEOUT_SECONDS": "1"}
_LISTEN_SECONDS = 20.0
# Until a probe is given up that should have ended.
_LATE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is done.

    Attributes:
        warm_up, alone: seconds of healthy calls alone, not timed and timed.
        beside: seconds that are timed beside the trouble.
        late: whether the trouble goes on until attempts end, at their deadline or by
            a slow answer, which is timed too.
        patience: seconds that calls are waited for at the end.
        waiting: how many hanging calls lie in the queue.
        neighbour: how many calls of a slow origin do.
        returning: how many calls of an origin that comes back do.
        dead: seconds that it is down at least, while mspc runs.
        recovery: seconds that they are waited for.
    """

    warm_up: float = 1.0
    alone: float = 3.0
    beside: float = 6.0
    late: bool = True
    patience: float = 10.0
    waiting: tuple[int, ...] = (100_000, 1_000_000)
    neighbour: int = 20_000
    returning: int = 10_000
    dead: float = 9.0
    recovery: float = 60.0

    def at_first(self) -> Window:
        return Window(0.0, self.beside)

    def around(self, second: float) -> Window:
        """The same time, from shortly before something happens."""
        return Window(second - self.beside / 3, second + self.beside * 2 / 3)


Rows = Iterator[tuple[str, Figures]]


def down(stage: Stage, subject: Subject, scope: Scope) -> Rows:
    plan = _plan(scope, "down")
    yield "down", _figures(_in_turn(stage, subject, plan))


def hang(stage: Stage, subject: Subject, scope: Scope) -> Rows:
    yield "hang", _figures(_in_turn(stage, subject, _plan(scope, "hang")))


def timeouts(stage: Stage, subject: Subject, scope: Scope) -> Rows:
    """The same for longer: around the first end of an attempt."""
    if scope.late:
        window = scope.around(TIMEOUT_SECONDS)
        plan = replace(_plan(scope, "hang"), window=window)
        yield "timeouts", _figures(_in_turn(stage, subject, plan))


def origins(stage: Stage, subject: Subject, scope: Scope) -> Rows:
    plan = _plan(scope, "hang", MANY_ORIGINS)
    yield "origins", _figures(_in_turn(stage, subject, plan))


def slow(stage: Stage, subject: Subject, scope: Scope) -> Rows:
    plan = replace(_plan(scope, "slow"), answers_after=SLOW_SECONDS)
    if scope.late:
        plan = replace(plan, window=scope.around(SLOW_SECONDS))
    yield "slow", _figures(_in_turn(stage, subject, plan))


def neighbour(stage: Stage, subject: Subject, scope: Scope) -> Rows:
    plan = _plan(scope, "slow")
    plan = replace(plan, answers_after=NEIGHBOUR_SECONDS, posted=False)
    with _made(stage, subject) as place:
        origin = _origin(plan.ports[0])
        store_calls(stage, place, scope.neighbour, origin, answers=True)
        yield "neighbour", _beside_stored(stage, subject, place, plan)


def waiting(stage: Stage, subject: Subject, scope: Scope, rounds: int) -> Rows:
    """All rounds, on one queue that grows: what hangs stays in it."""
    plan = _plan(scope, "hang")
    filled = 0
    with _made(stage, subject) as place:
        for size in scope.waiting:
            stage.say(f"  storing {size - filled:,} calls")
            store_calls(stage, place, size - filled, _origin(plan.ports[0]))
            filled = size
            for _ in range(rounds):
                figures = _beside_stored(stage, subject, place, plan)
                yield f"waiting-{size}", figures


def recovery(stage: Stage, subject: Subject, scope: Scope) -> Rows:
    port = free_port()
    # It does not come back in step with mspc's looking for it.
    dead = scope.dead + random.uniform(0.0, RETRY_SECONDS)
    plan = Return(port, scope.returning, dead, RECOVERED_SECONDS, scope.recovery)
    with _made(stage, subject) as place:
        store_calls(stage, place, scope.returning, _origin(port))
        with Service(subject, place):
            child = _probe(stage, "recovery", plan.as_json())
            yield RECOVERY, _result(child, plan.dead + plan.patience)


Case = Callable[[Stage, Subject, Scope], Rows]
_CASES: dict[str, Case] = {
    "down": down,
    "hang": hang,
    "timeouts": timeouts,
    "origins": origins,
    "slow": slow,
    "neighbour": neighbour,
    "recovery": recovery,
}
CASES = (*_CASES, "waiting")


_TITLES = {
    "down": "half are refused a connection",
    "hang": "half hang",
    "timeouts": f"half hang, when attempts end after {TIMEOUT_SECONDS:.0f} s",
    "waiting": "half hang, {size:,} of them waiting",
    "origins": f"half go to {MANY_ORIGINS} origins that hang",
    "slow": f"half are answered after {SLOW_SECONDS:.0f} s",
    "neighbour": f"a backlog of an origin that takes {NEIGHBOUR_SECONDS:g} s a call",
    RECOVERY: "an origin that was down comes back",
}


def run(stage: Stage, subject: Subject, scope: Scope, case: str, rounds: int) -> Rows:
    """Each round of one of CASES: the name of what was timed, and its figures."""
    if case == "waiting":
        yield from waiting(stage, subject, scope, rounds)
        return
    for _ in range(rounds):
        yield from _CASES[case](stage, subject, scope)


def title(name: str) -> str:
    """What the calls that are not healthy meet, for people to read."""
    kind, _, size = name.partition("-")
    return _TITLES[kind].format(size=int(size or 0))


def known(name: str) -> bool:
    return name.partition("-")[0] in _TITLES


def measured(store: Store, queue: str) -> list[str]:
    """The names that a queue has results of, in the order of a table."""
    found = (name.split(" ", 1) for name in store.names(FAIRNESS))
    mine = (name for subject, name in found if subject == f"mspc-{queue}")
    return sorted(filter(known, mine), key=order)


def order(name: str) -> tuple[int, int]:
    """Where a name stands in a table."""
    kind, _, size = name.partition("-")
    return [*_TITLES].index(kind), int(size or 0)


def _plan(scope: Scope, fault: Fault, count: int = 1) -> Plan:
    """For a service that is given its address later."""
    return Plan(
        "",
        RATE,
        scope.warm_up,
        scope.alone,
        scope.at_first(),
        scope.patience,
        fault,
        tuple(free_port() for _ in range(count)),
    )


def _origin(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _in_turn(stage: Stage, subject: Subject, plan: Plan) -> dict[str, Any]:
    """The healthy calls alone, then the trouble, in one process of mspc."""
    with stage.place(subject, _SETTINGS) as place:
        return _run(stage, subject, place, plan)


def _beside_stored(stage: Stage, subject: Subject, place: Place, plan: Plan) -> Figures:
    """What is stored is there from the start: alone they are in another process."""
    alone = replace(plan, window=Window(0.0, 0.0), fault="none", ports=())
    first = _in_turn(stage, subject, alone)
    found = _run(stage, subject, place, replace(plan, alone=0.0))
    return _figures(found | {"alone": first["alone"]})


def _run(stage: Stage, subject: Subject, place: Place, plan: Plan) -> dict[str, Any]:
    """The origins first: nothing is refused that should hang."""
    service = Service(subject, place)
    plan = replace(plan, url=service.url)
    child = _probe(stage, "probe", plan.as_json())
    try:
        wait_until(lambda: _listens(child, plan), _LISTEN_SECONDS, "the probe listens")
        with service:
            seconds = plan.warm_up + plan.alone + plan.window.end
            return _result(child, seconds + plan.patience)
    finally:
        child.stop()


@contextmanager
def _made(stage: Stage, subject: Subject) -> Iterator[Place]:
    """An empty queue that mspc has made and left."""
    with stage.place(subject, _SETTINGS) as place:
        with Service(subject, place):
            pass
        yield place


def _listens(child: Child, plan: Plan) -> bool:
    child.check()
    if plan.fault in ("none", "down"):
        return True
    try:
        socket.create_connection(("127.0.0.1", plan.ports[-1]), 1).close()
    except OSError:
        return False
    return True


def _probe(stage: Stage, module: str, plan: str) -> Child:
    command = [sys.executable, "-m", f"benchmarks.{module}", plan]
    return Child(command, stage.directory / f"{module}.log")


def _result(child: Child, seconds: float) -> dict[str, Any]:
    try:
        output = child.finish(seconds + _LATE_SECONDS)
    finally:
        child.stop()
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def _figures(found: dict[str, Any]) -> Figures:
    beside, alone = found["beside"], found["alone"]
    return {
        "alone_p50_ms": alone["p50"],
        "alone_p99_ms": alone["p99"],
        "p50_ms": beside["p50"],
        "p99_ms": beside["p99"],
        **{name: found[name] for name in ("healthy", "missing", "twice")},
    }
