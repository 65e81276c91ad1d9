"""Passes through the dead letters of a real RabbitMQ when things go wrong."""

import itertools
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import gevent
import pytest
from amqpstorm.channel import Channel
from amqpstorm.exception import AMQPChannelError
from amqpstorm.message import Message
from gevent.pool import Pool

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.queues.amqp import dead_pass
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.queue import AmqpQueue
from mspc.settings.config import AmqpConfig
from tests.support.opened import Opened
from tests.support.rabbitmq import Broker, RabbitNode
from tests.support.waiting import eventually

MIB = 2**20


@pytest.fixture
def queue(config: AmqpConfig) -> Iterator[AmqpQueue]:
    queue = AmqpQueue(config)
    queue.start(lambda _: None)
    eventually(lambda: queue.problem() is None)
    yield queue
    queue.close()


def buried(queue: AmqpQueue, count: int, size: int = 10) -> list[str]:
    """The ids of new dead letters."""
    calls = [Call(b"x" * size) for _ in range(count)]
    # As many at once as may be: a classic queue confirms a few times a second.
    Pool(count).map(lambda call: queue.bury(call.next_attempt("500"), "no"), calls)
    return [call.id for call in calls]


def made(queue: AmqpQueue, count: int) -> list[str]:
    """The ids of the next calls, which are made."""
    ids = []
    with gevent.Timeout(30):
        for delivery in queue.deliveries():
            ids.append(delivery.call.id)
            delivery.ack()
            if len(ids) == count:
                break
    return ids


def drained(rabbitmq: Broker, queue: str) -> list[Message]:
    messages = []
    with rabbitmq.connect() as connection, connection.channel() as channel:
        while (message := channel.basic.get(queue, no_ack=True)) is not None:
            assert isinstance(message, Message)
            messages.append(message)
    return messages


def cut(queue: AmqpQueue) -> None:
    """The connection on which the dead letters are read breaks."""
    channel = queue._consuming.channel
    assert channel is not None
    assert channel.connection.socket is not None
    channel.connection.socket.shutdown(socket.SHUT_RDWR)


def asked_until_answered(
    verb: Callable[[Sequence[str]], list[str]], ids: list[str]
) -> list[str]:
    answers: list[list[str]] = []

    def ask() -> bool:
        with suppress(QueueUnavailable):
            answers.append(verb(ids))
        return bool(answers)

    eventually(ask, timeout=60)
    return answers[0]


@pytest.mark.parametrize("held", [20_000, 0], ids=["held", "written anew"])
def test_a_connection_that_breaks_in_the_middle_loses_nothing(
    queue: AmqpQueue, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(dead_pass, "HELD_CALLS", held)
    ids = buried(queue, 300)
    settle = queue._revive
    settled: list[str] = []

    def breaking(call: Call, delay: float) -> None:
        settle(call, delay)
        settled.append(call.id)
        if len(settled) == 20:
            cut(queue)

    monkeypatch.setattr(queue, "_revive", breaking)
    with pytest.raises(QueueUnavailable):
        queue.revive(ids[::2])
    eventually(lambda: queue.problem() is None)
    again = asked_until_answered(queue.revive, ids[::2])
    # Each is made once at least; those that were confirmed just then perhaps twice.
    assert set(settled) == set(ids[::2]) >= set(again)
    assert set(made(queue, len(settled))) == set(ids[::2])
    rest = asked_until_answered(queue.forget, ids)
    assert set(rest) >= set(ids[1::2])


def test_a_connection_that_breaks_is_noticed_at_once(
    queue: AmqpQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (call_id,) = buried(queue, 1)

    def breaking(_: Call) -> None:
        cut(queue)
        gevent.sleep(0.6)  # as long as RabbitMQ may take to confirm it

    monkeypatch.setattr(queue, "_revive", breaking)
    buried(queue, 100)
    patience = dead_pass.PATIENCE_SECONDS / 2
    with gevent.Timeout(patience), pytest.raises(QueueUnavailable):
        queue.revive([call_id, "0" * 32])


@pytest.mark.parametrize("held", [0, 5, 35])
def test_more_than_are_held_at_once(
    queue: AmqpQueue,
    config: AmqpConfig,
    rabbitmq: Broker,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
) -> None:
    """They are written anew, as they were; the last one is found as the first is."""
    monkeypatch.setattr(dead_pass, "HELD_CALLS", held)
    ids = buried(queue, 50)
    for call_id in (ids[-1], ids[0], ids[25]):
        assert queue.revive([call_id]) == [call_id]
    assert queue.forget(["0" * 32]) == []
    left = set(ids) - {ids[-1], ids[0], ids[25]}
    queue.close()
    messages = drained(rabbitmq, f"{config.name}.dead")
    for message in messages:
        assert message.properties["headers"]["x-mspc-reason"] == "no"
        assert message.properties["headers"]["x-mspc-died-ms"]
    assert sorted(str(message.message_id) for message in messages) == sorted(left)


def test_copied_ones_are_acknowledged_together(
    queue: AmqpQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, a quorum queue's client would keep some back, and forget them when
    the queue is closed: all that was copied would be there twice.
    """
    monkeypatch.setattr(dead_pass, "HELD_CALLS", 0)
    buried(queue, 50)
    alone: list[int] = []
    monkeypatch.setattr(PipelinedChannel, "ack", lambda _, tag: alone.append(tag))
    assert queue.forget(["0" * 32]) == []
    assert alone == []


def test_large_ones_are_taken_a_few_at_once(
    queue: AmqpQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_pass, "STEP_BYTES", 3 * MIB)
    ids = buried(queue, 20, MIB)
    settle = queue._revive
    most = now = 0

    def counting(call: Call, delay: float) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        try:
            settle(call, delay)
        finally:
            now -= 1

    monkeypatch.setattr(queue, "_revive", counting)
    assert sorted(queue.revive(ids)) == sorted(ids)
    assert 1 <= most <= 3
    assert sorted(made(queue, 20)) == sorted(ids)


def test_what_the_last_pass_gave_back_is_seen_by_the_next(queue: AmqpQueue) -> None:
    ids = buried(queue, 1000)
    for call_id in ids[-3:]:
        assert queue.forget([call_id]) == [call_id]


def test_one_pass_at_a_time(queue: AmqpQueue) -> None:
    ids = buried(queue, 200)
    reached = Pool(4).map(queue.revive, [ids[number::4] for number in range(4)])
    assert sorted(itertools.chain(*reached)) == sorted(ids)
    assert sorted(made(queue, 200)) == sorted(ids)


def test_two_instances_at_once_lose_nothing(
    queue: AmqpQueue, config: AmqpConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each waits for what the other holds.
    monkeypatch.setattr(dead_pass, "PATIENCE_SECONDS", 0.5)
    ids = buried(queue, 200)
    other = Opened(AmqpQueue(config))
    other.queue.cancel()
    verbs = [queue.revive, other.queue.revive]
    Pool(2).map(
        lambda number: asked_until_answered(verbs[number], ids[number::2]), range(2)
    )
    other.close()
    # What one of them held while the other looked was not found, and is there still.
    asked_until_answered(queue.revive, ids)
    seen: set[str] = set()
    while seen != set(ids):
        seen.update(made(queue, 1))


def test_two_calls_of_one_id_are_two(queue: AmqpQueue) -> None:
    """Of another producer. A copy of one is one."""
    for payload in (b"one", b"other", b"one"):
        queue.bury(Call(payload, "same"), "no")
    assert queue.revive(["same"]) == ["same"]
    queue.revive(["same"])  # what was not looked at, if anything
    payloads = []
    with gevent.Timeout(30):
        for delivery in queue.deliveries():
            payloads.append(delivery.call.payload)
            delivery.ack()
            if set(payloads) == {b"one", b"other"}:
                break
    assert payloads.count(b"other") == 1


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_what_was_withdrawn_and_is_revived_elsewhere_comes_before_the_news(
    queue: AmqpQueue, config: AmqpConfig, delay: float
) -> None:
    """It had been in flight, and died. Only a cancel after that takes it back."""
    first, again = buried(queue, 2)
    queue.cancel()
    other = Opened(AmqpQueue(config))
    other.queue.cancelled(dict.fromkeys([first, again], time.time()))
    assert sorted(queue.revive([first, again], delay)) == sorted([first, again])
    deliveries = [other.take(), other.take()]
    other.queue.cancelled({again: time.time()})  # before it can come again
    for delivery in deliveries:
        delivery.retry(delivery.call.next_attempt("no"), 0.05)
    delivery = other.take()
    assert (delivery.call.id, delivery.call.attempts) == (first, 1)
    delivery.ack()
    other.expect_nothing()
    other.close()


def test_a_channel_that_cannot_be_opened_leaves_nothing_behind(
    queue: AmqpQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (call_id,) = buried(queue, 1)
    channels: list[PipelinedChannel] = []

    def refuse(channel: PipelinedChannel) -> None:
        channels.append(channel)
        raise AMQPChannelError("no channel is left")

    with monkeypatch.context() as patch:
        patch.setattr(Channel, "open", refuse)
        with pytest.raises(QueueUnavailable, match="no channel is left"):
            queue.revive([call_id])
    (channel,) = channels
    eventually(lambda: channel._writer.dead)
    assert queue.revive([call_id]) == [call_id]


# Once: to stop and start a broker takes longer than all the rest, and a quorum queue
# has to find its leader again, too.
@pytest.mark.parametrize("config", ["quorum"], indirect=True)
def test_a_broker_that_is_stopped(rabbitmq_node: RabbitNode, queue: AmqpQueue) -> None:
    (call_id,) = buried(queue, 1)
    rabbitmq_node.stop_app()
    eventually(lambda: queue.problem() is not None)
    # The second, when the connection that reads is not known to be closed yet.
    away = r"RabbitMQ|cannot be read: .*broker"
    for verb in (queue.revive, queue.forget):
        with pytest.raises(QueueUnavailable, match=away):
            verb([call_id])
    assert queue.withdraw([call_id]) == [call_id]
    rabbitmq_node.start_app()
    eventually(lambda: queue.problem() is None)
    assert asked_until_answered(queue.revive, [call_id]) == [call_id]
    assert made(queue, 1) == [call_id]  # taken back before, and a call again since
