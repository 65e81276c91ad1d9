"""Hands the deliveries of a queue to workers: one to each."""

from contextlib import suppress

from gevent.event import Event

from mspc.errors import QueueFailed
from mspc.process.workers import Workers
from mspc.queues.base import Delivery, Queue


def dispatch(queue: Queue, workers: Workers[Delivery], stopping: Event) -> None:
    """Returns when the deliveries end, or when the queue has failed for good.

    Args:
        queue: it says itself when it has failed; the service stops then.
        workers: no delivery is taken out while all of them are at work, but one.
        stopping: a delivery that comes after it is set is not settled: it comes again.
    """
    with suppress(QueueFailed):
        for delivery in queue.deliveries():
            workers.wait_available()
            if stopping.is_set():
                return
            workers.begin(delivery)
