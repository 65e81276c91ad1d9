"""The journal: whatever becomes of it, calls go on, and it says nothing false."""

import http.client
import json
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gevent

from tests.faults.checker import Sent
from tests.faults.ledger import fail_first
from tests.faults.load import Load
from tests.faults.rows import CLASSIC, QUORUM, SQLITE, Run, Service, in_flight, row
from tests.faults.rows.broker import said
from tests.faults.rows.crashes import waited

# What the journal was told so long before a kill may be missing after it.
LAST_SECONDS = 1.0
OPEN = ("queued", "waiting", "in_flight")
# RabbitMQ cannot be asked what it has of a call: what ended in the last moments before
# a kill is told as perhaps open, and as perhaps ended.
CUT_OFF = "cut off"
KNOWN = (*OPEN, "succeeded")
KNOWN_SECONDS = 10.0
WAITING_SECONDS = 6.0


class Door:
    """The operators' door of a service, on one connection."""

    def __init__(self, service: Service) -> None:
        key = (service.data_dir / "admin.key").read_text().strip()
        self._headers = {"Authorization": f"Bearer {key}"}
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", service.admin_port, timeout=30
        )

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def state(self, run: Run, call_id: str) -> str | None:
        """Of a call of the load, CUT_OFF for one that is said to have ended perhaps;
        None when the journal does not know it.
        """
        status, told = self.get(f"/v1/calls/{run.log.known_as[call_id]}")
        if status == 404:
            return None
        return state_of(told) if status == 200 else f"no answer but {status}"

    def states(self) -> dict[str, tuple[float, str]]:
        """Of all calls that it lists, by id, each with when it was asked."""
        found: dict[str, tuple[float, str]] = {}
        cursor = ""
        while True:
            asked = time.monotonic()
            status, told = self.get(f"/v1/calls?limit=1000{cursor}")
            if status != 200:
                return found  # those that are missing are asked for one by one
            found |= {one["id"]: (asked, state_of(one)) for one in told["calls"]}
            if told["next_cursor"] is None:
                return found
            cursor = f"&cursor={told['next_cursor']}"


def state_of(told: Mapping[str, Any]) -> str:
    return CUT_OFF if told["cut_off_at"] is not None else str(told["state"])


def stats(service: Service) -> Any:
    with Door(service) as door:
        status, told = door.get("/v1/stats")
    return told if status == 200 else {"scope": f"no answer but {status}"}


@contextmanager
def going_on(run: Run, load: Load, when: str) -> Iterator[None]:
    """Expects that in the block calls are accepted, soon, and as many are made."""
    begin, sent, made = time.monotonic(), load.sent, len(run.ledger.delivered)
    yield
    sent, made = load.sent - sent, len(run.ledger.delivered) - made
    refused = [one for one in said(run, begin, time.monotonic()) if one.status != 202]
    run.expect(not refused, f"{when} {len(refused)} calls were not accepted")
    run.expect(made >= 0.8 * sent, f"{when} {made} of {sent} calls were made")


def delayed(call_id: str) -> Mapping[str, object]:
    """One call in five waits before its first attempt."""
    return {"delay": 3.0} if zlib.crc32(call_id.encode()) % 5 == 0 else {}


@row(
    61,
    "kill -9 again and again: what the journal says after each",
    queues=(SQLITE, CLASSIC, QUORUM),
    bound=in_flight,
)
def kills(run: Run) -> None:
    """Nothing is lost, and a second after each start the journal says nothing false.

    On RabbitMQ it may say of what ended just before a kill, and of that alone, that it
    is open or has ended: nobody can look it up there.
    """
    run.ledger.behave(fail_first(1, every=3))
    service = run.service()
    load = run.load(rate=60, properties=delayed)
    at: list[float] = []
    counts: Counter[str] = Counter()
    for _ in range(3 if run.quick else 12):
        gevent.sleep(run.random.uniform(1.5, 3.0))
        at.append(time.monotonic())
        service.kill()
        run.injected()
        with run.recovering():
            service.restart()
        gevent.sleep(1)
        counts += look(run, service, at)
    load.stop()
    run.drain()
    gevent.sleep(1)
    last = look(run, service, at)
    run.remark(f"after the kills it said: {told(counts)}; at the end: {told(last)}")
    still = sum(last[state] for state in OPEN)
    run.expect(not still, f"at the end {still} calls are open that nobody makes")
    if run.queue == SQLITE:
        run.expect(not counts[CUT_OFF], f"{counts[CUT_OFF]} calls are {CUT_OFF}")


def told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def look(run: Run, service: Service, kills: Sequence[float]) -> Counter[str]:
    """Asks for every promised call; how many are in each state."""
    said: dict[str, tuple[float, str | None]] = {}
    promised = sorted(run.log.known_as.items())
    with Door(service) as door:
        # One by one alone, there would be more of them each time than were asked for.
        listed = door.states()
        for call_id, known_as in promised:
            found = listed.get(known_as)
            said[call_id] = found or (time.monotonic(), door.state(run, call_id))
    delivered = delivered_at(run)  # not before: what it says now must be true by now
    wrong = [
        f"{call_id} {problem}"
        for call_id, (asked, state) in said.items()
        if (
            problem := lie(
                state, run.log.sent[call_id], delivered.get(call_id), kills, asked
            )
        )
    ]
    some = ", ".join(wrong[:5])
    run.expect(not wrong, f"after kill {len(kills)} {len(wrong)} false: {some}")
    return Counter(state or "unknown" for _, state in said.values())


def delivered_at(run: Run) -> dict[str, float]:
    """When each call was answered 2xx first."""
    return {hit.id: hit.ended for hit in reversed(run.ledger.hits) if hit.succeeded}


def lie(
    state: str | None,
    sent: Sent,
    delivered: float | None,
    kills: Sequence[float],
    asked: float,
) -> str | None:
    """What is false in it; None when nothing is.

    Args:
        state: what the journal says; None when it does not know the call.
        sent: the call, as its client knows it.
        delivered: when it was answered 2xx first; None when it was not.
        kills: when mspc was killed.
        asked: when the journal was asked. All times are `time.monotonic()`.
    """
    if state is None:
        accepted = sent.at + sent.seconds
        return None if lost(accepted, kills) else "is unknown"
    if state == "succeeded":
        return "has not succeeded" if delivered is None else None
    if state not in (*OPEN, CUT_OFF):
        return f"is told as {state}"
    if delivered is None or delivered > asked - LAST_SECONDS:
        return None
    if state == CUT_OFF and lost(delivered, kills):
        return None
    return f"is told as {state}, delivered {asked - delivered:.1f} s before"


def lost(at: float, kills: Sequence[float]) -> bool:
    """Whether mspc was killed so soon after `at` that nobody had written it down."""
    return any(at <= kill + 0.2 and kill <= at + LAST_SECONDS for kill in kills)


@row(
    62,
    "journal.db damaged while mspc is down",
    queues=(SQLITE, QUORUM),
    bound=in_flight,
)
def damaged_journal(run: Run) -> None:
    """It is set aside with a line in the log; calls and the door go on."""
    run.ledger.behave(fail_first(1, every=10))
    service = run.service()
    file = service.data_dir / "journal.db"
    aside = file.with_name("journal.db.damaged")
    for kind, damage in DAMAGES.items():
        load = run.load(rate=100, count=200)
        load.join()
        waiting = run.post(properties={"delay": WAITING_SECONDS})
        aside.unlink(missing_ok=True)
        with run.recovering(), run.fault(settles_within=5):
            service.kill()
            lines = len(service.output.splitlines())
            damage(run, file)
            service.start()
        set_aside(run, service, aside, kind, lines)
        knows(run, service, waiting.id, kind)
        knows(run, service, run.post().id, kind)
    run.drain()
    refused = len(run.log.ids("unknown"))
    run.remark(f"{', '.join(DAMAGES)}; {refused} calls unknown, all from the kills")


def overwritten(run: Run, file: Path) -> None:
    """The middle half, and what the WAL has is brought in before: it mends nothing."""
    _without_wal(file)
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(size // 4)
        opened.write(run.random.randbytes(size // 2))


def truncated(run: Run, file: Path) -> None:
    _without_wal(file)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def garbage(run: Run, file: Path) -> None:
    _without_wal(file)
    file.write_bytes(run.random.randbytes(file.stat().st_size))


def _without_wal(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


DAMAGES: dict[str, Callable[[Run, Path], None]] = {
    "overwritten": overwritten,
    "truncated": truncated,
    "garbage": garbage,
}


def set_aside(run: Run, service: Service, aside: Path, kind: str, lines: int) -> None:
    printed = "".join(service.output.splitlines(keepends=True)[lines:])
    run.expect("journal.db was damaged: " in printed, f"{kind}: the log says nothing")
    run.expect(aside.exists(), f"{kind}: the damaged file was not kept")
    health = service.get("/health/ready")
    run.expect(health.status == 200, f"{kind}: /health/ready is {health.status}")


def knows(run: Run, service: Service, call_id: str, when: str) -> None:
    """Expects that the journal tells of a call soon."""
    with Door(service) as door:
        known = waited(lambda: door.state(run, call_id) in KNOWN, KNOWN_SECONDS)
        run.expect(known, f"{when}: {call_id} is {door.state(run, call_id)}")
