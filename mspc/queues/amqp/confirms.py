"""What was published on a channel and is not confirmed yet.

By delivery tag, as the broker counts: a confirm is never credited to another message.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile

from gevent.event import AsyncResult

from mspc.errors import QueueUnavailable


class Unroutable(QueueUnavailable):
    """The broker returned the message: its queue does not exist (any more)."""


class Rejected(QueueUnavailable):
    """The broker does not store the message: its queue is full, as a policy says, or
    has no leader at the moment.
    """


@dataclass(slots=True)
class Publish:
    """A message that the broker has not confirmed yet."""

    queue: str
    message_id: str
    sent_at: float
    confirmed: "AsyncResult[QueueUnavailable | None]" = field(
        default_factory=AsyncResult
    )

    def wait(self) -> None:
        """Returns when the broker has confirmed the message.

        Raises:
            Unroutable: there is no such queue.
            Rejected: it is not stored.
            QueueUnavailable: nobody knows.
        """
        error = self.confirmed.get()
        if error is not None:
            raise error


class Confirms:
    """The publishes of one channel.

    Attributes:
        any: whether one was confirmed.
        took: told how long the oldest of those had waited, seconds, that the broker
            has just settled together.
    """

    def __init__(self) -> None:
        self.any = False
        self.took: Callable[[float], None] = lambda _seconds: None
        self._published = 0  # the last delivery tag: the broker counts as we do
        self._waiting: dict[int, Publish] = {}
        # By queue and id: the last tag that was out when one of them was returned.
        self._returned: dict[tuple[str, str], int] = {}
        # By queue: when the first and the last of an unbroken row was refused.
        self._refused: dict[str, tuple[float, float]] = {}

    def sent(self, queue: str, message_id: str) -> Publish:
        """Call it once for each message, in the order in which they are written."""
        self._published += 1
        publish = Publish(queue, message_id, time.monotonic())
        self._waiting[self._published] = publish
        return publish

    def returned(self, queue: str, message_id: str) -> None:
        """The broker has no queue for it; its confirm follows.

        Other producers give one id to several calls, and a return has no tag: each that
        is out may be the one.
        """
        self._returned[queue, message_id] = self._published

    def settle(self, tag: int, multiple: bool, refused: bool) -> None:
        """The broker has confirmed or refused `tag`, or all up to it; 0 is all."""
        tags = [tag]
        if multiple:  # in order of publishing
            tags = list(takewhile(lambda one: one <= tag or not tag, self._waiting))
        oldest = self._waiting.get(tags[0]) if tags else None
        if oldest is not None:
            self.took(time.monotonic() - oldest.sent_at)
        for one in tags:
            publish = self._waiting.pop(one, None)
            if publish is None:
                continue  # nobody waits for it any more
            error = self._refuse(publish) if refused else self._confirm(one, publish)
            publish.confirmed.set(error)
        if self._returned:
            first = next(iter(self._waiting), self._published + 1)
            last = self._returned.items()
            self._returned = {key: tag for key, tag in last if tag >= first}

    def give_up(self, reason: str) -> None:
        """Tells whoever waits for a confirm that nobody knows."""
        waiting, self._waiting = self._waiting, {}
        for publish in waiting.values():
            publish.confirmed.set(QueueUnavailable(reason))

    def oldest(self) -> float:
        """For how many seconds the oldest publish has waited for its confirm."""
        for publish in self._waiting.values():
            return time.monotonic() - publish.sent_at
        return 0.0

    def refusing_for(self) -> float:
        """For how many seconds every message to one of the queues was refused."""
        return max((last - first for first, last in self._refused.values()), default=0)

    def _refuse(self, publish: Publish) -> Rejected:
        now = time.monotonic()
        first, _ = self._refused.get(publish.queue, (now, now))
        self._refused[publish.queue] = first, now
        return Rejected(
            f"RabbitMQ stores nothing in the queue {publish.queue} now: it is full, if"
            " a policy bounds it (max-length), or has no leader."
        )

    def _confirm(self, tag: int, publish: Publish) -> QueueUnavailable | None:
        self._refused.pop(publish.queue, None)
        if tag <= self._returned.get((publish.queue, publish.message_id), 0):
            return Unroutable("The queue does not exist.")
        self.any = True
        return None
