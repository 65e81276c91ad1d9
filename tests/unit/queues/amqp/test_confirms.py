"""What was published and is not confirmed yet: by delivery tag, not by order."""

import time

import pytest

from mspc.errors import QueueUnavailable
from mspc.queues.amqp.confirms import Confirms, Publish, Unroutable


@pytest.fixture
def confirms() -> Confirms:
    return Confirms()


def sent(confirms: Confirms, *ids: str, queue: str = "calls") -> list[Publish]:
    return [confirms.sent(queue, one) for one in ids]


def settled(publishes: list[Publish]) -> list[bool]:
    return [publish.confirmed.ready() for publish in publishes]


def test_a_confirm_is_for_its_tag_only(confirms: Confirms) -> None:
    publishes = sent(confirms, "a", "b", "c")
    confirms.settle(2, multiple=False, refused=False)
    assert settled(publishes) == [False, True, False]
    publishes[1].wait()
    assert confirms.any


@pytest.mark.parametrize(("tag", "count"), [(2, 2), (0, 3), (9, 3)])
def test_a_confirm_of_many_is_for_all_up_to_its_tag(
    confirms: Confirms, tag: int, count: int
) -> None:
    publishes = sent(confirms, "a", "b", "c")
    confirms.settle(tag, multiple=True, refused=False)
    assert sum(settled(publishes)) == count


def test_a_late_confirm_is_not_credited_to_the_next_message(
    confirms: Confirms,
) -> None:
    sent(confirms, "given up")
    confirms.give_up("nobody knows")
    (following,) = sent(confirms, "following")
    confirms.settle(1, multiple=False, refused=False)
    assert not following.confirmed.ready()


def test_whoever_waits_is_told_when_it_is_given_up(confirms: Confirms) -> None:
    (publish,) = sent(confirms, "a")
    confirms.give_up("the link is lost")
    with pytest.raises(QueueUnavailable, match="the link is lost"):
        publish.wait()
    assert not confirms.any


def test_a_returned_message_is_not_stored_though_it_is_confirmed(
    confirms: Confirms,
) -> None:
    returned, stored = sent(confirms, "a", "b")
    confirms.returned("calls", "a")
    confirms.settle(2, multiple=True, refused=False)
    with pytest.raises(Unroutable):
        returned.wait()
    stored.wait()


@pytest.mark.parametrize("returns", [1, 2])
def test_of_two_calls_of_one_id_none_is_stored_that_may_have_been_returned(
    confirms: Confirms, returns: int
) -> None:
    """Another producer's, that have failed at once, to a queue that was deleted."""
    both = sent(confirms, "job", "job")
    (elsewhere,) = sent(confirms, "job", queue="other")
    for _ in range(returns):
        confirms.returned("calls", "job")
    (later,) = sent(confirms, "job")
    confirms.settle(4, multiple=True, refused=False)
    for publish in both:
        with pytest.raises(Unroutable):
            publish.wait()
    elsewhere.wait()
    later.wait()


def test_what_was_returned_after_it_was_given_up_is_no_other_one(
    confirms: Confirms,
) -> None:
    sent(confirms, "a")
    confirms.give_up("the alarm is on")
    confirms.returned("calls", "a")
    confirms.settle(1, multiple=False, refused=False)
    (again,) = sent(confirms, "a")
    confirms.settle(2, multiple=False, refused=False)
    again.wait()


def test_how_long_a_queue_has_refused_everything(
    confirms: Confirms, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    sent(confirms, "a", "b", "c")
    confirms.settle(1, multiple=False, refused=True)
    assert confirms.refusing_for() == 0
    now = 104.0
    confirms.settle(2, multiple=False, refused=True)
    assert confirms.refusing_for() == 4
    sent(confirms, "another", queue="other")
    confirms.settle(4, multiple=False, refused=False)
    assert confirms.refusing_for() == 4
    confirms.settle(3, multiple=False, refused=False)
    assert confirms.refusing_for() == 0


def test_for_how_long_the_oldest_has_waited(
    confirms: Confirms, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert confirms.oldest() == 0
    sent(confirms, "a")
    now = 103.0
    sent(confirms, "b")
    assert confirms.oldest() == 3
    confirms.settle(1, multiple=False, refused=False)
    assert confirms.oldest() == 0


def test_what_is_settled_together_took_as_long_as_its_oldest(
    confirms: Confirms,
) -> None:
    took: list[float] = []
    confirms.took = took.append
    publishes = sent(confirms, "a", "b", "c", "d")
    publishes[0].sent_at -= 60
    publishes[3].sent_at -= 30
    confirms.settle(3, multiple=True, refused=False)
    confirms.settle(4, multiple=False, refused=True)
    confirms.settle(4, multiple=False, refused=False)  # nobody waits for it any more
    confirms.settle(0, multiple=True, refused=False)
    assert [round(seconds) for seconds in took] == [60, 30]
