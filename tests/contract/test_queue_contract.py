"""What every queue promises, shown on each of them."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.queues.base import Queue
from mspc.queues.opening import open_queue
from mspc.queues.spooled import SpooledQueue
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.settings.config import AmqpConfig, SqliteConfig
from tests.support.memory import MemoryQueue, MemoryStore
from tests.support.opened import Opened
from tests.support.rabbitmq import Broker

DELAY_SECONDS = 0.4


BACKENDS = [
    "memory",
    "sqlite",
    "spooled",
    "amqp-classic",
    "amqp-quorum",
    "spooled-amqp",
]


@dataclass(frozen=True, slots=True)
class Grave:
    """A dead letter, as somebody finds it who looks."""

    id: str
    attempts: int
    last_error: str
    reason: str
    died_at: float


class MoodyQueue(MemoryQueue):
    """Refuses every other call the first time, so that half of them are spooled."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._seen: dict[str, int] = {}

    def put(self, call: Call, delay: float = 0.0) -> None:
        first = call.id not in self._seen
        number = self._seen.setdefault(call.id, len(self._seen))
        if first and number % 2 == 0:
            raise QueueUnavailable("Not now.")
        super().put(call, delay)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def make(
    request: pytest.FixtureRequest, backend: str, store: MemoryStore, tmp_path: Path
) -> Callable[[], Queue]:
    """Makes a queue, again and again on the same store."""
    if backend == "memory":
        return lambda: MemoryQueue(store)
    if backend == "sqlite":
        return lambda: open_queue(SqliteConfig(tmp_path / "queue.db"))
    if backend == "spooled":
        spool = SqliteConfig(tmp_path / "spool.db")
        return lambda: SpooledQueue(MoodyQueue(store), SqliteQueue(spool))
    broker: Broker = request.getfixturevalue("rabbitmq")
    config = AmqpConfig(
        hosts=((broker.host, broker.port),),
        name=request.getfixturevalue("queue_name"),
        queue_type="quorum" if backend == "amqp-quorum" else "classic",
        prefetch=20,
        spool=tmp_path / "spool.db" if backend == "spooled-amqp" else None,
    )
    return lambda: open_queue(config)


@pytest.fixture
def graves(
    request: pytest.FixtureRequest, backend: str, store: MemoryStore, tmp_path: Path
) -> Callable[[], list[Grave]]:
    """Reads the dead letters of a queue that is closed, in no order."""
    if backend in ("memory", "spooled"):
        return lambda: [
            Grave(call.id, call.attempts, call.last_error, reason, died_at)
            for (call, reason), died_at in zip(store.dead, store.died_at, strict=True)
        ]
    if backend == "sqlite":
        return lambda: _graves_in(tmp_path / "queue.db")
    broker: Broker = request.getfixturevalue("rabbitmq")
    dead = f"{request.getfixturevalue('queue_name')}.dead"
    return lambda: _graves_on(broker, dead)


def _graves_in(file: Path) -> list[Grave]:
    with closing(sqlite3.connect(file)) as db:
        rows = db.execute("SELECT id, attempts, last_error, reason, died_at FROM dead")
        return [Grave(*row) for row in rows]


def _graves_on(broker: Broker, queue: str) -> list[Grave]:
    found = []
    while (message := broker.take(queue)) is not None:
        told = message.properties["headers"]
        found.append(
            Grave(
                id=message.message_id or "",
                attempts=told["x-mspc-attempts"],
                last_error=told["x-mspc-error"],
                reason=told["x-mspc-reason"],
                died_at=told["x-mspc-died-ms"] / 1000,
            )
        )
    return found


@pytest.fixture
def reopen(make: Callable[[], Queue]) -> Iterator[Callable[[], Opened]]:
    """Opens the queue; closes the one opened before."""
    opened: list[Opened] = []

    def again() -> Opened:
        if opened:
            opened[-1].close()
        opened.append(Opened(make()))
        return opened[-1]

    yield again
    if opened:
        opened[-1].close()


@pytest.fixture
def opened(reopen: Callable[[], Opened]) -> Opened:
    return reopen()


@pytest.mark.parametrize(
    "payload",
    [
        b'{"url": "http://a/"}',
        bytes(range(256)),
        "žluťoučký 🐎".encode(),
        b"x" * 300_000,
    ],
    ids=["json", "every byte", "utf-8", "several frames"],
)
def test_a_call_is_delivered_as_it_was_put(opened: Opened, payload: bytes) -> None:
    call = Call(payload)
    opened.queue.put(call)
    delivered = opened.take().call
    assert delivered.payload == payload
    assert delivered.id == call.id
    assert delivered.accepted_at == pytest.approx(call.accepted_at, abs=0.001)
    assert delivered.attempts == 0


def test_calls_are_delivered_once_each(opened: Opened) -> None:
    calls = [Call(str(number).encode()) for number in range(500)]
    Pool(50).map(opened.queue.put, calls)
    ids = []
    for _ in calls:
        delivery = opened.take()
        ids.append(delivery.call.id)
        delivery.ack()
    assert sorted(ids) == sorted(call.id for call in calls)
    opened.expect_nothing()


def test_an_acknowledged_call_is_forgotten(reopen: Callable[[], Opened]) -> None:
    opened = reopen()
    opened.queue.put(Call(b"done"))
    opened.take().ack()
    reopen().expect_nothing()


def test_an_unsettled_call_comes_back(reopen: Callable[[], Opened]) -> None:
    opened = reopen()
    call = Call(b"in flight")
    opened.queue.put(call)
    opened.take()
    again = reopen().take()
    assert again.call.id == call.id
    again.ack()


def test_a_call_that_nobody_took_comes_back(reopen: Callable[[], Opened]) -> None:
    opened = reopen()
    opened.queue.cancel()
    call = Call(b"nobody was there")
    opened.queue.put(call)
    assert reopen().take().call.id == call.id


def test_a_failed_call_comes_again_but_not_early(opened: Opened) -> None:
    call = Call(b"later")
    opened.queue.put(call)
    for attempt in (1, 2, 3):
        delivery = opened.take()
        assert delivery.call.attempts == attempt - 1
        failed_at = time.monotonic()
        delivery.retry(delivery.call.next_attempt(f"no. {attempt}"), DELAY_SECONDS)
    delivery = opened.take()
    assert time.monotonic() - failed_at >= DELAY_SECONDS
    assert delivery.call.id == call.id
    assert delivery.call.attempts == 3
    assert delivery.call.last_error == "no. 3"
    delivery.ack()
    opened.expect_nothing()


def test_a_new_call_may_wait_for_its_first_attempt(opened: Opened) -> None:
    """It comes late enough; or at once and says so, when nobody could let it wait."""
    calls: set[str] = set()
    put_at = time.monotonic()
    for number in range(4):  # some of them through the spool
        call = Call(str(number).encode(), accepted_at=1000.0)
        calls.add(call.id)
        opened.queue.put(call, DELAY_SECONDS)
    waited = 0
    while calls:
        delivery = opened.take()
        if delivery.call.waited:
            assert time.monotonic() - put_at >= DELAY_SECONDS
            waited += 1
            assert delivery.call.attempts == 0
            assert delivery.call.accepted_at == 1000.0
            calls.remove(delivery.call.id)
            delivery.ack()
        else:
            delivery.retry(delivery.call, DELAY_SECONDS)
    assert waited == 4
    opened.expect_nothing()


def test_a_new_call_that_waits_survives_a_restart(
    reopen: Callable[[], Opened], backend: str
) -> None:
    opened = reopen()
    put_at = time.monotonic()
    large = Call(b"x" * 100_000)
    opened.queue.put(large, 1.0)
    reopened = reopen()
    while not (delivery := reopened.take()).call.waited:
        assert "spooled" in backend
        delivery.retry(delivery.call, 1.0 + put_at - time.monotonic())
    assert time.monotonic() - put_at >= 1.0
    assert (delivery.call.id, delivery.call.payload) == (large.id, large.payload)


def test_a_long_wait_does_not_hold_up_a_short_one(opened: Opened) -> None:
    for _ in range(30):
        opened.queue.put(Call(b"long"), 3.9)
    for _ in range(30):
        opened.queue.put(Call(b"short"), 2.0)
    put_at = time.monotonic()
    for _ in range(60):
        delivery = opened.take()
        if delivery.call.waited and delivery.call.payload == b"short":
            break
        delivery.retry(delivery.call, 2.0)
    assert time.monotonic() - put_at < 3.5


def test_waiting_survives_a_restart(reopen: Callable[[], Opened]) -> None:
    opened = reopen()
    opened.queue.put(Call(b"later"))
    delivery = opened.take()
    failed_at = time.monotonic()
    delivery.retry(delivery.call.next_attempt("no"), 1.0)
    delivery = reopen().take()
    assert time.monotonic() - failed_at >= 1.0
    assert delivery.call.attempts == 1


def test_a_short_wait_does_not_queue_behind_a_long_one(opened: Opened) -> None:
    for payload in (b"long", b"longer", b"short"):
        opened.queue.put(Call(payload))
    delays = {b"long": 40.0, b"longer": 300.0, b"short": DELAY_SECONDS}
    for _ in delays:
        delivery = opened.take()
        delay = delays[delivery.call.payload]
        delivery.retry(delivery.call.next_attempt("no"), delay)
    assert opened.take().call.payload == b"short"
    opened.expect_nothing()


def test_more_calls_wait_than_a_window_holds(opened: Opened) -> None:
    for number in range(100):
        opened.queue.put(Call(str(number).encode()))
        delivery = opened.take()
        delivery.retry(delivery.call.next_attempt("no"), DELAY_SECONDS)
    # New calls pass those that wait.
    opened.queue.put(Call(b"new"))
    again: list[bytes] = []
    while len(again) < 101:
        delivery = opened.take()
        again.append(delivery.call.payload)
        delivery.ack()
    assert sorted(again) == sorted([b"new", *(str(n).encode() for n in range(100))])


def test_a_dead_letter_is_not_delivered(reopen: Callable[[], Opened]) -> None:
    opened = reopen()
    opened.queue.put(Call(b"poison"))
    delivery = opened.take()
    delivery.bury(delivery.call, "cannot be sent")
    opened.expect_nothing()
    reopen().expect_nothing()


@pytest.mark.parametrize(
    ("failed_before", "payload"),
    [(0, b"once"), (0, b"x" * 300_000), (2, b"thrice"), (2, b"y" * 20_000)],
    ids=["first attempt", "first, large", "retried", "retried, large"],
)
def test_a_dead_letter_tells_how_it_died(
    reopen: Callable[[], Opened],
    graves: Callable[[], list[Grave]],
    failed_before: int,
    payload: bytes,
) -> None:
    opened = reopen()
    call = Call(payload)
    opened.queue.put(call)
    for number in range(failed_before):
        delivery = opened.take()
        delivery.retry(delivery.call.next_attempt(f"no. {number}"), 0.05)
    delivery = opened.take()
    before = time.time()
    delivery.bury(delivery.call.next_attempt("500"), "requeue is false")
    after = time.time()
    opened.close()
    (grave,) = graves()
    assert grave.id == call.id
    assert grave.attempts == failed_before + 1
    assert grave.last_error == "500"
    assert grave.reason == "requeue is false"
    assert before - 0.001 <= grave.died_at <= after + 0.001


def test_a_waiting_call_can_become_a_dead_letter(reopen: Callable[[], Opened]) -> None:
    opened = reopen()
    opened.queue.put(Call(b"poison"))
    delivery = opened.take()
    delivery.retry(delivery.call.next_attempt("no"), 0.05)
    delivery = opened.take()
    delivery.bury(delivery.call, "cannot be sent")
    reopen().expect_nothing()


def test_settling_twice_does_nothing(opened: Opened) -> None:
    opened.queue.put(Call(b"once"))
    delivery = opened.take()
    delivery.ack()
    delivery.ack()
    delivery.retry(delivery.call.next_attempt("no"), 0.05)
    delivery.bury(delivery.call, "no")
    opened.expect_nothing()
    opened.queue.put(Call(b"still works"))
    assert opened.take().call.payload == b"still works"


def test_cancel_ends_deliveries_and_lets_what_is_lent_be_settled(
    reopen: Callable[[], Opened],
) -> None:
    opened = reopen()
    opened.queue.put(Call(b"in flight"))
    opened.queue.put(Call(b"failing"))
    first, second = opened.take(), opened.take()
    opened.queue.cancel()
    opened.collector.join(timeout=5)
    assert opened.collector.dead
    first.ack()
    second.retry(second.call.next_attempt("no"), 0.05)
    again = reopen()
    delivery = again.take()
    assert delivery.call.payload == second.call.payload
    assert delivery.call.attempts == 1
    again.expect_nothing()


def test_closed_twice_or_never_opened(make: Callable[[], Queue]) -> None:
    make().close()
    opened = Opened(make())
    opened.close()
    opened.close()
    with pytest.raises(QueueUnavailable):
        opened.queue.put(Call(b"too late"))
    assert opened.queue.problem()
