"""Whatever happens to the lanes, no call is left that could be made."""

import random
from collections.abc import Callable

import pytest

from mspc.lanes.lane import Lane
from mspc.lanes.lanes import Lanes
from tests.support.clock import Clock
from tests.unit.lanes.test_lanes import Ready

KEYS = [f"http://{number}.test:80" for number in range(12)]


class World:
    """Lanes to which things happen by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = Clock(1000.0)
        size = self.chance.choice([1, 2, 5, 20])
        self.lanes = Lanes(size, 3, 5.0, self.clock, self.chance.random, self.clock)
        self.out: list[Ready] = []
        self.known: dict[str, Lane] = {}
        self.offered = self.taken = 0

    def lane(self) -> Lane:
        key = self.chance.choice(KEYS)
        return self.known.setdefault(key, self.lanes.of(key))

    def offer(self) -> None:
        lane = self.lane()
        for _ in range(self.chance.randint(1, 5)):
            self.lanes.offer(Ready(lane))
            self.offered += 1

    def end(self) -> None:
        if self.out:
            item = self.out.pop(self.chance.randrange(len(self.out)))
            # Some services answer as a rule, some never do.
            odds = KEYS.index(item.lane.key) / len(KEYS)
            answers = self.chance.random() < odds
            self.lanes.judge(item.lane, answers, self.chance.random())
            self.lanes.ended(item)

    def pass_time(self) -> None:
        self.clock.now += self.chance.choice([0.01, 0.3, 1.0, 3.0, 20.0])

    def steer(self) -> None:
        key = self.lane().key
        steps: list[Callable[[], None]] = [
            lambda: self.lanes.pause(key),
            lambda: self.lanes.resume(key),
            lambda: self.lanes.limit(key, self.chance.choice([None, 2]), 1.0, 2),
            lambda: self.lanes.unlimit(key),
        ]
        self.chance.choice(steps)()

    def take_all(self) -> None:
        while (item := self.lanes.take()) is not None:
            assert isinstance(item, Ready)
            self.out.append(item)
            self.taken += 1


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_left_that_could_be_made(seed: int) -> None:
    world = World(seed)
    steps = [world.offer, world.offer, world.end, world.end, world.pass_time]
    for _ in range(200):
        world.chance.choice([*steps, world.chance.choice([*steps, world.steer])])()
        world.take_all()
        for lane in world.known.values():
            admitted = world.lanes._slots.admits(lane, world.clock.now)
            assert not (lane.ready and admitted), lane.key
    for key in KEYS:
        world.lanes.resume(key)
        world.lanes.unlimit(key)
    for _ in range(2000):
        world.end()
        world.clock.now += 1.0
        world.take_all()
    assert world.taken == world.offered
    assert not world.out
