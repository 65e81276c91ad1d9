"""Room for large bodies: in turns, bounded, and nothing of it gets lost."""

import gevent
import pytest
from gevent.pool import Pool

from mspc.errors import Crowded
from mspc.serving.room import Room, Share


def test_it_is_taken_and_given_back() -> None:
    room = Room(10, patience=0.0)
    assert room.take(6) == 6
    with pytest.raises(Crowded, match="send it again"):
        room.take(5)
    room.give_back(6)
    assert room.take(10) == 10


def test_who_wants_more_than_all_of_it_gets_all_of_it() -> None:
    room = Room(10, patience=0.0)
    assert room.take(11) == 10
    with pytest.raises(Crowded):
        room.take(1)


def test_who_came_first_is_first_though_there_is_room_for_others() -> None:
    room = Room(10)
    room.take(9)
    order: list[int] = []

    def wait(size: int) -> None:
        room.take(size)
        order.append(size)

    waiting = [gevent.spawn(wait, size) for size in (5, 1, 4)]
    gevent.idle()
    assert order == []
    room.give_back(9)
    gevent.joinall(waiting, raise_error=True, timeout=15)
    assert order == [5, 1, 4]


def test_who_gives_up_is_in_nobody_s_way() -> None:
    room = Room(10)
    room.take(9)
    large, small = gevent.spawn(room.take, 5), gevent.spawn(room.take, 1)
    gevent.idle()
    large.kill()
    assert small.get(timeout=15) == 1
    room.give_back(9)
    assert room.take(9) == 9


def test_whose_turn_has_come_as_he_gives_up_leaves_it_to_others() -> None:
    room = Room(10)
    room.take(10)
    first, second = gevent.spawn(room.take, 10), gevent.spawn(room.take, 10)
    gevent.idle()
    first.kill(block=False)
    room.give_back(10)
    assert second.get(timeout=15) == 10


def test_a_share_gives_back_what_it_has_once() -> None:
    room = Room(10, patience=0.0)
    share = Share(room)
    share.take(3)
    share.take(3)
    share.give_back()
    share.give_back()
    assert room.take(10) == 10


def test_many_use_it() -> None:
    room, most, now = Room(10), 0, 0

    def use(size: int) -> None:
        nonlocal most, now
        held = room.take(size)
        now += held
        most = max(most, now)
        gevent.sleep(0)
        now -= held
        room.give_back(held)

    pool = Pool(50)
    pool.map(use, [1 + number % 9 for number in range(500)])
    assert (most, now) == (10, 0)
    assert room.take(10) == 10
