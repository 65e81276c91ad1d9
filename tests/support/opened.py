"""An open queue, for tests that look at what it delivers."""

from dataclasses import dataclass, field

import gevent
import pytest
from gevent.queue import Empty
from gevent.queue import Queue as Mailbox

from mspc.queues.base import Delivery, Queue
from tests.support.waiting import eventually

# Long enough to see that nothing comes, which no event can tell.
SILENCE_SECONDS = 0.3


@dataclass
class Opened:
    """An open queue whose deliveries are collected."""

    queue: Queue
    arrived: "Mailbox[Delivery]" = field(default_factory=Mailbox)
    failures: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue.start(self.failures.append)
        eventually(lambda: self.queue.problem() is None)
        self.collector = gevent.spawn(self._collect)

    def take(self, timeout: float = 10) -> Delivery:
        return self.arrived.get(timeout=timeout)

    def expect_nothing(self, seconds: float = SILENCE_SECONDS) -> None:
        with pytest.raises(Empty):
            self.arrived.get(timeout=seconds)

    def close(self) -> None:
        self.queue.close()
        self.collector.join(timeout=5)
        assert self.collector.dead, "deliveries() did not end"

    def _collect(self) -> None:
        for delivery in self.queue.deliveries():
            self.arrived.put(delivery)
