"""Dramatiq on RabbitMQ."""

import os
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from gevent.local import local
from gevent.queue import LifoQueue

from benchmarks.peers import work

PUBLISHERS = 64


class PooledBroker(RabbitmqBroker):
    """Publishes on a pool of connections.

    Dramatiq keeps one connection for each thread. With gevent a thread is a greenlet,
    and pywsgi makes one for each client, so that each would leave a connection behind
    (dramatiq's issue 381). Its author says how to do without: override these.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._free: Any = LifoQueue(items=[_State() for _ in range(PUBLISHERS)])
        self._taken: Any = local()
        self._own = self.state

    @property
    def state(self) -> Any:
        """Where the connection and the channel of this greenlet are kept."""
        return getattr(self._taken, "state", self._own)

    @state.setter
    def state(self, value: Any) -> None:
        self._own = value

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        self._taken.state = state = self._free.get()
        try:
            return super().enqueue(message, delay=delay)
        finally:
            del self._taken.state
            self._free.put(state)


class _State:
    """A connection and its channel, once they are there."""


broker = PooledBroker(
    url=os.environ.get("BENCH_BROKER", "amqp://localhost"), confirm_delivery=True
)
dramatiq.set_broker(broker)


@dramatiq.actor(
    queue_name=os.environ.get("BENCH_QUEUE", "bench"),
    max_retries=None,
    min_backoff=work.RETRY_SECONDS * 1000,
    max_backoff=work.RETRY_SECONDS * 1000,
)
def make(call_id: str, call: dict[str, Any]) -> None:
    work.make(call_id, call)


def enqueue(call_id: str, call: dict[str, Any]) -> None:
    """Returns when RabbitMQ has confirmed the message."""
    make.send(call_id, call)


if not os.environ.get("BENCH_FRONT"):
    work.log_to_stderr()
