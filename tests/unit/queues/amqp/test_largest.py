"""How large a message may be, from what RabbitMQ says of one that was too large."""

import pytest

from mspc.queues.amqp.largest import BELIEVED_SECONDS, Largest, TooLarge
from tests.support.clock import Clock

SIZE = "PRECONDITION_FAILED - message size 3000"
SAID = (
    f"RabbitMQ closed the channel: {SIZE} is larger than configured max size 1000",
    f"RabbitMQ closed the channel: {SIZE} is larger than max size 1000",
    f"{SIZE} larger than max size 1000",
)


@pytest.mark.parametrize("reason", SAID)
def test_it_learns_from_what_closed_a_channel(reason: str) -> None:
    largest = Largest()
    largest.check(3000)
    largest.learn(reason)
    largest.check(1000)
    with pytest.raises(TooLarge, match=r"above 1000 bytes.* has 1001.*max_message"):
        largest.check(1001)


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "Connection dead",
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'size 5'",
    ],
)
def test_nothing_else_is_taken_for_it(reason: str) -> None:
    largest = Largest()
    largest.learn(reason)
    largest.check(10**9)


def test_it_asks_again_after_a_while() -> None:
    clock = Clock()
    largest = Largest(clock)
    largest.learn(SAID[0])
    with pytest.raises(TooLarge):
        largest.check(1001)
    clock.now = BELIEVED_SECONDS + 1
    largest.check(1001)  # if RabbitMQ refuses it, that is said again
    largest.learn(SAID[0])
    with pytest.raises(TooLarge):
        largest.check(1001)
