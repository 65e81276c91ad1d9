"""Those who can wait rest after each piece, while others have something to do."""

from dataclasses import dataclass, field

import pytest

from mspc.journal.leisure import LONGEST_REST_SECONDS, REST, Leisure


@dataclass
class World:
    """A clock that somebody who sleeps moves on, and whether calls come and go."""

    now: float = 0.0
    busy: bool = True
    slept: list[float] = field(default_factory=list)

    def timer(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def is_busy(self) -> bool:
        return self.busy

    def new_leisure(self) -> Leisure:
        return Leisure(self.is_busy, self.timer, self.sleep)


@pytest.fixture
def world() -> World:
    return World()


def work(world: World, leisure: Leisure, seconds: float) -> None:
    with leisure.piece():
        world.now += seconds


def test_each_piece_is_followed_by_a_rest(world: World) -> None:
    leisure = world.new_leisure()
    for _ in range(10):
        work(world, leisure, 0.002)
    assert world.slept == pytest.approx([0.002 * REST] * 9)


def test_time_that_has_passed_anyway_is_rest(world: World) -> None:
    leisure = world.new_leisure()
    work(world, leisure, 0.004)
    world.now += 0.003 * REST
    work(world, leisure, 0.001)
    world.now += 0.001 * REST
    work(world, leisure, 0.001)
    assert world.slept == pytest.approx([0.001 * REST])


def test_nobody_rests_when_there_is_nothing_else_to_do(world: World) -> None:
    world.busy = False
    leisure = world.new_leisure()
    for _ in range(10):
        work(world, leisure, 0.002)
    assert not world.slept


def test_pieces_side_by_side_share_the_rest_that_ends_last(world: World) -> None:
    leisure = world.new_leisure()
    with leisure.piece():
        with leisure.piece():
            world.now += 0.002
        world.now += 0.001
    work(world, leisure, 0.001)
    assert world.slept == pytest.approx([0.003 * REST])


def test_whoever_waits_goes_on_waiting_when_another_has_begun_before(
    world: World,
) -> None:
    leisure = world.new_leisure()
    work(world, leisure, 0.002)
    others = [0.003]

    def sleep(seconds: float) -> None:
        world.sleep(seconds)
        if others:  # a piece that was begun before ends now
            leisure._rests_until = world.now + others.pop()

    leisure._sleep = sleep
    work(world, leisure, 0.001)
    assert world.slept == pytest.approx([0.002 * REST, 0.003])


def test_a_piece_that_took_long_is_not_paid_for_as_long(world: World) -> None:
    leisure = world.new_leisure()
    work(world, leisure, 5.0)
    work(world, leisure, 0.001)
    assert world.slept == pytest.approx([LONGEST_REST_SECONDS])


def test_a_piece_that_fails_counts_too(world: World) -> None:
    leisure = world.new_leisure()

    def fail() -> None:
        world.now += 0.002
        raise RuntimeError

    with pytest.raises(RuntimeError), leisure.piece():
        fail()
    work(world, leisure, 0.001)
    assert world.slept == pytest.approx([0.002 * REST])
