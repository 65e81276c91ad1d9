"""What waits for a channel, with confirms that the test gives."""

import pytest

from mspc.errors import QueueUnavailable
from mspc.queues.amqp.confirms import Publish
from mspc.queues.amqp.largest import TooLarge
from mspc.queues.amqp.outbox import Outbox


class FakeChannel:
    """Keeps what was posted, until it is lost."""

    def __init__(self) -> None:
        self.posted: list[bytes] = []
        self.publishes: list[Publish] = []
        self.room = 1000

    def post(self, message: bytes) -> Publish:
        if len(self.posted) >= self.room:
            raise QueueUnavailable("lost")
        self.posted.append(message)
        self.publishes.append(Publish("stream", "", 0.0))
        return self.publishes[-1]

    def lose(self) -> None:
        for publish in self.publishes:
            if not publish.confirmed.ready():
                publish.confirmed.set(QueueUnavailable("lost"))


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


def test_what_waits_is_sent_once_and_in_order(channel: FakeChannel) -> None:
    outbox = Outbox(10, 100)
    for message in (b"1", b"2"):
        outbox.add(message)
    outbox.send(channel.post)
    outbox.send(channel.post)
    assert channel.posted == [b"1", b"2"]


def test_what_was_sent_in_vain_is_sent_again(channel: FakeChannel) -> None:
    outbox = Outbox(10, 100)
    for message in (b"1", b"2", b"3"):
        outbox.add(message)
    outbox.send(channel.post)
    channel.publishes[0].confirmed.set(None)
    channel.lose()
    outbox.add(b"4")
    again = FakeChannel()
    outbox.send(again.post)
    assert again.posted == [b"2", b"3", b"4"]


def test_a_channel_that_is_lost_in_between_loses_nothing(channel: FakeChannel) -> None:
    outbox = Outbox(10, 100)
    for message in (b"1", b"2", b"3"):
        outbox.add(message)
    channel.room = 1
    with pytest.raises(QueueUnavailable):
        outbox.send(channel.post)
    channel.lose()
    again = FakeChannel()
    outbox.send(again.post)
    assert again.posted == [b"1", b"2", b"3"]


def test_without_room_the_oldest_go(channel: FakeChannel) -> None:
    outbox = Outbox(2, 100)
    for message in (b"1", b"2", b"3"):
        outbox.add(message)
    assert outbox.dropped == 1
    outbox.send(channel.post)
    assert channel.posted == [b"2", b"3"]


def test_without_room_for_their_bytes_the_oldest_go(channel: FakeChannel) -> None:
    outbox = Outbox(10, 4)
    for message in (b"11", b"22", b"333"):
        outbox.add(message)
    assert outbox.dropped == 2
    outbox.send(channel.post)
    assert channel.posted == [b"333"]


def test_one_that_is_too_large_alone_is_kept(channel: FakeChannel) -> None:
    outbox = Outbox(10, 4)
    outbox.add(b"12345")
    outbox.send(channel.post)
    assert channel.posted == [b"12345"]


def test_what_is_confirmed_takes_no_room(channel: FakeChannel) -> None:
    outbox = Outbox(2, 100)
    for message in (b"1", b"2"):
        outbox.add(message)
    outbox.send(channel.post)
    for publish in channel.publishes:
        publish.confirmed.set(None)
    for message in (b"3", b"4"):
        outbox.add(message)
    assert outbox.dropped == 0


def test_what_is_not_confirmed_takes_room(channel: FakeChannel) -> None:
    outbox = Outbox(2, 100)
    for message in (b"1", b"2"):
        outbox.add(message)
    outbox.send(channel.post)
    for message in (b"3", b"4"):
        outbox.add(message)
    assert outbox.dropped == 1


def test_what_is_too_large_is_in_nobody_s_way(channel: FakeChannel) -> None:
    def post(message: bytes) -> Publish:
        if len(message) > 3:
            raise TooLarge("too large")
        return channel.post(message)

    outbox = Outbox(10, 100)
    for message in (b"1", b"large", b"2"):
        outbox.add(message)
    outbox.send(post)
    assert channel.posted == [b"1", b"2"]
    assert outbox.dropped == 1
