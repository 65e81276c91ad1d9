"""Calls that somebody has taken back: RabbitMQ cannot look them up, so each is let go
when it comes.
"""

from collections import OrderedDict
from collections.abc import Mapping

from mspc.queues.amqp.delivery import AmqpDelivery

# The oldest are forgotten first; an id takes some 150 bytes.
REMEMBERED = 100_000


class Withdrawn:
    """Their ids, and when each was."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._when: OrderedDict[str, float] = OrderedDict()

    def add(self, when: Mapping[str, float]) -> None:
        """`when`: of each id, Unix seconds; the oldest first."""
        for call_id, at in when.items():
            self._when[call_id] = max(at, self._when.get(call_id, 0.0))
            self._when.move_to_end(call_id)
        while len(self._when) > self._most:
            self._when.popitem(last=False)

    def let_go(self, delivery: AmqpDelivery) -> bool:
        """Whether it was one of them; it is acknowledged then.

        One that was revived since is a call again. That instance which revives it may
        be another one than that to which it comes, and the news slower than the call:
        so the call says it itself.
        """
        call = delivery.call
        at = self._when.get(call.id)
        # An older version tells in one way only when it revived a call: it counts as
        # accepted then.
        since = call.revived_at or (call.accepted_at if call.waited else 0.0)
        if at is None or since >= at:
            return False
        delivery.ack()
        return True
