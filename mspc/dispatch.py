"""Hands the deliveries of a queue to a pool of greenlets, whatever breaks off."""

import logging
from collections.abc import Callable

from gevent.event import Event
from gevent.pool import Pool

from mspc.errors import QueueFailed
from mspc.queues.base import Delivery, Queue

log = logging.getLogger(__name__)


def dispatch(
    queue: Queue,
    pool: Pool,
    handle: Callable[[Delivery], None],
    stopping: Event,
    pause: float,
) -> None:
    """Returns when `stopping` is set, or when the queue has failed for good.

    Args:
        queue: its deliveries are taken up again, `pause` seconds after they broke off.
        pool: no delivery is taken out while all of its greenlets are busy, but one.
        handle: what each greenlet does with its delivery.
        stopping: a delivery that comes after it is set is not settled: it comes again.
        pause: in seconds.
    """
    while not stopping.is_set():
        try:
            for delivery in queue.deliveries():
                pool.wait_available()
                if stopping.is_set():
                    return
                pool.spawn(handle, delivery)
        except QueueFailed:
            return  # the queue has said so; the service stops
        except Exception:
            log.exception("The deliveries broke off; taking them up again")
        stopping.wait(pause)
