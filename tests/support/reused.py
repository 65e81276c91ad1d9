"""Queues on RabbitMQ that tests use one after another.

To make and to delete those of one name takes more than a second, and a quorum queue
gets nothing in its first second; to empty them takes a tenth of that.
"""

from collections import defaultdict, deque
from collections.abc import Iterator

from amqpstorm.exception import AMQPError
from pamqp import commands
from pamqp.base import Frame

from tests.support.rabbitmq import ASIDES, RETRY_LEVELS, Broker, unique_name

# By turns: what a test has left unacknowledged is back in its queue, and can be
# removed, only a moment after the test.
NAMES = 2


class Reused:
    """Their names, for each type of queue."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._names: dict[str, deque[str]] = defaultdict(
            lambda: deque(unique_name("reused") for _ in range(NAMES))
        )
        self._used: set[str] = set()

    def take(self, queue_type: str) -> str:
        """A name of which there are no queues, or empty ones of that type."""
        names = self._names[queue_type]
        names.rotate()
        if names[0] in self._used:
            try:
                self._empty(names[0])
            except AMQPError:  # a test wanted fewer than there are by default
                self._broker.delete_queues(names[0])
        self._used.add(names[0])
        return names[0]

    def delete(self) -> None:
        for name in self._used:
            self._broker.delete_queues(name)

    def _empty(self, name: str) -> None:
        with self._broker.connect() as connection, connection.channel() as channel:
            # One write and one answer, as in mspc's topology.
            purges: list[Frame] = [
                commands.Queue.Purge(queue=one, nowait=True) for one in _queues(name)
            ]
            connection.write_frames(channel.channel_id, purges)
            channel.basic.qos(1)  # answered after all of them


def _queues(name: str) -> Iterator[str]:
    yield from (name, f"{name}.dead")
    yield from (f"{name}.retry.{level}" for level in range(RETRY_LEVELS))
    yield from (f"{name}.aside.{number}" for number in range(ASIDES))
