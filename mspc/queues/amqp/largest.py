"""How large a message RabbitMQ takes: `max_message_size`, which it tells too late.

A larger one closes the channel, and with it goes whatever else is being published.
"""

import re
import time
from collections.abc import Callable

from mspc.errors import QueueUnavailable

# With and without "configured": RabbitMQ 3.10 and 4.0, rabbit_channel.erl.
_SAID = re.compile(r"larger than (?:configured )?max size (\d+)")
# Somebody may have raised it, which RabbitMQ does not tell.
BELIEVED_SECONDS = 60.0


class TooLarge(QueueUnavailable):
    """RabbitMQ would close the channel: no attempt with this message helps."""


class Largest:
    """What the channels of one link have learned of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, that go on evenly."""
        self._clock = clock
        self._octets: int | None = None
        self._until = 0.0

    def learn(self, reason: str) -> None:
        """A channel was closed, and RabbitMQ gave that reason."""
        if said := _SAID.search(reason):
            self._octets = int(said.group(1))
            self._until = self._clock() + BELIEVED_SECONDS

    def check(self, octets: int) -> None:
        """
        Raises:
            TooLarge: a body of so many is, as far as we know.
        """
        if self._octets is None or octets <= self._octets:
            return
        if self._clock() > self._until:
            self._octets = None
            return
        raise TooLarge(
            f"RabbitMQ takes no message above {self._octets} bytes, and this one has"
            f" {octets}. Raise RabbitMQ's max_message_size above MAX_REQUEST_BYTES."
        )
