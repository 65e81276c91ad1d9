"""What is to be published and may be lost, but not without need."""

from collections import deque
from collections.abc import Callable

from mspc.queues.amqp.confirms import Publish
from mspc.queues.amqp.largest import TooLarge


class Outbox:
    """Messages that wait for a channel, and those whose confirm is not there yet.

    Nobody waits for a confirm: what was sent in vain is noticed at the next look and
    sent again, so a message may come twice.

    Attributes:
        dropped: how many messages there was no room for, or were too large for the
            broker, since somebody set it to 0.
    """

    def __init__(self, messages: int, octets: int) -> None:
        """
        Args:
            messages: how many there is room for.
            octets: of them, in all; one alone may be larger.
        """
        self.dropped = 0
        self._messages = messages
        self._octets = octets
        self._held = 0  # octets of both
        self._waiting: deque[bytes] = deque()
        self._sent: deque[tuple[bytes, Publish]] = deque()

    def add(self, message: bytes) -> None:
        """The oldest go when there is no room: the latest tells most."""
        self._waiting.append(message)
        self._held += len(message)
        if self._full():
            self._look()
        while self._full() and len(self._waiting) > 1:
            self._drop()

    def send(self, post: Callable[[bytes], Publish]) -> None:
        """Sends all that waits, and what was sent in vain.

        Raises:
            QueueUnavailable: `post` did; what was not sent is kept.
        """
        self._look()
        while self._waiting:
            try:
                publish = post(self._waiting[0])
            except TooLarge:
                self._drop()  # it would be in the way of all that follow
            else:
                self._sent.append((self._waiting.popleft(), publish))

    def _drop(self) -> None:
        self._held -= len(self._waiting.popleft())
        self.dropped += 1

    def _full(self) -> bool:
        count = len(self._waiting) + len(self._sent)
        return count > self._messages or self._held > self._octets

    def _look(self) -> None:
        """Forgets what is confirmed, takes back what is not and never will be."""
        in_vain: deque[bytes] = deque()
        while self._sent and self._sent[0][1].confirmed.ready():
            message, publish = self._sent.popleft()
            if publish.confirmed.get() is None:
                self._held -= len(message)
            else:
                in_vain.append(message)
        self._waiting.extendleft(reversed(in_vain))
