"""Take a delivery, make the call, decide, settle."""

import json
import logging
import time
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event

from mspc.calls.accepted import Accepted
from mspc.calls.call import Call, Outcome, Request
from mspc.calls.networks import NetworkRules
from mspc.calls.policy import Delays
from mspc.calls.requests import Requests
from mspc.calls.words import BAD_STATUS, MAX_AGE, NO_REQUEUE, NOT_SENDABLE
from mspc.delivery.consumers import Consumers
from mspc.delivery.recording import Recording
from mspc.delivery.retry import RetryPolicy
from mspc.errors import QueueFailed
from mspc.journal.events import Attempted
from mspc.lanes.one import OneLane
from mspc.process import greenlets
from mspc.queues.base import Delivery
from tests.support.memory import MemoryDelivery, MemoryQueue
from tests.support.recorded import Recorded
from tests.support.waiting import eventually

DISPATCHER = "delivery of calls to the consumers"
DELAY_SECONDS = 3_600.0  # no test waits for a second attempt
PAYLOAD = b'{"url": "http://user:secret@service.test:81/a?b", "method": "put"}'
SECRETS = b"""{
    "url": "http://user:secret@service.test/a",
    "method": "POST",
    "headers": {"X-Token": "hidden-value"},
    "body": "{\\"hidden\\": \\"body\\"}"
}"""


def read_anew() -> Requests:
    return Requests(NetworkRules(), Accepted())


class Attempts:
    """In place of the forwarder: gives outcomes, and can be made to wait.

    Attributes:
        give: the outcome of every attempt, or the exception it raises.
        go: set unless attempts shall stay in flight.
        made: the request and the call's id, in order.
        at_once: the largest number of attempts in flight at a time.
    """

    def __init__(self) -> None:
        self.give: Outcome | Exception = Outcome(200, seconds=0.0421)
        self.go = Event()
        self.go.set()
        self.made: list[tuple[Request, str]] = []
        self.in_flight = 0
        self.at_once = 0
        self.finished = 0

    def __call__(self, request: Request, call_id: str, number: int) -> Outcome:
        self.made.append((request, call_id))
        self.in_flight += 1
        self.at_once = max(self.at_once, self.in_flight)
        try:
            gevent.sleep(0)
            self.go.wait()
        finally:
            self.in_flight -= 1
        self.finished += 1
        if isinstance(self.give, Exception):
            raise self.give
        return self.give


class Queue(MemoryQueue):
    """With deliveries() that can fail.

    Attributes:
        breaks: raised by deliveries(), one each time it is called.
        lent: what it has delivered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.breaks: list[Exception] = []
        self.lent: list[MemoryDelivery] = []

    def deliveries(self) -> Iterator[Delivery]:
        if self.breaks:
            raise self.breaks.pop(0)
        for delivery in super().deliveries():
            assert isinstance(delivery, MemoryDelivery)
            self.lent.append(delivery)
            yield delivery

    @property
    def calls(self) -> list[Call]:
        """What is stored, due or not."""
        return [call for call, _ in self.store.rows.values()]


@pytest.fixture
def queue() -> Queue:
    queue = Queue()
    queue.start(lambda error: None)
    return queue


@pytest.fixture
def attempts() -> Attempts:
    return Attempts()


@pytest.fixture
def journal() -> Recorded:
    return Recorded()


def made(
    size: int, queue: Queue, attempts: Attempts, journal: Recorded | None = None
) -> Consumers:
    return Consumers(
        size,
        queue,
        OneLane(),
        attempts,
        RetryPolicy(Delays(DELAY_SECONDS)),
        read_anew(),
        Recording(journal or Recorded()),
    )


Start = Callable[..., Consumers]
Lines = Callable[[], list[tuple[int, str]]]


@pytest.fixture
def start(
    queue: Queue,
    attempts: Attempts,
    journal: Recorded,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Start]:
    """Starts consumers that are stopped after the test."""
    monkeypatch.setattr(greenlets, "START_AGAIN_SECONDS", 0.0)
    started: list[Consumers] = []

    def start(size: int = 2) -> Consumers:
        consumers = made(size, queue, attempts, journal)
        started.append(consumers)
        consumers.start()
        return consumers

    yield start
    for consumers in started:
        consumers.stop(timeout=0)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What was logged: level and text."""
    caplog.set_level(logging.INFO)
    return lambda: [(one.levelno, one.getMessage()) for one in caplog.records]


class TestSettling:
    def test_a_call_that_succeeds_is_forgotten(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        eventually(lambda: not queue.calls)
        ((request, call_id),) = attempts.made
        assert call_id == call.id
        assert (request.method, request.url) == ("PUT", "http://service.test:81/a?b")

    def test_a_call_that_fails_is_stored_for_its_next_attempt(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.give = Outcome(503)
        start()
        call = Call(PAYLOAD, attempts=4, last_error="earlier")
        queue.put(call)
        eventually(lambda: queue.calls != [call])
        assert queue.calls == [call.next_attempt("503")]

    def test_the_next_attempt_waits_for_the_delay(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.give = Outcome(503)
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        eventually(lambda: queue.calls != [call])
        ((_, due),) = queue.store.rows.values()
        assert due - call.accepted_at == pytest.approx(DELAY_SECONDS, abs=60)
        assert len(attempts.made) == 1

    def test_a_call_that_shall_not_be_repeated_is_a_dead_letter(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.give = Outcome(500)
        start()
        call = Call(b'{"url": "http://service.test", "requeue": false}')
        queue.put(call)
        eventually(lambda: queue.store.dead)
        failed = call.next_attempt("500")
        assert queue.store.dead == [(failed, "failed, and requeue is false: 500")]
        assert queue.calls == []

    def test_a_call_that_cannot_be_sent_is_a_dead_letter(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.give = Outcome(error="denied", permanent=True)
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        eventually(lambda: queue.store.dead)
        failed = call.next_attempt("denied")
        assert queue.store.dead == [(failed, "cannot be sent: denied")]

    @pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"{}", b'{"url": 1}'])
    def test_what_is_no_call_is_a_dead_letter_and_not_attempted(
        self, start: Start, queue: Queue, attempts: Attempts, payload: bytes
    ) -> None:
        start()
        call = Call(payload)
        queue.put(call)
        eventually(lambda: queue.store.dead)
        ((buried, reason),) = queue.store.dead
        assert buried == call
        assert reason.startswith("is no call: ")
        assert attempts.made == []

    def test_what_is_damaged_is_a_dead_letter_whatever_it_looks_like(
        self,
        start: Start,
        queue: Queue,
        attempts: Attempts,
        journal: Recorded,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """As one that has just been made, for example."""
        start()
        queue.put(Call(PAYLOAD, id="x"))
        eventually(lambda: len(journal.events) == 1)
        monkeypatch.setattr(MemoryDelivery, "damage", "damaged in the file: altered")
        queue.put(Call(PAYLOAD, id="x"))
        eventually(lambda: len(journal.events) == 2)
        ((buried, reason),) = queue.store.dead
        assert (buried.id, reason) == ("x", "damaged in the file: altered")
        told = journal.events[1]
        assert isinstance(told, Attempted)
        assert (told.decision, told.reason, told.text) == ("dead", "damaged", "altered")
        assert len(attempts.made) == 1

    def test_a_damaged_one_that_cannot_be_buried_comes_again(
        self,
        start: Start,
        queue: Queue,
        lines: Lines,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(MemoryDelivery, "damage", "damaged in the file: altered")
        queue.put(Call(PAYLOAD, id="x"))
        queue.broken = "The disk is full."
        start()
        eventually(lambda: len(lines()) == 2)
        assert "x comes again, it was not settled: The disk is full." in str(lines())
        assert len(queue.calls) == 1

    def test_a_poisonous_call_does_not_hold_up_the_next(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        start(size=1)
        queue.put(Call(b"poison"))
        queue.put(Call(PAYLOAD, id="good"))
        eventually(lambda: attempts.finished)
        assert attempts.made[0][1] == "good"


class TestInFlight:
    def test_no_more_than_size_at_once(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        start(size=3)
        for _ in range(20):
            queue.put(Call(PAYLOAD))
        eventually(lambda: attempts.finished == 20)
        assert attempts.at_once == 3

    def test_one_at_a_time_with_one_consumer(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        start(size=1)
        for _ in range(5):
            queue.put(Call(PAYLOAD))
        eventually(lambda: attempts.finished == 5)
        assert attempts.at_once == 1

    def test_a_slow_call_does_not_hold_up_the_others(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.go.clear()
        start(size=2)
        queue.put(Call(PAYLOAD, id="slow"))
        queue.put(Call(PAYLOAD, id="slow too"))
        eventually(lambda: attempts.in_flight == 2)
        assert [call_id for _, call_id in attempts.made] == ["slow", "slow too"]


class TestStop:
    def test_lets_an_attempt_in_flight_finish(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.go.clear()
        consumers = start()
        queue.put(Call(PAYLOAD))
        eventually(lambda: attempts.in_flight)
        stopping = gevent.spawn(consumers.stop, 30)
        gevent.idle()
        assert not stopping.dead
        attempts.go.set()
        stopping.get(timeout=10)
        assert attempts.finished == 1
        assert queue.calls == []

    def test_cuts_an_attempt_short_after_the_timeout(
        self, start: Start, queue: Queue, attempts: Attempts, lines: Lines
    ) -> None:
        attempts.go.clear()
        consumers = start()
        call = Call(PAYLOAD)
        queue.put(call)
        eventually(lambda: attempts.in_flight)
        consumers.stop(timeout=0.01)
        assert (attempts.in_flight, attempts.finished) == (0, 0)
        assert queue.calls == [call]
        has = "1 attempts are in flight: they have 0 s to end"
        cut = "1 attempts were cut short; they will be made again"
        assert lines() == [(logging.INFO, has), (logging.WARNING, cut)]

    def test_what_was_cut_short_is_made_again(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.go.clear()
        consumers = start()
        call = Call(PAYLOAD)
        queue.put(call)
        eventually(lambda: attempts.in_flight)
        consumers.stop(timeout=0)
        again = MemoryQueue(queue.store)
        again.start(lambda error: None)
        assert next(again.deliveries()).call == call

    def test_takes_no_more_deliveries(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        consumers = start()
        consumers.stop(timeout=5)
        queue.put(Call(PAYLOAD))
        gevent.idle()
        assert attempts.made == []
        assert len(queue.calls) == 1

    def test_makes_no_attempt_that_waited_for_a_free_consumer(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.go.clear()
        consumers = start(size=1)
        queue.put(Call(PAYLOAD, id="in flight"))
        queue.put(Call(PAYLOAD, id="waiting"))
        eventually(lambda: attempts.in_flight)
        stopping = gevent.spawn(consumers.stop, 30)
        gevent.idle()
        attempts.go.set()
        stopping.get(timeout=10)
        assert [call_id for _, call_id in attempts.made] == ["in flight"]
        assert [call.id for call in queue.calls] == ["waiting"]

    def test_leaves_nothing_in_flight_when_it_cuts_short(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.go.clear()
        consumers = start(size=2)
        for _ in range(5):
            queue.put(Call(PAYLOAD))
        eventually(lambda: attempts.in_flight == 2)
        consumers.stop(timeout=0.01)
        gevent.idle()
        assert attempts.in_flight == 0
        assert len(attempts.made) == 2
        assert len(queue.calls) == 5

    @pytest.mark.parametrize("answered", [True, False])
    def test_says_whether_one_was_answered_and_not_told_of(
        self,
        start: Start,
        queue: Queue,
        attempts: Attempts,
        monkeypatch: pytest.MonkeyPatch,
        answered: bool,
    ) -> None:
        """Its ack may reach the store all the same."""
        in_ack = Event()

        def ack(_: MemoryDelivery) -> None:
            in_ack.set()
            Event().wait()

        monkeypatch.setattr(MemoryDelivery, "ack", ack)
        if not answered:
            attempts.go.clear()
        consumers = start()
        queue.put(Call(PAYLOAD))
        eventually(in_ack.is_set if answered else lambda: attempts.in_flight == 1)
        consumers.stop(timeout=0.01)
        assert consumers.cut_short is answered

    def test_may_be_called_twice_and_without_start(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        consumers = start()
        consumers.stop(timeout=5)
        consumers.stop(timeout=5)
        made(1, queue, attempts).stop(timeout=5)


class TestRecording:
    def test_what_was_made_is_told_with_the_call(
        self, start: Start, queue: Queue, journal: Recorded
    ) -> None:
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        event = the_only(journal)
        assert (event.number, event.decision, event.status) == (1, "done", 200)
        assert (event.error, event.reason, event.next_at) == ("", "", None)
        assert event.call.id == call.id
        assert event.call.at == call.accepted_at
        assert event.call.destination == "http://service.test:81"

    def test_so_is_a_failure_and_when_it_comes_again(
        self, start: Start, queue: Queue, attempts: Attempts, journal: Recorded
    ) -> None:
        attempts.give = Outcome(503, seconds=2.0, answer="later", word=BAD_STATUS)
        start()
        queue.put(Call(PAYLOAD, attempts=4))
        event = the_only(journal)
        assert (event.number, event.decision, event.status) == (5, "retry", 503)
        assert (event.error, event.answer) == (BAD_STATUS, "later")
        assert event.next_at is not None
        took = event.next_at - event.at
        assert took == pytest.approx(DELAY_SECONDS + 2, abs=1)

    def test_and_why_a_call_is_dead(
        self, start: Start, queue: Queue, attempts: Attempts, journal: Recorded
    ) -> None:
        attempts.give = Outcome(500)
        start()
        queue.put(Call(json.dumps({"url": "http://a.test", "requeue": False}).encode()))
        event = the_only(journal)
        assert (event.decision, event.reason) == ("dead", NO_REQUEUE)

    def test_what_is_no_call_is_told_too(
        self, start: Start, queue: Queue, journal: Recorded
    ) -> None:
        start()
        queue.put(Call(b"nonsense", id="x"))
        event = the_only(journal)
        assert (event.call.id, event.number) == ("x", 0)
        assert (event.decision, event.reason) == ("dead", NOT_SENDABLE)
        assert "JSON" in event.text

    def test_one_that_is_too_old_dies_without_an_attempt(
        self, start: Start, queue: Queue, journal: Recorded
    ) -> None:
        start()
        payload = json.dumps({"url": "http://a.test", "max_age": 1}).encode()
        queue.put(Call(payload, accepted_at=0.0, attempts=3))
        event = the_only(journal)
        assert (event.number, event.status, event.error) == (3, None, "")
        assert (event.decision, event.reason) == ("dead", MAX_AGE)

    def test_nothing_is_told_of_what_could_not_be_stored(
        self, start: Start, queue: Queue, attempts: Attempts, journal: Recorded
    ) -> None:
        attempts.give = Outcome(503)
        consumers = start()
        attempts.go.clear()
        queue.put(Call(PAYLOAD))
        eventually(lambda: attempts.in_flight)
        queue.broken = "away"
        attempts.go.set()
        eventually(lambda: attempts.finished)
        consumers.stop(timeout=5)
        assert not journal.events

    def test_no_event_is_made_when_nobody_listens(
        self, start: Start, queue: Queue, journal: Recorded
    ) -> None:
        journal.on = False
        start()
        queue.put(Call(PAYLOAD))
        queue.put(Call(b"nonsense"))
        eventually(lambda: not queue.calls)


def the_only(journal: Recorded) -> Attempted:
    eventually(lambda: journal.events)
    (event,) = journal.events
    assert isinstance(event, Attempted)
    return event


class TestTrouble:
    @pytest.mark.parametrize(
        ("outcome", "payload"),
        [
            (Outcome(200), PAYLOAD),
            (Outcome(500), PAYLOAD),
            (Outcome(error="denied", permanent=True), PAYLOAD),
            (Outcome(200), b"no call"),
        ],
        ids=["ack", "retry", "bury", "no call"],
    )
    def test_a_queue_that_cannot_settle_does_not_end_the_consumers(
        self,
        start: Start,
        queue: Queue,
        attempts: Attempts,
        lines: Lines,
        outcome: Outcome,
        payload: bytes,
    ) -> None:
        attempts.give = outcome
        start(size=1)
        queue.put(Call(payload, id="unsettled"))
        queue.broken = "The broker is away."
        unsettled = "unsettled comes again, it was not settled: The broker is away."
        eventually(lambda: (logging.WARNING, unsettled) in lines())
        assert [call.id for call in queue.calls] == ["unsettled"]

        queue.broken = ""
        attempts.give = Outcome(200)
        queue.put(Call(PAYLOAD, id="next"))
        eventually(lambda: [call.id for call in queue.calls] == ["unsettled"])

    def test_a_bug_is_logged_and_the_call_made_again(
        self,
        start: Start,
        queue: Queue,
        attempts: Attempts,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        attempts.give = ZeroDivisionError("a bug")
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        eventually(lambda: queue.calls != [call])
        assert queue.calls == [call.next_attempt("mspc failed")]
        (record,) = caplog.records
        assert record.getMessage() == f"{call.id} was not handled"
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.exc_info[1] is attempts.give

    def test_a_bug_with_a_broken_queue_does_not_end_the_consumers(
        self, start: Start, queue: Queue, attempts: Attempts, lines: Lines
    ) -> None:
        attempts.give = ZeroDivisionError("a bug")
        start(size=1)
        queue.put(Call(PAYLOAD, id="unlucky"))
        queue.broken = "The broker is away."
        eventually(
            lambda: (logging.ERROR, "unlucky comes again after a restart") in lines()
        )
        queue.broken = ""
        attempts.give = Outcome(200)
        queue.put(Call(PAYLOAD, id="next"))
        eventually(lambda: [call.id for call in queue.calls] == ["unlucky"])

    def test_deliveries_that_break_off_are_taken_up_again(
        self, start: Start, queue: Queue, lines: Lines
    ) -> None:
        queue.breaks = [RuntimeError("one"), RuntimeError("two")]
        queue.put(Call(PAYLOAD))
        start()
        eventually(lambda: not queue.calls)
        failed = f"The {DISPATCHER} failed; starting it again"
        assert [text for _, text in lines()].count(failed) == 2

    def test_a_store_that_failed_is_left_alone(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        queue.breaks = [QueueFailed("a failed fsync")]
        queue.put(Call(PAYLOAD))
        consumers = start()
        eventually(consumers.problem)
        assert queue.breaks == []
        assert attempts.made == []


class TestRepeated:
    """The broker delivers a call again."""

    def test_nothing_is_acknowledged_before_the_attempt_has_ended(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.go.clear()
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        queue.put(call)
        eventually(lambda: attempts.in_flight)
        gevent.idle()
        assert queue.calls == [call, call]
        attempts.go.set()
        eventually(lambda: not queue.calls)
        assert len(attempts.made) == 1

    def test_one_failed_attempt_leaves_one_call(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.give = Outcome(503)
        attempts.go.clear()
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        queue.put(call)
        eventually(lambda: attempts.in_flight)
        gevent.idle()
        attempts.go.set()
        eventually(lambda: queue.calls == [call.next_attempt("503")])
        assert len(attempts.made) == 1

    def test_a_call_that_has_died_is_not_made_again(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.give = Outcome(503)
        start()
        call = Call(b'{"url": "http://service.test", "requeue": false}')
        queue.put(call)
        eventually(lambda: queue.store.dead)
        queue.put(call)  # its ack was lost
        eventually(lambda: not queue.calls)
        assert len(attempts.made) == len(queue.store.dead) == 1

    def test_the_copy_is_settled_when_the_first_channel_died(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        lent = queue.lent
        attempts.give = Outcome(503)
        attempts.go.clear()
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        eventually(lambda: attempts.in_flight)
        lent[0].alive = False
        queue.lend(next(iter(queue.store.rows)))
        eventually(lambda: len(lent) == 2)
        gevent.idle()
        attempts.go.set()
        eventually(lambda: queue.calls == [call.next_attempt("503")])
        assert len(attempts.made) == 1

    def test_a_call_that_has_succeeded_is_not_made_again(
        self, start: Start, queue: Queue, attempts: Attempts, lines: Lines
    ) -> None:
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        eventually(lambda: not queue.calls)
        queue.put(call)
        eventually(lambda: not queue.calls)
        assert len(attempts.made) == 1
        again = f"{call.id} was delivered again and is taken care of"
        assert (logging.INFO, again) in lines()

    def test_a_copy_is_made_when_the_first_could_not_be_settled(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        attempts.give = Outcome(503)
        attempts.go.clear()
        start()
        call = Call(PAYLOAD)
        queue.put(call)
        queue.put(call)
        eventually(lambda: attempts.in_flight)
        gevent.idle()
        queue.broken = "The broker is away."
        attempts.go.set()
        eventually(lambda: attempts.finished == 2)
        assert queue.calls == [call, call]

    def test_another_payload_is_another_call(
        self, start: Start, queue: Queue, attempts: Attempts
    ) -> None:
        start()
        queue.put(Call(PAYLOAD, id="same"))
        queue.put(Call(SECRETS, id="same"))
        eventually(lambda: not queue.calls)
        assert len(attempts.made) == 2


class TestProblem:
    def test_none_while_they_run(self, start: Start) -> None:
        assert start().problem() is None

    def test_before_start(self, queue: Queue, attempts: Attempts) -> None:
        consumers = made(1, queue, attempts)
        assert consumers.problem() == f"The {DISPATCHER} does not run."

    def test_after_stop(self, start: Start) -> None:
        consumers = start()
        consumers.stop(timeout=5)
        assert consumers.problem() == f"The {DISPATCHER} does not run."

    def test_until_deliveries_that_broke_off_are_taken_up_again(
        self, start: Start, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(greenlets, "START_AGAIN_SECONDS", 0.5)
        queue.breaks = [RuntimeError("once")]
        consumers = start()
        eventually(consumers.problem)
        failed = f"The {DISPATCHER} failed and is being started again."
        assert consumers.problem() == failed
        eventually(lambda: consumers.problem() is None)


class TestLog:
    @pytest.mark.parametrize(
        ("outcome", "line"),
        [
            (
                Outcome(204, seconds=0.0421),
                (logging.INFO, "POST http://service.test/a -> 204 in 42 ms: done"),
            ),
            (
                Outcome(error="no connection", seconds=1.5),
                (
                    logging.WARNING,
                    "POST http://service.test/a -> no connection in 1500 ms: "
                    "attempt 3 failed, the next in 3600 s",
                ),
            ),
            (
                Outcome(error="denied", permanent=True),
                (
                    logging.ERROR,
                    "POST http://service.test/a -> denied in 0 ms: a dead letter",
                ),
            ),
        ],
        ids=["done", "retried", "dead letter"],
    )
    def test_one_line_an_attempt_without_secrets(
        self,
        start: Start,
        queue: Queue,
        attempts: Attempts,
        lines: Lines,
        outcome: Outcome,
        line: tuple[int, str],
    ) -> None:
        attempts.give = outcome
        start()
        queue.put(Call(SECRETS, id="an-id", attempts=2))
        eventually(lines)
        level, text = line
        assert lines() == [(level, f"an-id {text}")]

    @pytest.mark.parametrize(
        "payload",
        [
            b"hidden text",
            b'{"url": "http://user:hidden@service.test:x/"}',
            b'{"url": "http://user:hidden/word@service.test/"}',
            b'{"url": "http://user:hidden#word@service.test/"}',
        ],
        ids=["payload", "password", "slash in it", "# in it"],
    )
    def test_what_is_no_call_is_logged_without_secrets(
        self, start: Start, queue: Queue, lines: Lines, payload: bytes
    ) -> None:
        start()
        queue.put(Call(payload, id="an-id"))
        eventually(lines)
        ((level, text),) = lines()
        assert level == logging.ERROR
        assert text.startswith("an-id is no call, now a dead letter: ")
        assert "hidden" not in text

    @pytest.mark.parametrize(
        "more", [{}, {"max_age": 1}, {"delay": 60}], ids=["made", "too old", "early"]
    )
    def test_what_is_named_like_a_secret_is_masked_in_a_logged_url(
        self, start: Start, queue: Queue, lines: Lines, more: dict[str, int]
    ) -> None:
        url = "http://service.test/a?x=1&token=hidden"
        start()
        payload = json.dumps({"url": url, **more}).encode()
        age = 60 if "max_age" in more else 0
        queue.put(Call(payload, "an-id", time.time() - age))
        eventually(lines)
        ((_, text),) = lines()
        assert "http://service.test/a?x=1&token=*** -> " in text

    @pytest.mark.parametrize(
        "payload",
        [
            b'{"url": "http://service.test", "body": "hidden text"}',
            b'{"url": "http://service.test", "headers": {"X": "hidden\\ntext"}}',
            b'{"url": "http://user:hidden@service.test", "hidden": 1, "requeue": "x"}',
        ],
        ids=["body", "header", "password"],
    )
    def test_what_breaks_a_rule_is_sent_and_logged_without_secrets(
        self,
        start: Start,
        queue: Queue,
        attempts: Attempts,
        lines: Lines,
        payload: bytes,
    ) -> None:
        start()
        queue.put(Call(payload, id="an-id"))
        eventually(lambda: len(lines()) == 2)
        (level, text), (_, done) = lines()
        assert level == logging.INFO
        assert text.startswith("an-id is sent as far as it can be: ")
        assert "hidden t" not in text + done
        assert "user" not in text + done
        assert [id_ for _, id_ in attempts.made] == ["an-id"]
