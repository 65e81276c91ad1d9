"""Calls that somebody has taken back: RabbitMQ cannot look them up, so each is let go
when it comes.
"""

from collections import OrderedDict
from collections.abc import Iterable

from mspc.queues.amqp.delivery import AmqpDelivery

# The oldest are forgotten first; an id takes some 150 bytes.
REMEMBERED = 100_000


class Withdrawn:
    """Their ids."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, ids: Iterable[str]) -> None:
        for call_id in ids:
            self._ids[call_id] = None
            self._ids.move_to_end(call_id)
        while len(self._ids) > self._most:
            self._ids.popitem(last=False)

    def discard(self, ids: Iterable[str]) -> None:
        """They are calls again."""
        for call_id in ids:
            self._ids.pop(call_id, None)

    def let_go(self, delivery: AmqpDelivery) -> bool:
        """Whether it was one of them; it is acknowledged then."""
        if delivery.call.id not in self._ids:
            return False
        delivery.ack()
        return True
