"""Where a stream is read on, with a broker that holds back as RabbitMQ does."""

from dataclasses import dataclass, field
from typing import cast

import pytest
from pamqp import commands

from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.message import Message
from mspc.queues.amqp.reading import MARK, OFFSET, Reading, position_of


@dataclass
class FakeStream:
    """RabbitMQ 3.10's: below the offset asked for, nothing is delivered.

    Attributes:
        messages: what is in it.
        gone: so many of the first were deleted by retention.
        wire: what is on its way.
    """

    messages: list[bytes] = field(default_factory=list)
    gone: int = 0
    wire: list[Message] = field(default_factory=list)
    readers: dict[str, int] = field(default_factory=dict)
    unsettled: set[int] = field(default_factory=set)
    _tag: int = 0

    def limit_unsettled(self, count: int) -> None:
        assert count > 0

    def read(self, stream: str, consumer: str, offset: int | str) -> None:
        assert stream == "stream"
        begin = {"first": self.gone, "next": len(self.messages)}.get(str(offset))
        self.readers[consumer] = int(offset) if begin is None else begin
        for number in range(self.gone, len(self.messages)):
            self._deliver(consumer, number)

    def cancel(self, consumer: str) -> None:
        self.readers.pop(consumer, None)

    def ack(self, tag: int) -> None:
        self.unsettled.remove(tag)

    def publish(self, *messages: bytes) -> None:
        for message in messages:
            self.messages.append(message)
            for consumer in self.readers:
                self._deliver(consumer, len(self.messages) - 1)

    def _deliver(self, consumer: str, number: int) -> None:
        if number >= self.readers[consumer]:
            self._tag += 1
            self.unsettled.add(self._tag)
            properties = commands.Basic.Properties(headers={OFFSET: number})
            body = self.messages[number]
            self.wire.append(Message(consumer, self._tag, properties, body))


class Session:
    """A reading that has begun and has published its mark."""

    def __init__(self, stream: FakeStream, after: int | None) -> None:
        self.stream = stream
        self.got: list[bytes] = []
        self.position = after
        channel = cast("PipelinedChannel", stream)
        self.reading = Reading(channel, "stream", after, self._keep)
        self.reading.begin()
        stream.publish(MARK)
        self.receive()

    def receive(self) -> None:
        while self.stream.wire:
            self.reading.take(self.stream.wire.pop(0))

    def _keep(self, body: bytes, position: int) -> None:
        self.got.append(body)
        self.position = position


OLD = [b"old %d" % number for number in range(6)]
NEW = [b"new %d" % number for number in range(9)]


def position(number: int) -> int:
    return position_of(number, OLD[number])


def test_without_a_position_all_is_read() -> None:
    session = Session(FakeStream([*OLD]), None)
    assert session.got == OLD
    assert session.position == position(5)


@pytest.mark.parametrize("last", [0, 3, 5])
def test_what_comes_after_the_position_is_read(last: int) -> None:
    session = Session(FakeStream([*OLD]), position(last))
    session.stream.publish(*NEW)
    session.receive()
    assert session.got == [*OLD[last + 1 :], *NEW]


def test_what_retention_has_deleted_is_passed_over() -> None:
    assert Session(FakeStream([*OLD], gone=4), position(1)).got == OLD[4:]


@pytest.mark.parametrize("length", range(len(NEW) + 1))
def test_a_stream_that_was_made_anew_is_read_from_the_first(length: int) -> None:
    session = Session(FakeStream(NEW[:length]), position(5))
    assert session.got == NEW[:length]
    session.stream.publish(b"more")
    session.receive()
    assert session.got == [*NEW[:length], b"more"]


def test_marks_are_nobodys_business() -> None:
    session = Session(FakeStream([MARK, b"1", MARK]), None)
    assert session.got == [b"1"]
    assert session.position == position_of(1, b"1")


def test_a_mark_where_the_position_was_shows_that_it_is_another_stream() -> None:
    session = Session(FakeStream([b"0", MARK, b"2"]), position(1))
    assert session.got == [b"0", b"2"]


@pytest.mark.parametrize("after", [None, position(3), position_of(500, b"gone")])
def test_all_is_settled(after: int | None) -> None:
    """Otherwise RabbitMQ would send no more some day."""
    session = Session(FakeStream([*OLD]), after)
    assert not session.stream.unsettled


def test_what_cannot_be_handed_over_is_settled() -> None:
    stream = FakeStream([b"1"])

    def fail(_body: bytes, _position: int) -> None:
        raise OSError

    reading = Reading(cast("PipelinedChannel", stream), "stream", None, fail)
    reading.begin()
    with pytest.raises(OSError):  # noqa: PT011 - the one above
        reading.take(stream.wire.pop(0))
    assert not stream.unsettled


@pytest.mark.parametrize("offset", [0, 1, 2**43 - 1])
def test_a_position_fits_into_a_row(offset: int) -> None:
    assert 0 <= position_of(offset, b"\xff" * 9) < 2**63
