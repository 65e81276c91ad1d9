"""Hands the deliveries of a queue to a pool of greenlets: one for each."""

from collections.abc import Callable
from contextlib import suppress

from gevent.event import Event
from gevent.pool import Pool

from mspc.errors import QueueFailed
from mspc.queues.base import Delivery, Queue


def dispatch(
    queue: Queue, pool: Pool, handle: Callable[[Delivery], None], stopping: Event
) -> None:
    """Returns when the deliveries end, or when the queue has failed for good.

    Args:
        queue: it says itself when it has failed; the service stops then.
        pool: no delivery is taken out while all of its greenlets are busy, but one.
        handle: what each greenlet does with its delivery.
        stopping: a delivery that comes after it is set is not settled: it comes again.
    """
    with suppress(QueueFailed):
        for delivery in queue.deliveries():
            pool.wait_available()
            if stopping.is_set():
                return
            pool.spawn(handle, delivery)
