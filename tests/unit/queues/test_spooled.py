"""What the broker cannot take waits in the spool, and nothing of it is lost."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from mspc.calls.call import Call
from mspc.errors import MspcError, QueueFailed, QueueUnavailable
from mspc.lanes.lanes import Lanes
from mspc.queues import spooled
from mspc.queues.amqp.confirms import Rejected
from mspc.queues.amqp.largest import TooLarge
from mspc.queues.spooled import SpooledQueue
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.settings.config import SqliteConfig
from tests.support.memory import MemoryDelivery, MemoryQueue, MemoryStore
from tests.support.waiting import eventually

AWAY = "The broker is away."


class Broker(MemoryQueue):
    """A broker in memory that remembers what it was given.

    Attributes:
        given: the calls it took, in order.
        raises: raised by put, one each time it is called.
        go: set unless put shall not return.
        largest: the bytes of the largest call that it takes.
        full: how the payloads of a queue begin that is full.
    """

    largest = 1000
    full = b""

    def __init__(self, store: MemoryStore | None = None) -> None:
        super().__init__(store)
        self.given: list[Call] = []
        self.raises: list[Exception] = []
        self.putting = 0
        self.go = Event()
        self.go.set()

    def put(self, call: Call, delay: float = 0.0) -> None:
        if self.raises:
            raise self.raises.pop(0)
        if len(call.payload) > self.largest:
            raise TooLarge("too large")
        if self.full and call.payload.startswith(self.full):
            raise Rejected("full")
        self.putting += 1
        try:
            self.go.wait()
        finally:
            self.putting -= 1
        super().put(call)
        self.given.append(call)


class Spool(SqliteQueue):
    """The real one, with a disk that may be full or fail.

    Attributes:
        refuses: raised by put.
    """

    refuses: MspcError | None = None

    def put(self, call: Call, delay: float = 0.0) -> None:
        if self.refuses is not None:
            raise self.refuses
        super().put(call)

    def problem(self) -> str | None:
        return str(self.refuses) if self.refuses else super().problem()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooled, "MOVE_AGAIN_SECONDS", 0.01)


@pytest.fixture
def broker() -> Broker:
    return Broker()


Open = Callable[[], SpooledQueue]
Lines = Callable[[], list[tuple[int, str]]]


@pytest.fixture
def spools() -> list[Spool]:
    """Every spool opened so far, on the same file."""
    return []


@pytest.fixture
def open_again(broker: Broker, spools: list[Spool], tmp_path: Path) -> Iterator[Open]:
    """Opens the queue; closes the one opened before. The broker is always the same."""
    opened: list[SpooledQueue] = []

    def again() -> SpooledQueue:
        if opened:
            opened[-1].close()
        spools.append(Spool(SqliteConfig(tmp_path / "spool.db")))
        opened.append(SpooledQueue(broker, spools[-1]))
        opened[-1].start(lambda error: None)
        eventually(lambda: spools[-1].problem() is None)  # its file was checked
        return opened[-1]

    yield again
    broker.go.set()
    if opened:
        opened[-1].close()


@pytest.fixture
def queue(open_again: Open) -> SpooledQueue:
    return open_again()


@pytest.fixture
def spool(queue: SpooledQueue, spools: list[Spool]) -> Spool:
    return spools[-1]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What the spooled queue logged: level and text."""
    caplog.set_level(logging.INFO)
    return lambda: [
        (one.levelno, one.getMessage())
        for one in caplog.records
        if one.name == spooled.__name__
    ]


class TestPut:
    def test_goes_to_the_broker_when_it_is_there(
        self, queue: SpooledQueue, broker: Broker, spool: Spool
    ) -> None:
        call = Call(b"direct")
        queue.put(call)
        assert broker.given == [call]
        assert spool.size() == 0

    def test_is_accepted_while_the_broker_is_away(
        self, queue: SpooledQueue, broker: Broker, spool: Spool
    ) -> None:
        broker.broken = AWAY
        queue.put(Call(b"spooled"))
        assert spool.size() == 1
        assert broker.given == []

    @pytest.mark.parametrize(
        "refusal",
        [QueueUnavailable("The disk is nearly full."), QueueFailed("A failed fsync.")],
    )
    def test_is_refused_when_the_spool_cannot_either(
        self, queue: SpooledQueue, broker: Broker, spool: Spool, refusal: MspcError
    ) -> None:
        broker.broken = AWAY
        spool.refuses = refusal
        with pytest.raises(type(refusal)) as caught:
            queue.put(Call(b"refused"))
        assert caught.value is refusal
        assert queue.remark() is None

    def test_a_full_spool_does_not_matter_while_the_broker_is_there(
        self, queue: SpooledQueue, broker: Broker, spool: Spool
    ) -> None:
        spool.refuses = QueueUnavailable("The disk is nearly full.")
        queue.put(Call(b"direct"))
        assert len(broker.given) == 1
        assert queue.problem() is None


class TestMoving:
    def test_everything_once_and_as_it_was(
        self, queue: SpooledQueue, broker: Broker, spool: Spool
    ) -> None:
        broker.broken = AWAY
        calls = [
            Call(str(n).encode(), f"id {n}", 1000.5 + n, attempts=n, last_error=f"e{n}")
            for n in range(250)  # more than are moved at once
        ]
        for call in calls:
            queue.put(call)
        assert spool.size() == len(calls)
        broker.broken = ""
        eventually(lambda: spool.size() == 0)
        assert sorted(broker.given, key=lambda one: one.attempts) == calls

    def test_what_was_altered_in_the_spool_stays_there(
        self, queue: SpooledQueue, broker: Broker
    ) -> None:
        kept = MemoryQueue()
        lent = MemoryDelivery(kept, 1, Call(b"x"), Lanes(1).of("a"))
        lent.damage = "damaged in the file: altered"
        assert queue._moved(lent, number=1)
        assert broker.given == []
        assert kept.store.dead == [(lent.call, lent.damage)]

    def test_what_was_moved_is_delivered(
        self, queue: SpooledQueue, broker: Broker, spool: Spool
    ) -> None:
        broker.broken = AWAY
        call = Call(b"late")
        queue.put(call)
        broker.broken = ""
        assert next(iter(queue.deliveries())).call == call

    def test_goes_on_though_the_broker_goes_away_again(
        self, queue: SpooledQueue, broker: Broker, spool: Spool
    ) -> None:
        broker.broken = AWAY
        calls = [Call(str(n).encode()) for n in range(5)]
        for call in calls:
            queue.put(call)
        broker.raises = [QueueUnavailable("away again") for _ in range(12)]
        broker.broken = ""
        eventually(lambda: spool.size() == 0)
        assert {call.id for call in broker.given} == {call.id for call in calls}
        assert len(broker.given) == len(calls)

    def test_survives_a_bug_in_the_broker(
        self, queue: SpooledQueue, broker: Broker, spool: Spool, lines: Lines
    ) -> None:
        broker.broken = AWAY
        call = Call(b"unlucky")
        queue.put(call)
        broker.raises = [ZeroDivisionError("a bug"), ValueError("another")]
        eventually(lambda: not broker.raises)
        broker.broken = ""
        eventually(lambda: spool.size() == 0)
        assert broker.given == [call]
        assert lines().count((logging.ERROR, f"{call.id} stays in the spool for now"))

    @pytest.mark.parametrize(
        ("seconds", "limits", "lifted", "payload"),
        [
            ("BELIEVED_SECONDS", {}, {"largest": 2000}, b"x" * 2000),
            ("REJECTED_SECONDS", {"full": b"full"}, {"full": b""}, b"full"),
        ],
        ids=["too large", "of a full queue"],
    )
    def test_what_is_refused_keeps_nothing_else(
        self,
        queue: SpooledQueue,
        broker: Broker,
        spool: Spool,
        monkeypatch: pytest.MonkeyPatch,
        seconds: str,
        limits: dict[str, Any],
        lifted: dict[str, Any],
        payload: bytes,
    ) -> None:
        monkeypatch.setattr(spooled, seconds, 0.2)
        vars(broker).update(limits)
        refused = [Call(payload) for _ in range(spooled.MOVED_AT_ONCE)]
        for call in refused:
            queue.put(call)
        other = Call(b"other")
        spool.put(other)
        eventually(lambda: broker.given)
        assert broker.given == [other]
        eventually(lambda: spool.size() == len(refused))
        said = f"Spooling is on, {len(refused)} calls are in the spool."
        assert queue.remark() == said
        vars(broker).update(lifted)
        eventually(lambda: queue.remark() is None)
        came = sorted(broker.given[1:], key=lambda call: call.id)
        assert came == sorted(refused, key=lambda call: call.id)
        assert not any(call.waited for call in came)

    def test_what_is_too_large_is_kept_over_a_restart(
        self, open_again: Open, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spooled, "BELIEVED_SECONDS", 0.5)
        queue = open_again()
        call = Call(b"x" * 2000, attempts=2, last_error="no")
        queue.put(call)
        gevent.idle()
        queue = open_again()
        assert queue.remark() == "Spooling is on, 1 calls are in the spool."
        broker.largest = 2000
        eventually(lambda: queue.remark() is None)
        assert broker.given == [call]

    def test_a_restart_takes_up_what_is_in_the_spool(
        self, open_again: Open, broker: Broker, spools: list[Spool], lines: Lines
    ) -> None:
        queue = open_again()
        broker.broken = AWAY
        calls = [Call(str(n).encode(), attempts=n) for n in range(3)]
        for call in calls:
            queue.put(call)
        queue = open_again()
        assert (logging.WARNING, "3 calls are in the spool already") in lines()
        assert queue.remark() == "Spooling is on, 3 calls are in the spool."
        broker.broken = ""
        eventually(lambda: queue.remark() is None)
        assert sorted(broker.given, key=lambda one: one.attempts) == calls
        open_again()
        assert spools[-1].size() == 0
        assert len(broker.given) == 3


class TestClose:
    def test_keeps_what_could_not_be_moved(
        self, open_again: Open, broker: Broker, spools: list[Spool]
    ) -> None:
        queue = open_again()
        broker.broken = AWAY
        for n in range(150):
            queue.put(Call(str(n).encode()))
        queue.close()
        open_again()
        assert spools[-1].size() == 150

    def test_in_the_middle_loses_nothing(
        self,
        open_again: Open,
        broker: Broker,
        spools: list[Spool],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(spooled, "STOP_SECONDS", 0.05)
        queue = open_again()
        broker.broken = AWAY
        calls = [Call(str(n).encode()) for n in range(150)]  # not all at once
        for call in calls:
            queue.put(call)
        broker.go.clear()  # the broker hangs: none of them is ever confirmed
        broker.broken = ""
        eventually(lambda: broker.putting == spooled.MOVED_AT_ONCE)
        queue.close()
        assert broker.given == []
        broker.go.set()
        queue = open_again()
        eventually(lambda: queue.remark() is None)
        assert {call.id for call in broker.given} == {call.id for call in calls}

    def test_while_calls_are_moved_moves_each_or_keeps_it(
        self, open_again: Open, broker: Broker, spools: list[Spool]
    ) -> None:
        queue = open_again()
        broker.broken = AWAY
        calls = [Call(str(n).encode()) for n in range(300)]
        for call in calls:
            queue.put(call)
        broker.broken = ""
        eventually(lambda: broker.given)
        queue.close()
        moved = {call.id for call in broker.given}
        broker.broken = AWAY
        open_again()
        assert spools[-1].size() >= len(calls) - len(moved)
        broker.broken = ""
        eventually(lambda: spools[-1].size() == 0)
        assert {call.id for call in broker.given} == {call.id for call in calls}

    def test_ends_deliveries(self, queue: SpooledQueue) -> None:
        taking = gevent.spawn(lambda: list(queue.deliveries()))
        gevent.idle()
        queue.close()
        assert taking.get(timeout=5) == []


class TestWhatIsSaid:
    def test_nothing_when_all_is_well(self, queue: SpooledQueue) -> None:
        assert queue.problem() is None
        assert queue.remark() is None

    def test_a_broker_that_is_away(self, queue: SpooledQueue, broker: Broker) -> None:
        broker.broken = "RabbitMQ is away: refused"
        assert queue.problem() == "RabbitMQ is away: refused."
        queue.put(Call(b"spooled"))
        spooling = "Spooling is on, 1 calls are in the spool."
        assert queue.remark() == spooling
        assert queue.problem() == f"RabbitMQ is away: refused. {spooling}"

    def test_a_broker_that_only_takes_no_calls(
        self, queue: SpooledQueue, broker: Broker
    ) -> None:
        broker.refusing = "An alarm."
        queue.put(Call(b"spooled"))
        assert queue.problem() is None
        assert queue.remark() == "Spooling is on, 1 calls are in the spool."

    def test_a_full_spool_too(
        self, queue: SpooledQueue, broker: Broker, spool: Spool
    ) -> None:
        spool.refuses = QueueUnavailable("The disk is nearly full.")
        broker.refusing = "An alarm."
        assert queue.problem() == "The disk is nearly full."
        broker.broken = AWAY
        assert queue.problem() == f"{AWAY} The disk is nearly full."

    def test_one_line_for_each_change(
        self, queue: SpooledQueue, broker: Broker, spool: Spool, lines: Lines
    ) -> None:
        on = (logging.WARNING, f"Calls are spooled from now on: {AWAY}")
        off = (logging.INFO, "The spool is empty again: RabbitMQ has every call")
        for times in (1, 2):
            broker.broken = AWAY
            for n in range(20):
                queue.put(Call(str(n).encode()))
            assert lines() == [on, off] * (times - 1) + [on]
            broker.broken = ""
            eventually(lambda: queue.remark() is None)
            assert lines() == [on, off] * times
