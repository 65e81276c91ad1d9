"""Repeated deliveries are told from new ones, and never at the price of a call."""

import random
from collections.abc import Callable, Iterator
from typing import cast

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue as Mailbox
from msgspec.structs import replace

from mspc.calls.accepted import Accepted
from mspc.calls.call import Call, Outcome, Request
from mspc.calls.networks import NetworkRules
from mspc.calls.policy import Delays
from mspc.calls.requests import Requests
from mspc.delivery.consumers import Consumers
from mspc.delivery.in_flight import REMEMBERED_CALLS, REMEMBERED_SECONDS, InFlight
from mspc.delivery.recording import Recording
from mspc.delivery.retry import RetryPolicy
from mspc.errors import MspcError, QueueUnavailable
from mspc.lanes.lane import Lane
from mspc.lanes.one import OneLane
from mspc.queues.base import Queue
from tests.support.clock import Clock
from tests.support.recorded import Recorded

PAYLOAD = b'{"url": "http://service.test/"}'


ONLY: Lane = OneLane().of("")


class Lent:
    """A delivery that remembers whether it was acknowledged."""

    damage = ""

    def __init__(self, call: Call, *, alive: bool = True) -> None:
        self.call = call
        self.lane = ONLY
        self.alive = alive
        self.acked = False

    def ack(self) -> None:
        self.acked = self.alive

    def retry(self, call: Call, delay: float) -> None: ...

    def bury(self, call: Call, reason: str) -> None: ...


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def in_flight(clock: Clock) -> InFlight:
    return InFlight(clock)


class TestCopies:
    def test_wait_until_the_attempt_is_settled(self, in_flight: InFlight) -> None:
        call = Call(PAYLOAD)
        first, copy = Lent(call), Lent(call)
        attempt = in_flight.begin(first)
        assert attempt is not None
        assert in_flight.begin(copy) is None
        assert (first.acked, copy.acked) == (False, False)
        assert attempt.settle() is first
        in_flight.end(attempt)
        assert attempt.copies(settled=True) == []
        # The first one is the consumer's business.
        assert (first.acked, copy.acked) == (False, True)

    @pytest.mark.parametrize("settling", [False, True], ids=["before", "while"])
    def test_are_handled_when_settling_failed(
        self, in_flight: InFlight, settling: bool
    ) -> None:
        call = Call(PAYLOAD)
        first, copy = Lent(call), Lent(call)
        attempt = in_flight.begin(first)
        assert attempt is not None
        if settling:
            attempt.settle()
        in_flight.begin(copy)
        attempt.settle()
        in_flight.end(attempt)
        assert attempt.copies(settled=False) == [copy]
        assert not copy.acked
        assert in_flight.begin(copy) is not None

    def test_one_is_settled_when_the_first_has_died(self, in_flight: InFlight) -> None:
        call = Call(PAYLOAD)
        first, dead, copy = Lent(call), Lent(call, alive=False), Lent(call)
        attempt = in_flight.begin(first)
        assert attempt is not None
        in_flight.begin(dead)
        in_flight.begin(copy)
        first.alive = False
        assert attempt.settle() is copy
        assert attempt.settle() is copy  # it stays so
        assert attempt.copies(settled=False) == []  # the dead come again

    def test_the_one_just_stored_is_not_taken_for_an_old_one(
        self, in_flight: InFlight
    ) -> None:
        """It may be delivered before its confirm arrives."""
        call = Call(PAYLOAD, attempts=2)
        attempt = in_flight.begin(Lent(call))
        assert attempt is not None
        attempt.settle()
        stored = Lent(call.next_attempt("503"))
        in_flight.begin(stored)
        in_flight.end(attempt)
        assert attempt.copies(settled=True) == [stored]
        assert not stored.acked

    def test_another_payload_is_another_call(self, in_flight: InFlight) -> None:
        assert in_flight.begin(Lent(Call(b"one", id="same"))) is not None
        assert in_flight.begin(Lent(Call(b"two", id="same"))) is not None


class TestMemory:
    def succeed(self, in_flight: InFlight, call: Call) -> None:
        attempt = in_flight.begin(Lent(call))
        assert attempt is not None
        in_flight.succeeded(attempt)
        in_flight.end(attempt)

    def test_what_has_succeeded_is_acknowledged(self, in_flight: InFlight) -> None:
        call = Call(PAYLOAD)
        self.succeed(in_flight, call)
        again = Lent(call)
        assert in_flight.begin(again) is None
        assert again.acked

    def test_what_has_failed_is_not(self, in_flight: InFlight) -> None:
        call = Call(PAYLOAD)
        attempt = in_flight.begin(Lent(call))
        assert attempt is not None
        in_flight.end(attempt)
        assert in_flight.begin(Lent(call)) is not None

    def test_a_copy_is_too_many_when_a_later_one_waits(
        self, in_flight: InFlight
    ) -> None:
        call = Call(PAYLOAD, attempts=2)
        attempt = in_flight.begin(Lent(call))
        assert attempt is not None
        in_flight.stored(attempt)
        in_flight.end(attempt)
        again, waiting = Lent(call), Lent(call.next_attempt("503"))
        assert in_flight.begin(again) is None
        assert again.acked
        assert in_flight.begin(waiting) is not None
        assert not waiting.acked

    @pytest.mark.parametrize("accepted_at", [100.001, 160.0, 99.0, 99.998])
    def test_a_dead_letter_that_is_made_again_begins_anew(
        self, in_flight: InFlight, accepted_at: float
    ) -> None:
        """It has its old id, and no attempts. It may have been accepted before: when
        the clock was set back, or when it was to be made later the time before.
        """
        call = Call(PAYLOAD, accepted_at=100.0)
        for attempts in range(3):
            delivered = replace(call, attempts=attempts, waited=attempts > 0)
            attempt = in_flight.begin(Lent(delivered))
            assert attempt is not None
            if attempts < 2:  # the last one made it a dead letter
                in_flight.stored(attempt)
            in_flight.end(attempt)
        revived = Lent(replace(call, accepted_at=accepted_at, waited=True))
        attempt = in_flight.begin(revived)
        assert attempt is not None
        assert not revived.acked
        in_flight.stored(attempt)
        in_flight.end(attempt)
        again = Lent(revived.call)
        assert in_flight.begin(again) is None
        assert again.acked

    def test_a_copy_that_does_not_say_when_it_was_accepted_is_too_many(
        self, in_flight: InFlight
    ) -> None:
        call = Call(PAYLOAD, accepted_at=100.0)
        self.succeed(in_flight, call)
        again = Lent(replace(call, accepted_at=101.0))
        assert in_flight.begin(again) is None
        assert again.acked

    def test_another_payload_has_not_succeeded(self, in_flight: InFlight) -> None:
        self.succeed(in_flight, Call(b"one", id="same"))
        assert in_flight.begin(Lent(Call(b"two", id="same"))) is not None

    def test_is_over_after_ten_minutes(self, in_flight: InFlight, clock: Clock) -> None:
        call = Call(PAYLOAD)
        self.succeed(in_flight, call)
        clock.now = REMEMBERED_SECONDS
        assert in_flight.begin(Lent(call)) is None
        clock.now = REMEMBERED_SECONDS + 0.1
        assert in_flight.begin(Lent(call)) is not None

    def test_holds_ten_thousand_calls(self, in_flight: InFlight) -> None:
        calls = [Call(PAYLOAD) for _ in range(REMEMBERED_CALLS + 1)]
        for call in calls:
            self.succeed(in_flight, call)
        assert in_flight.begin(Lent(calls[0])) is not None
        assert in_flight.begin(Lent(calls[1])) is None
        assert in_flight.begin(Lent(calls[-1])) is None


class Whims:
    """A broker that holds one call and does to it whatever brokers do.

    Attributes:
        stored: the copies it has, by number.
        kept: whether the call succeeded or became a dead letter.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.stored: dict[int, Call] = {1: Call(PAYLOAD, id="the call")}
        self.lent: dict[int, Held] = {}
        self.kept = False
        self.confirms: list[Event] = []
        self.answers: list[Event] = []
        self.ready: Mailbox[Held | None] = Mailbox()
        self.numbers = iter(range(2, 1_000_000))

    def start(self, on_failure: Callable[[MspcError], None]) -> None: ...

    def put(self, call: Call, delay: float = 0.0) -> None: ...

    def deliveries(self) -> Iterator["Held"]:
        while (held := self.ready.get()) is not None:
            yield held

    def cancel(self) -> None:
        self.ready.put(None)

    def close(self) -> None: ...

    def problem(self) -> str | None:
        return None

    remark = problem

    def attempt(self, request: Request, call_id: str, number: int) -> Outcome:
        answered = Event()
        self.answers.append(answered)
        answered.wait()
        if self.chance.random() < 0.9:
            return Outcome(503)
        self.kept = True
        return Outcome(200)

    # What it may do next

    def deliver(self) -> None:
        for number, call in self.stored.items():
            if number not in self.lent:
                self.lent[number] = Held(self, number, call)
                self.ready.put(self.lent[number])

    def answer(self) -> None:
        if self.answers:
            self.answers.pop(self.chance.randrange(len(self.answers))).set()

    def confirm(self) -> None:
        if self.confirms:
            self.confirms.pop(self.chance.randrange(len(self.confirms))).set()

    def lose_the_channel(self) -> None:
        for held in self.lent.values():
            held.alive = False
        self.lent.clear()

    def lose_sight(self) -> None:
        """As after a partition of a cluster: the channel lives, what it had is lent
        again."""
        self.lent.clear()


class Held:
    """A delivery of such a broker."""

    def __init__(self, broker: Whims, number: int, call: Call) -> None:
        self.call = call
        self.lane = ONLY
        self.alive = True
        self._broker = broker
        self._number = number
        self._settled = False

    def ack(self) -> None:
        if not self._settled:
            self._settled = True
            self._release()

    def retry(self, call: Call, delay: float) -> None:
        if self._settled:
            return
        self._settled = True
        broker = self._broker
        if not self.alive:
            raise QueueUnavailable("It is delivered again.")
        fate = broker.chance.choice(["stored", "stored", "unknown", "refused"])
        if fate != "refused":
            broker.stored[next(broker.numbers)] = call
        confirmed = Event()
        broker.confirms.append(confirmed)
        confirmed.wait()
        if fate != "stored":
            if broker.lent.get(self._number) is self:
                del broker.lent[self._number]  # given back
            raise QueueUnavailable("Nobody knows.")
        self._release()

    def bury(self, call: Call, reason: str) -> None:
        raise AssertionError("no call of this test dies")

    def _release(self) -> None:
        # What the broker has lent anew cannot be settled by who had it before.
        if self.alive and self._broker.lent.get(self._number) is self:
            del self._broker.lent[self._number]
            del self._broker.stored[self._number]


@pytest.mark.parametrize("seed", range(100))
def test_no_interleaving_loses_the_call(seed: int) -> None:
    """At any moment the process may die: what is not stored then is lost."""
    chance = random.Random(seed)
    broker = Whims(chance)
    policy = RetryPolicy(Delays(1.0))
    consumers = Consumers(
        5,
        cast(Queue, broker),  # as far as consumers need one
        OneLane(),
        broker.attempt,
        policy,
        Requests(NetworkRules(), Accepted()),
        Recording(Recorded()),
    )
    consumers.start()
    usual = [broker.deliver, broker.deliver, broker.answer, broker.confirm]
    rare = [broker.lose_the_channel, broker.lose_sight]
    told = []
    for _ in range(60):
        action = chance.choice(usual * 2 + rare)
        told.append(action.__name__)
        action()
        gevent.idle()
        if broker.kept:
            break
        assert broker.stored, f"lost after {', '.join(told)}"
    consumers.stop(timeout=0)
