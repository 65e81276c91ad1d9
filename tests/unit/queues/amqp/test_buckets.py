"""What is known of the calls that were set aside, without a broker."""

from typing import cast

from mspc.lanes.breaker import Breaker
from mspc.lanes.lane import Lane
from mspc.queues.amqp.buckets import Bucket, Buckets
from mspc.queues.amqp.delivery import AmqpDelivery


class Held:
    """As much of a delivery as a bucket looks at."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane


def lane(key: str = "http://one:80", *, proven: bool = False) -> Lane:
    made = Lane(key, Breaker(5, 5.0, lambda: 0.5))
    made.proven = proven
    return made


def delivery(of: Lane) -> AmqpDelivery:
    return cast(AmqpDelivery, Held(of))


def test_what_is_put_is_counted_until_it_comes() -> None:
    bucket, one = Bucket("b"), lane()
    bucket.expect(one)
    bucket.expect(one)
    assert (bucket.known, one.aside) == (2, 2)
    bucket.came(one)
    bucket.came(one)
    assert (bucket.known, one.aside, bucket.idle) == (0, 0, True)
    bucket.came(one)  # another instance's
    assert (bucket.known, one.aside, bucket.idle) == (0, 0, True)


def test_what_is_held_is_aside_still_and_leaves_in_order() -> None:
    bucket, one = Bucket("b"), lane()
    first, second, third = (delivery(one) for _ in range(3))
    bucket.hold(second)
    bucket.hold(third)
    bucket.hold(first, first=True)
    assert one.aside == 3
    assert [bucket.let_go(one) for _ in range(3)] == [first, second, third]
    assert (one.aside, bucket.held) == (0, {})


def test_what_was_lost_in_flight_is_not_taken_for_what_is_known() -> None:
    """It comes first; as many are left as the broker has told."""
    bucket, one, two = Bucket("b"), lane(), lane("http://two:80")
    for _ in range(3):
        bucket.expect(one)
    bucket.contains(5)  # two of them were being attempted when the channel was lost
    for known in (one, two, one):
        bucket.came(known)
    assert bucket.known + bucket.unseen == 2


def test_what_is_given_back_is_to_come_again() -> None:
    bucket, one, two = Bucket("b"), lane(), lane("http://two:80")
    bucket.unseen = 5
    for held in (one, one, two):
        bucket.hold(delivery(held))
    assert len(bucket.let_all_go()) == 3
    assert (bucket.counts, bucket.unseen) == ({one: 2, two: 1}, 5)
    assert (one.aside, two.aside) == (2, 1)
    for back in (one, one, two):
        bucket.came(back)
    assert (bucket.counts, bucket.unseen, one.aside) == ({}, 5, 0)


def test_what_nobody_has_told_of_is_what_the_broker_has_more() -> None:
    bucket, one = Bucket("b"), lane()
    bucket.expect(one)
    bucket.contains(10)
    assert bucket.unseen == 9
    bucket.contains(1)
    assert bucket.unseen == 0


def test_what_is_put_behind_the_unknown_comes_after_it() -> None:
    """Two buckets whose calls are moved to each other would never be known."""
    one, bucket, other = lane(), Bucket("b"), Bucket("c")
    for each in (bucket, other):
        each.contains(20)
    for number in range(20):
        for here, there in ((bucket, other), (other, bucket)):
            assert here.came(one) is (number == 19)
            there.expect(one)
    for each in (bucket, other):
        assert (each.unseen, each.ahead, each.counts) == (0, 0, {one: 20})
        each.contains(20)
        assert each.unseen == 0
    assert one.aside == 40


def test_what_is_given_back_is_ahead_of_the_unknown_again() -> None:
    bucket, one, two = Bucket("b"), lane(), lane("http://two:80")
    bucket.contains(3)
    assert not bucket.came(one)
    bucket.hold(delivery(one))
    bucket.let_all_go()
    bucket.expect(two)
    assert [bucket.came(one), bucket.came(one), bucket.came(two)] == [0, 0, 1]
    assert (bucket.unseen, bucket.counts) == (0, {two: 1})


def test_an_empty_bucket_ends_what_was_expected() -> None:
    """Another instance may have made the calls that we put there."""
    bucket, one, two = Bucket("b"), lane(), lane("http://two:80")
    other = Bucket("c")
    bucket.expect(one)
    bucket.expect(two)
    other.expect(one)
    bucket.hold(delivery(two))
    bucket.contains(0)
    assert (one.aside, two.aside, bucket.counts) == (1, 1, {})
    assert not bucket.idle  # one is held still


def test_those_that_answer_have_buckets_of_their_own() -> None:
    names = [f"b{number}" for number in range(16)]
    buckets = Buckets(names)
    for number in range(200):
        key = f"http://host-{number}:80"
        assert buckets.home(lane(key)).name in names[:8]
        assert buckets.home(lane(key, proven=True)).name in names[8:]
        shut = lane(key, proven=True)
        shut.paused = True
        assert buckets.home(shut).name in names[:8]


def test_lanes_are_spread_over_the_buckets() -> None:
    """Two choices: with as many lanes as buckets few share one, none with many."""
    buckets = Buckets([f"b{number}" for number in range(16)])
    for number in range(8):
        one = lane(f"http://host-{number}:80")
        buckets.home(one).expect(one)
    assert max(len(bucket.counts) for bucket in buckets) <= 2


def test_a_call_in_the_way_goes_elsewhere() -> None:
    buckets = Buckets([f"b{number}" for number in range(16)])
    for number in range(50):
        one = lane(f"http://host-{number}:80")
        home = buckets.home(one)
        home.expect(one)
        assert buckets.home(one, but=home) is not home
        assert buckets.having(one) == [home]


def test_one_bucket_of_each_kind_is_enough() -> None:
    buckets = Buckets(["others", "answering"])
    one = lane()
    home = buckets.home(one)
    assert home.name == "others"
    assert buckets.home(one, but=home) is home


def test_what_is_given_back_comes_again_before_what_was_put_behind_it() -> None:
    bucket, one, two = Bucket("b"), lane(), lane("http://two:80")
    bucket.contains(2)
    bucket.came(one)  # and is made, for a while
    bucket.expect(two)
    bucket.comes_again(one)
    assert (bucket.counts, one.aside) == ({one: 1, two: 1}, 1)
    assert not bucket.came(one)
    assert bucket.came(two)  # another one, which nobody knew
    assert (bucket.counts, bucket.unseen) == ({two: 1}, 0)
