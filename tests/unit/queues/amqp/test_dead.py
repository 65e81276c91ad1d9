"""A pass through dead letters, told of them by hand."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import gevent
import pytest
from gevent.event import Event
from gevent.greenlet import Greenlet
from pamqp import commands

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.queues.amqp import dead_pass
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.dead_pass import Pass
from mspc.queues.amqp.message import Message


class FakeChannel:
    """Notes what is asked of it; is its own `queue`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.consumers = 0
        self.lost = Event()
        self.consuming = Event()
        self.consumer = ""
        self.cancelled: list[str] = []
        self.acked: list[int] = []
        self.given_back: list[int] = []
        self.queue = self

    def declare(self, _: str, *, passive: bool) -> dict[str, int]:
        assert passive
        return {"message_count": self.count, "consumer_count": self.consumers}

    def limit_unsettled(self, count: int) -> None:
        assert count > 0

    def consume(self, _: str, consumer: str) -> None:
        self.consumer = consumer
        self.consuming.set()

    def cancel(self, consumer: str) -> None:
        self.cancelled.append(consumer)
        self.consuming.clear()

    def ack(self, tag: int) -> None:
        self.acked.append(tag)

    def give_back_up_to(self, tag: int) -> None:
        self.given_back.append(tag)


class Asked:
    """One pass that runs beside the test."""

    def __init__(
        self,
        channel: FakeChannel,
        ids: list[str],
        settle: Callable[[Call], None],
        given_back: int = 0,
    ) -> None:
        self.channel = channel
        self.one = Pass("dead", ids, settle, lambda _: None)
        self.running: Greenlet[..., list[str]] = Greenlet.spawn(
            self.one.run, cast(PipelinedChannel, channel), given_back
        )

    def arrives(self, tag: int, call_id: str, size: int = 10) -> bool:
        assert self.channel.cancelled or self.channel.consuming.wait(5)
        message = Message(
            self.channel.consumer,
            tag,
            commands.Basic.Properties(message_id=call_id),
            b"x" * size,
        )
        return self.one.arrived(cast(Any, self.channel), message)


@pytest.fixture
def ask() -> Iterator[Callable[..., Asked]]:
    started: list[Asked] = []

    def start(*arguments: Any) -> Asked:
        started.append(Asked(*arguments))
        return started[-1]

    yield start
    gevent.killall([asked.running for asked in started])


def test_nothing_begins_when_whoever_asked_has_been_ended(
    ask: Callable[..., Asked],
) -> None:
    settled: list[str] = []
    never, begun = Event(), Event()

    def settle(call: Call) -> None:
        settled.append(call.id)
        begun.set()
        never.wait()

    asked = ask(FakeChannel(5), ["a", "b"], settle)
    assert asked.arrives(1, "a")
    assert begun.wait(5)
    asked.running.kill()
    # What was on its way is to be given back, not settled.
    assert not asked.arrives(2, "b")
    gevent.idle()
    assert settled == ["a"]
    assert asked.channel.cancelled == [asked.channel.consumer]
    assert asked.channel.acked == []
    assert asked.one.held == 1


def test_what_is_on_its_way_is_not_given_back_twice(
    ask: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ would close the channel."""
    monkeypatch.setattr(dead_pass, "STEP_BYTES", 100)
    confirmed = Event()
    asked = ask(FakeChannel(10), ["a"], lambda _: confirmed.wait())
    assert asked.arrives(1, "other")
    assert asked.arrives(2, "a", 90)
    # It is a copy, and too much: the step ends, with more on its way.
    assert not asked.arrives(3, "a", 90)
    confirmed.set()
    assert asked.running.get(timeout=5) == ["a"]
    assert not asked.arrives(4, "other")
    assert asked.channel.acked == [2]
    assert asked.channel.given_back == [1]


def test_nothing_is_given_back_when_nothing_is_held(ask: Callable[..., Asked]) -> None:
    asked = ask(FakeChannel(2), ["a", "b"], lambda _: None)
    assert asked.arrives(1, "a")
    assert asked.arrives(2, "b")
    assert asked.running.get(timeout=5) == ["a", "b"]
    assert asked.channel.acked == [1, 2]
    assert asked.channel.given_back == []
    assert asked.one.held == 0


def test_an_error_that_nobody_expected_is_one_of_the_queue(
    ask: Callable[..., Asked], caplog: pytest.LogCaptureFixture
) -> None:
    def settle(_: Call) -> None:
        raise ZeroDivisionError("by zero")

    asked = ask(FakeChannel(1), ["a"], settle)
    assert asked.arrives(1, "a")
    with pytest.raises(QueueUnavailable, match="by zero"):
        asked.running.get(timeout=5)
    assert "a stays a dead letter" in caplog.text
    assert asked.one.held == 1  # the next pass waits for it
    assert asked.channel.acked == []


@pytest.mark.parametrize(("there", "consumers"), [(1, 0), (2, 1)])
def test_nothing_is_told_of_a_queue_of_which_somebody_else_has_some(
    ask: Callable[..., Asked],
    monkeypatch: pytest.MonkeyPatch,
    there: int,
    consumers: int,
) -> None:
    """What is not seen would be taken for no dead letter any more."""
    channel = FakeChannel(there)
    channel.consumers = consumers
    asked = ask(channel, ["a"], lambda _: None, 2)
    gevent.sleep(2 * dead_pass.LOOK_AGAIN_SECONDS)
    assert not channel.consuming.is_set()
    channel.count, channel.consumers = 2, 0
    assert asked.arrives(1, "a")
    assert asked.arrives(2, "other")
    assert asked.running.get(timeout=5) == ["a"]
    assert asked.one.began

    monkeypatch.setattr(dead_pass, "PATIENCE_SECONDS", 0.0)
    channel = FakeChannel(there)
    channel.consumers = consumers
    asked = ask(channel, ["a"], lambda _: None, 2)
    with pytest.raises(QueueUnavailable, match="another instance"):
        asked.running.get(timeout=5)
    assert not asked.one.began
