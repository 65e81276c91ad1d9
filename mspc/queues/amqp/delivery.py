"""A message that was delivered: a call, lent out."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from mspc.calls.call import Call
from mspc.errors import QueueUnavailable
from mspc.lanes.lane import Item, Lane
from mspc.process import crash
from mspc.queues.amqp.consuming import Consuming
from mspc.queues.amqp.sources import Consumer, Source

BURY_AGAIN_SECONDS = 5.0


class Store(Protocol):
    """Where the new copy of a call goes."""

    def retry(self, call: Call, delay: float) -> None: ...

    def bury(self, call: Call, reason: str) -> None: ...

    def give_back_later(self, delivery: "AmqpDelivery", delay: float) -> None: ...


class AmqpDelivery:
    """A message, delivered and not yet acknowledged.

    Attributes:
        damage: never any: RabbitMQ looks after that.
        waits: whether its size is counted among what waits; see Consuming.may_wait.
    """

    damage = ""

    __slots__ = (
        "_consumer",
        "_consuming",
        "_settled",
        "_store",
        "_tag",
        "call",
        "lane",
        "waits",
    )

    def __init__(
        self,
        store: Store,
        consuming: Consuming,
        consumer: Consumer,
        tag: int,
        call: Call,
        lane: Lane,
    ) -> None:
        self.call = call
        self.lane = lane
        self.waits = False
        self._store = store
        self._consuming = consuming
        self._consumer = consumer
        self._tag = tag
        self._settled = False

    @property
    def alive(self) -> bool:
        """Whether it can still be settled; else RabbitMQ delivers it again."""
        return not self._consuming.channel.lost.is_set()

    @property
    def source(self) -> Source:
        """The queue that it came of."""
        return self._consumer.source

    @property
    def size(self) -> int:
        return len(self.call.payload)

    def ack(self) -> None:
        if self._settle_once():
            self._ack()

    def retry(self, call: Call, delay: float) -> None:
        self._move(partial(self._store.retry, call, delay), delay)

    def bury(self, call: Call, reason: str) -> None:
        self._move(partial(self._store.bury, call, reason), BURY_AGAIN_SECONDS)

    def give_back(self) -> None:
        self._consuming.channel.give_back(self._tag)
        self._consuming.settled(self._consumer, self.size)

    def _ack(self) -> None:
        self._consuming.channel.ack(self._tag)
        self._consuming.settled(self._consumer, self.size)
        self._consuming.acknowledged(self.size)

    def _move(self, store: Callable[[], None], delay: float) -> None:
        if not self._settle_once():
            return
        if not self.alive:  # a copy would be one call too many
            raise QueueUnavailable("RabbitMQ delivers it again.")
        try:
            store()
        except Exception:  # whatever it was, nothing new is stored
            self._store.give_back_later(self, delay)
            raise
        crash.at("retry_confirmed")
        self._ack()

    def _settle_once(self) -> bool:
        first, self._settled = not self._settled, True
        return first


def sizes(lane: Lane) -> Iterator[int]:
    """Of the calls of a lane of this queue that are ready, or in flight, in bytes."""
    for item in (*lane.ready, *lane.out):
        yield ours(item).size


def ours(item: Item) -> AmqpDelivery:
    """What is ready in a lane of this queue.

    Raises:
        TypeError: it is another queue's.
    """
    if not isinstance(item, AmqpDelivery):
        raise TypeError(f"{item} did not come of RabbitMQ")
    return item
