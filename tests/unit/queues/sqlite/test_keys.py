"""Keys of rows, whether or not their rows are gone."""

import random

import pytest

from mspc.queues.sqlite.keys import Keys


@pytest.fixture
def keys() -> Keys:
    keys = Keys()
    keys.add(list(range(1, 101)))
    return keys


def test_they_come_in_order(keys: Keys) -> None:
    assert keys.take(3) == [1, 2, 3]
    keys.give_back([2, 3])
    assert len(keys) == 99
    assert keys.take(3) == [2, 3, 4]


@pytest.mark.parametrize("gone", [{2}, {1, 2, 3}, set(range(2, 100)), {100}])
def test_what_is_gone_does_not_come(keys: Keys, gone: set[int]) -> None:
    left = [key for key in range(1, 101) if key not in gone]
    keys.remove(gone)
    assert len(keys) == len(left)
    assert keys.take(2) == left[:2]
    assert len(keys) == len(left) - 2
    assert keys.take(200) == left[2:]
    assert not keys


def test_what_was_given_back_may_be_gone(keys: Keys) -> None:
    keys.give_back(keys.take(10))
    keys.remove({1, 3})
    assert keys.take(3) == [2, 4, 5]


def test_what_was_never_here_keeps_no_other_back(keys: Keys) -> None:
    keys.remove({1000 + number for number in range(10)})
    taken: list[int] = []
    while keys:
        taken += keys.take(1)
    assert taken == list(range(1, 101))


@pytest.mark.parametrize(("put_off", "others"), [(1, 0), (10, 0), (24, 60), (1, 90)])
def test_what_was_put_off_comes_again(keys: Keys, put_off: int, others: int) -> None:
    """It has the same row, and so the same key."""
    late = list(range(50, 50 + put_off))
    keys.remove({*late})
    keys.add(late)
    keys.remove({*range(1000, 1000 + others)})
    taken: list[int] = []
    while keys:
        taken += keys.take(7)
    assert sorted(taken) == list(range(1, 101))


@pytest.mark.parametrize("seed", range(20))
def test_each_comes_once_or_is_gone(seed: int) -> None:
    chance = random.Random(seed)
    keys, last = Keys(), 0
    present: set[int] = set()
    for _ in range(500):
        match chance.randrange(5):
            case 0:
                new = list(range(last + 1, last + chance.randrange(2, 30)))
                last = new[-1]
                keys.add(new)
                present.update(new)
            case 1:
                some = chance.sample(sorted(present), min(len(present), 5))
                keys.remove({*some, -chance.randrange(1000)})
                present.difference_update(some)
            case 2:
                taken = keys.take(chance.randrange(10))
                assert present.issuperset(taken)
                present.difference_update(taken)
            case 3:
                taken = keys.take(3)
                keys.give_back(taken)
            case 4:
                late = chance.sample(sorted(present), min(len(present), 3))
                keys.remove({*late})
                keys.add(late)
        assert len(keys) <= len(present)
        assert bool(keys) == bool(present)
    assert sorted(keys.take(10_000)) == sorted(present)
