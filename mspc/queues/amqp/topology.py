"""The queues mspc uses on RabbitMQ: their names, arguments and declaration.

The names are fixed, so a restart with other settings, or another instance, finds every
call. There is no message TTL, no dead-letter exchange and no plugin: TTL blocks heads,
dead-lettering publishes without confirms.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import gevent
from amqpstorm.connection import Connection
from amqpstorm.exception import AMQPChannelError, AMQPError
from gevent.lock import RLock
from pamqp import commands

from mspc.errors import QueueUnavailable

log = logging.getLogger(__name__)

LEVELS = 16
ASIDES = 16
DECLARE_TIMEOUT_SECONDS = 10

# RabbitMQ 4.0 drops a message of a quorum queue after 20 returns, connection losses
# among them. -1 means "no limit" there, but 3.x drops at the first return with it.
DELIVERY_LIMIT = 1_000_000_000

# RabbitMQ writes down that a quorum queue exists half a second after it was made (ra's
# directory is a DETS table with auto_save 500): killed before, it comes back without
# what the queue had confirmed. So a new queue gets nothing for a second.
NEW_QUORUM_QUEUE_SECONDS = 1.0
NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Topology:
    """The queues that belong to one QUEUE_NAME."""

    name: str
    queue_type: str

    @property
    def main(self) -> str:
        return self.name

    @property
    def dead(self) -> str:
        return f"{self.name}.dead"

    @property
    def retries(self) -> tuple[str, ...]:
        return tuple(f"{self.name}.retry.{level}" for level in range(LEVELS))

    @property
    def asides(self) -> tuple[str, ...]:
        """For calls that must not be in the way of others; see `aside`."""
        return tuple(f"{self.name}.aside.{number}" for number in range(ASIDES))

    def level_for(self, delay: float) -> int:
        """Which of the retry queues is for calls that wait `delay` seconds.

        Level k takes 2**k to 2**(k+1) seconds, level 0 all that is shorter, the last
        one all that is longer.
        """
        return min(max(int(delay), 1).bit_length() - 1, LEVELS - 1)

    def declare(self, connection: Connection) -> None:
        """Declares every queue, on a channel of its own: a refusal closes the channel.

        Raises:
            AMQPError: refused; code 406 when a queue exists with other arguments.
        """
        new = not self._exist(connection)
        channel = connection.channel(rpc_timeout=DECLARE_TIMEOUT_SECONDS)
        try:
            # One write and one answer instead of an answer each: amqpstorm polls for
            # an answer every 10 ms.
            connection.write_frames(channel.channel_id, list(self._declarations()))
            channel.queue.declare(self.main, passive=True)
        finally:
            if channel.is_open:
                channel.close()
        if new and self.queue_type == "quorum":
            gevent.sleep(NEW_QUORUM_QUEUE_SECONDS)

    def _exist(self, connection: Connection) -> bool:
        channel = connection.channel(rpc_timeout=DECLARE_TIMEOUT_SECONDS)
        try:
            # An older version may have declared the main queue alone.
            for queue in (self.main, self.asides[-1]):
                channel.queue.declare(queue, passive=True)
        except AMQPChannelError as exc:
            if exc.error_code == NOT_FOUND:
                return False
            raise
        channel.close()
        return True

    def _declarations(self) -> Iterator[commands.Queue.Declare]:
        arguments: dict[str, object] = {"x-queue-type": self.queue_type}
        if self.queue_type == "quorum":
            arguments["x-delivery-limit"] = DELIVERY_LIMIT
        for queue in (self.main, *self.retries, *self.asides, self.dead):
            yield commands.Queue.Declare(
                queue=queue,
                durable=True,
                nowait=True,
                arguments=arguments,  # type: ignore[arg-type]
            )


class Declaring:
    """Declares the queues of a topology, one at a time however many find them gone."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._one_by_one = RLock()
        self._declared = 0  # how many times

    def declare(self, connection: Connection) -> None:
        """Raises: AMQPError as Topology.declare() has it."""
        with self._one_by_one:
            self._topology.declare(connection)
            self._declared += 1

    def again(self, connection: Connection, queue: str) -> None:
        """The queue was gone a moment ago; returns when it is there.

        Raises:
            QueueUnavailable: it cannot be declared.
        """
        declared = self._declared
        try:
            with self._one_by_one:
                if self._declared != declared:
                    return  # by whoever was the first to find out
                log.warning("The queue %s was deleted; declaring it again", queue)
                self.declare(connection)
        except AMQPError as exc:
            raise QueueUnavailable(f"The queue cannot be declared: {exc}") from exc
