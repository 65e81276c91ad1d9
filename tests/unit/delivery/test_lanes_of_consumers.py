"""What the consumers tell the lanes, and what comes of it."""

import json
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from mspc.calls.accepted import Accepted
from mspc.calls.call import Call, Outcome, Request
from mspc.calls.networks import NetworkRules
from mspc.calls.policy import Delays
from mspc.calls.requests import Requests
from mspc.delivery.consumers import Consumers
from mspc.delivery.recording import Recording
from mspc.delivery.retry import RetryPolicy
from mspc.lanes.lanes import Lanes
from tests.support.clock import Clock
from tests.support.memory import MemoryQueue
from tests.support.recorded import Recorded
from tests.support.waiting import eventually

DELAY_SECONDS = 3_600.0  # no test waits for a second attempt
BAD, GOOD = "http://bad.test:80", "http://good.test:80"


class Services:
    """In place of the forwarder: what each service answers."""

    def __init__(self) -> None:
        self.give: dict[str, Outcome | Exception] = {}
        self.made: Counter[str] = Counter()

    def __call__(self, request: Request, call_id: str, number: int) -> Outcome:
        self.made[request.lane] += 1
        outcome = self.give.get(request.lane, Outcome(200))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class House:
    """Consumers on a queue in memory, with lanes whose clock stands still."""

    def __init__(self) -> None:
        self.services = Services()
        self.clock = Clock(1000.0)
        self.lanes = Lanes(20, 5, 5.0, self.clock, lambda: 0.0)
        self.queue = MemoryQueue(lanes=self.lanes)
        self.queue.start(lambda _: None)
        self.consumers = Consumers(
            20,
            self.queue,
            self.lanes,
            self.services,
            RetryPolicy(Delays(DELAY_SECONDS)),
            Requests(NetworkRules(), Accepted()),
            Recording(Recorded()),
        )
        self.consumers.start()

    def put(self, lane: str, count: int) -> None:
        payload = json.dumps({"url": f"{lane}/"}).encode()
        for _ in range(count):
            self.queue.put(Call(payload, lane=lane))


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.consumers.stop(5)


@pytest.mark.parametrize("outcome", [Outcome(503), Outcome(error="refused")])
def test_a_service_that_fails_is_left_alone(house: House, outcome: Outcome) -> None:
    house.services.give[BAD] = outcome
    house.put(BAD, 100)
    eventually(lambda: house.lanes.of(BAD).shut)
    house.put(GOOD, 50)
    eventually(lambda: house.services.made[GOOD] == 50)
    assert house.services.made[BAD] <= 20, "those that were in flight"
    assert BAD in (house.lanes.remark() or "")


def test_it_gets_its_calls_when_it_answers_again(house: House) -> None:
    house.services.give[BAD] = Outcome(503)
    house.put(BAD, 100)
    eventually(lambda: house.lanes.of(BAD).shut)
    failed = house.services.made[BAD]
    house.services.give[BAD] = Outcome(200)
    house.clock.now += 100
    house.lanes.changed.set()
    eventually(lambda: house.services.made[BAD] == 100)
    assert len(house.queue.store.rows) == failed
    assert house.lanes.remark() is None


def test_calls_that_are_too_old_do_not_keep_it_from_being_asked(house: House) -> None:
    for _ in range(5):
        house.lanes.judge(house.lanes.of(BAD), reachable=False, seconds=0.1)
    old = json.dumps({"url": f"{BAD}/", "max_age": "1s"}).encode()
    for _ in range(30):
        call = Call(old, accepted_at=time.time() - 60, lane=BAD)
        house.queue.put(call)
    house.put(BAD, 1)
    house.clock.now += 100  # and then stands still: there is one probe
    house.lanes.changed.set()
    eventually(lambda: house.services.made[BAD] == 1)
    assert len(house.queue.store.dead) == 30
    assert not house.lanes.of(BAD).shut


@pytest.mark.parametrize("status", [404, 500, 301])
def test_an_answer_that_is_no_success_is_a_sign_of_life(
    house: House, status: int
) -> None:
    house.services.give[BAD] = Outcome(status)
    house.put(BAD, 100)
    eventually(lambda: house.services.made[BAD] == 100)
    assert not house.lanes.of(BAD).shut


@pytest.mark.parametrize(
    "outcome",
    [Outcome(200), Outcome(error="no", permanent=True), RuntimeError("a bug")],
)
def test_whatever_comes_of_it_the_slot_is_free_again(
    house: House, outcome: Outcome | Exception
) -> None:
    house.services.give[GOOD] = outcome
    house.put(GOOD, 60)  # three for each consumer
    eventually(lambda: house.services.made[GOOD] == 60)
    eventually(lambda: not house.lanes.of(GOOD).out)
