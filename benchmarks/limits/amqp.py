"""RabbitMQ alone: `... amqp HOST PORT QUEUE KIND COUNT publish`, then `... consume`."""

from gevent import monkey

monkey.patch_all()

import socket
import sys
import time
from collections.abc import Callable

from amqpstorm.connection import Connection
from gevent.event import Event
from pamqp import commands

from benchmarks.limits.clock import repeat, report
from benchmarks.load import body
from mspc.queues.amqp.channel import PipelinedChannel
from mspc.queues.amqp.message import Message

PREFETCH = 300
TIMEOUT_SECONDS = 300.0

OnMessage = Callable[[PipelinedChannel, Message], None]


def ignore(_channel: PipelinedChannel, _message: Message) -> None:
    """For a channel that only publishes."""


def open_channel(
    host: str, port: int, on_message: OnMessage = ignore
) -> PipelinedChannel:
    """A channel of a connection of its own, set up as mspc's are."""
    connection = Connection(
        host, "guest", "guest", port=port, heartbeat=10, timeout=10, poller="poll"
    )
    sock = connection.socket
    if sock is None:
        raise ConnectionError("the connection was closed")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return PipelinedChannel.open_on(connection, on_message)


def declare(channel: PipelinedChannel, queue: str, kind: str) -> None:
    """An empty durable queue, in place of the one that was there."""
    with channel.connection.channel() as other:
        other.queue.delete(queue)
        other.queue.declare(queue, durable=True, arguments={"x-queue-type": kind})


def publish(channel: PipelinedChannel, queue: str, count: int) -> None:
    channel.select_confirms()
    properties = commands.Basic.Properties(
        message_id="0" * 32, delivery_mode=2, content_type="application/json"
    )
    content = body("http://127.0.0.1:9000/notification")
    repeat(lambda _: channel.publish(queue, properties, content), count)


def consume(host: str, port: int, queue: str, count: int) -> None:
    """Takes `count` messages and acknowledges each; a tenth more warms up."""
    skipped, done, seen = count // 10, Event(), 0
    started = cpu = 0.0

    def take(channel: PipelinedChannel, message: Message) -> None:
        nonlocal seen, started, cpu
        channel.ack(message.tag)
        if seen == skipped:
            started, cpu = time.monotonic(), time.process_time()
        seen += 1
        if seen == count + skipped:
            done.set()

    channel = open_channel(host, port, take)
    channel.limit_unsettled(PREFETCH)
    channel.consume(queue, queue)
    if not done.wait(TIMEOUT_SECONDS):
        raise SystemExit(f"{seen} of {count + skipped} messages came")
    report(count, time.monotonic() - started, time.process_time() - cpu)
    channel.flush(10)
    channel.connection.close()


def main(host: str, port: int, queue: str, kind: str, count: int, what: str) -> None:
    if what == "consume":
        consume(host, port, queue, count)
        return
    channel = open_channel(host, port)
    declare(channel, queue, kind)
    publish(channel, queue, count)
    channel.connection.close()


if __name__ == "__main__":
    main(
        sys.argv[1],
        int(sys.argv[2]),
        sys.argv[3],
        sys.argv[4],
        int(sys.argv[5]),
        sys.argv[6],
    )
