"""Calls of any delays wait in the ladder for days, by a clock of the test's own."""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast

import gevent
import pytest

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.queues.amqp.consuming import Consuming
from mspc.queues.amqp.delivery import AmqpDelivery
from mspc.queues.amqp.ladder import HOLD_SECONDS, MOVE_AGAIN_SECONDS, Ladder, Window
from mspc.queues.amqp.sources import Source
from mspc.queues.amqp.topology import LEVELS, Topology

HOUR = 3600.0
START = 1_800_000_000.0
WINDOW = 20


class Timer:
    def __init__(self) -> None:
        self.killed = False

    def kill(self, block: bool = True) -> None:
        self.killed = True


class Delivery:
    """What a level has lent out."""

    alive = True

    def __init__(self, world: "World", source: Source, stored: tuple[Any, ...]) -> None:
        self.world = world
        self.source = source
        self.stored = stored
        self.call: Call = stored[0]
        self.size = len(self.call.payload)
        self.lent_at = world.now

    def ack(self) -> None:
        self._settle()

    def give_back(self) -> None:
        self._settle()
        self.world.levels[self.source.name].appendleft(self.stored)

    def _settle(self) -> None:
        held = self.world.now - self.lent_at
        self.world.longest_held = max(self.world.longest_held, held)
        self.source.held -= 1
        self.world.lent.remove(self)


class World:
    """A broker of sixteen queues, a clock, and the ladder on them.

    Attributes:
        made: when each call was ready, seconds from START.
        moves: how often a call was published.
    """

    def __init__(self, *, ahead: float = 0.0) -> None:
        self.now = START
        self.ahead = ahead  # by how much the wall clock is wrong
        self.timers: list[tuple[float, int, Timer, Callable[[], None]]] = []
        self.order = itertools.count()
        self.made: dict[str, float] = {}
        self.moves = 0
        self.away = False
        self.longest_held = 0.0
        self.grown: list[int | None] = []
        topology = Topology("q", "classic")
        self.levels: dict[str, deque[tuple[Any, ...]]] = {
            name: deque() for name in topology.retries
        }
        self.sources = [
            Source(name, level, WINDOW, WINDOW, WINDOW)
            for level, name in enumerate(topology.retries)
        ]
        self.topology = topology
        self.lent: list[Delivery] = []
        self.start()

    def start(self) -> None:
        """A new process: what was lent out is in the queues again."""
        self.timers.clear()
        for delivery in reversed(self.lent):
            delivery.give_back()
        for source in self.sources:
            source.paused = False
        self.ladder = Ladder(
            self.topology,
            self.publish,
            self.ready,
            lambda: self.now + self.ahead,
            lambda: self.now,
            Window(lambda act: act(), lambda: self.now, cast(Any, self.spawn_later)),
        )

    # What the ladder has to do with

    def spawn_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer()
        due = self.now + seconds
        heapq.heappush(self.timers, (due, next(self.order), timer, action))
        return timer

    def publish(self, queue: str, call: Call, *, due: float, left: float) -> None:
        if self.away:
            raise QueueUnavailable("away")
        self.moves += 1
        self.levels[queue].append((call, due, left))

    def ready(self, delivery: AmqpDelivery) -> None:
        assert delivery.call.id not in self.made, "made twice"
        self.made[delivery.call.id] = self.now - START
        delivery.ack()

    def may_wait(self, size: int) -> bool:
        return True

    def waited(self, size: int) -> None: ...

    def grow(self, source: Source) -> None:
        self.grown.append(source.level)

    def pause(self, source: Source) -> None:
        source.paused = True

    def resume(self, source: Source) -> None:
        source.paused = False

    # What happens

    def put(self, delay: float) -> str:
        call = Call(b"{}")
        self.ladder.put(call, delay)
        return call.id

    def deliver(self) -> None:
        again = True
        while again:
            again = False
            for source in self.sources:
                queue = self.levels[source.name]
                while queue and source.held < WINDOW and not source.paused:
                    again = True
                    self.lend(source, queue.popleft())
            before = self.moves
            gevent.idle()  # what is moved is
            again = again or self.moves > before

    def lend(self, source: Source, stored: tuple[Any, ...]) -> None:
        source.held += 1
        delivery = Delivery(self, source, stored)
        self.lent.append(delivery)
        self.ladder.arrived(
            cast(Consuming, self), cast(AmqpDelivery, delivery), *stored[1:]
        )

    def run(self, seconds: float) -> None:
        """Lets so much time go by, or less when nothing is left to happen."""
        end = self.now + seconds
        self.deliver()
        while self.timers and self.timers[0][0] <= end:
            due, _, timer, action = heapq.heappop(self.timers)
            if timer.killed:
                continue
            self.now = max(self.now, due)
            action()
            self.deliver()
        self.now = end


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.ladder.stop()


@pytest.mark.parametrize(
    "delay",
    [
        *(0.0, 0.2, 0.999, 1.0, 1.5, 2.0, 3.0, 4.9, 5.0, 7.99, 8.0, 60.0, HOUR),
        *(9 * HOUR, 24 * HOUR, 40 * 24 * HOUR),
    ],
)
def test_a_call_is_made_when_it_is_due(world: World, delay: float) -> None:
    made = world.put(delay)
    world.run(delay + 5)
    assert world.made[made] == pytest.approx(delay, abs=0.01)
    assert world.made[made] >= delay - 1e-6


def test_only_what_leaves_soon_makes_a_level_hold_more(world: World) -> None:
    world.put(5.0)
    world.run(1)
    assert world.grown == []
    world.run(10)
    assert world.grown == [2]  # when its time came
    world.put(1.0)
    world.run(1)
    assert world.grown == [2, 0]


def test_the_usual_delay_costs_one_message(world: World) -> None:
    for _ in range(10 * WINDOW):
        world.put(5.0)
    world.run(10)
    assert len(world.made) == world.moves == 10 * WINDOW


def test_one_of_18_hours_is_in_nobodys_way(world: World) -> None:
    long = [world.put(18 * HOUR) for _ in range(3 * WINDOW)]
    short = [world.put(9 * HOUR + number) for number in range(3 * WINDOW)]
    world.run(19 * HOUR)
    late = [world.made[one] - 18 * HOUR for one in long]
    late += [world.made[one] - 9 * HOUR - n for n, one in enumerate(short)]
    assert min(late) >= -1e-6
    assert max(late) < 1
    assert world.longest_held <= HOLD_SECONDS + 1


def test_any_delays_are_kept_within_a_second(world: World) -> None:
    """2,000 calls, a hundred times as many as are held of a queue, put over an hour."""
    chance = random.Random(7)
    due = {}
    for _ in range(2000):
        delay = chance.choice((chance.uniform(0, 60), chance.uniform(0, 6 * HOUR)))
        due[world.put(delay)] = world.now - START + delay
        world.run(chance.expovariate(1 / 1.8))
    world.run(7 * HOUR)
    late = [world.made[one] - due[one] for one in due]
    assert min(late) >= -1e-6
    assert max(late) < 1.2
    assert world.longest_held <= HOLD_SECONDS + 1


@pytest.mark.parametrize("step", [-10 * HOUR, 10 * HOUR])
def test_a_step_of_the_clock_moves_no_call(world: World, step: float) -> None:
    delays = (3.0, 50.0, 2 * HOUR)
    made = [world.put(delay) for delay in delays]
    world.run(1)
    world.ahead = step
    world.run(3 * HOUR)
    for one, delay in zip(made, delays, strict=True):
        assert world.made[one] == pytest.approx(delay, abs=0.01)


@pytest.mark.parametrize("step", [-10 * HOUR, -HOUR, -60, 60, 10 * HOUR])
def test_a_step_of_the_clock_over_a_restart_costs_no_more_than_the_delay_again(
    world: World, step: float
) -> None:
    delays = (3.0, 50.0, 2 * HOUR)
    made = [world.put(delay) for delay in delays]
    world.run(1)
    world.ahead = step
    world.start()
    world.run(6 * HOUR)
    for one, delay in zip(made, delays, strict=True):
        assert world.made[one] <= 2 * delay + 10


def test_a_restart_is_noticed_by_nobody(world: World) -> None:
    due = {world.put(delay): delay for delay in (1.0, 5.0, 50.0, 2 * HOUR, 9 * HOUR)}
    for _ in range(100):
        world.run(6 * 60)
        world.start()
    assert world.made == {one: pytest.approx(due[one], abs=0.1) for one in due}


def test_an_older_version_said_nothing_of_what_is_left(world: World) -> None:
    """It kept a call in one level until it was due."""
    call = Call(b"{}")
    world.levels["q.retry.5"].append((call, START + 50, 0.0))
    world.run(60)
    assert world.made == {call.id: pytest.approx(50)}
    assert world.moves == 0


def test_what_cannot_be_moved_is_moved_later(world: World) -> None:
    made = world.put(7.0)
    world.run(3)
    world.away = True
    world.run(3)
    assert len(world.levels["q.retry.2"]) + world.sources[2].held == 1
    world.away = False
    world.run(5)
    assert world.made[made] <= 7.0 + MOVE_AGAIN_SECONDS + 0.1


def test_every_level_has_a_queue() -> None:
    topology = Topology("q", "classic")
    levels = [topology.level_for(2.0**k) for k in range(LEVELS)]
    assert levels == list(range(LEVELS))
    assert topology.level_for(0.0) == topology.level_for(1.99) == 0
    assert topology.level_for(1e9) == LEVELS - 1
