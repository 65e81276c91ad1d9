"""Calls that are larger than a RabbitMQ takes (`max_message_size`)."""

from collections.abc import Iterator

import pytest
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.queues.amqp.largest import TooLarge
from mspc.queues.amqp.queue import AmqpQueue
from mspc.settings.config import AmqpConfig
from tests.support.opened import Opened
from tests.support.rabbitmq import RabbitNode
from tests.support.waiting import eventually

LARGEST = 5_000
AS_INSTALLED = 134_217_728
LARGE = b"x" * (LARGEST + 1)


def allow(node: RabbitNode, octets: int) -> None:
    """Channels that are opened from now on take messages of so many."""
    node.eval(f"application:set_env(rabbit, max_message_size, {octets}).")


@pytest.fixture
def opened(rabbitmq_node: RabbitNode, config: AmqpConfig) -> Iterator[Opened]:
    allow(rabbitmq_node, LARGEST)
    opened = Opened(AmqpQueue(config))
    yield opened
    allow(rabbitmq_node, AS_INSTALLED)
    opened.close()


def test_one_that_is_too_large_is_in_nobody_s_way(opened: Opened) -> None:
    refused: list[str] = []

    def put(payload: bytes) -> None:
        try:
            opened.queue.put(Call(payload))
        except QueueUnavailable as exc:
            refused.append(str(exc))

    fit = {b"%04d" % number for number in range(LARGEST - 50, LARGEST)}
    Pool(51).map(put, [LARGE, *fit])
    assert len(refused) == 1
    assert f"no message above {LARGEST} bytes" in refused[0]
    assert "max_message_size" in refused[0]
    came: set[bytes] = set()
    while came != fit:  # some twice: the channel was closed before their confirms
        delivery = opened.take()
        came.add(delivery.call.payload)
        delivery.ack()


def test_what_is_too_large_is_known_before_the_channel_is_closed_again(
    opened: Opened,
) -> None:
    link = opened.queue._publishing  # type: ignore[attr-defined]
    with pytest.raises(TooLarge):
        opened.queue.put(Call(LARGE))
    eventually(link.up.is_set)
    channel = link.channel
    for _ in range(3):
        with pytest.raises(TooLarge):
            opened.queue.put(Call(LARGE))
    opened.queue.put(Call(b"x" * LARGEST))
    assert opened.take().call.payload == b"x" * LARGEST
    assert link.channel is channel


def test_a_call_of_before_waits_where_it_is(
    rabbitmq_node: RabbitNode, opened: Opened
) -> None:
    """Its next attempt cannot be written down; when there is room again it can."""
    allow(rabbitmq_node, AS_INSTALLED)
    link = opened.queue._publishing  # type: ignore[attr-defined]
    link.channel.lose("a channel of before")
    eventually(link.up.is_set)
    opened.queue.put(Call(LARGE))
    allow(rabbitmq_node, LARGEST)
    link.channel.lose("from now on there is less room")
    eventually(link.up.is_set)
    delivery = opened.take()
    with pytest.raises(QueueUnavailable):
        delivery.retry(delivery.call.next_attempt("no"), 0.2)
    again = opened.take()
    assert again.call.id == delivery.call.id
    assert again.call.payload == LARGE
    again.ack()
