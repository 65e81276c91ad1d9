"""The queues: `base` is the contract, `open_queue` the only place that chooses."""

from collections.abc import Callable

from mspc.calls.call import Call
from mspc.lanes.lanes import Lanes
from mspc.queues.base import Delivery, Queue, unread
from mspc.queues.watch import NOBODY, StoreWatch
from mspc.settings.config import QueueConfig, SqliteConfig

__all__ = ["Delivery", "Queue", "open_queue"]


def open_queue(
    config: QueueConfig,
    lanes: Lanes | None = None,
    lane_of: Callable[[Call], str] = unread,
    watch: StoreWatch = NOBODY,
) -> Queue:
    """The queue that the settings ask for.

    Args:
        config: which one, and where.
        lanes: whose turn it is; without them calls come in order.
        lane_of: reads whom a call goes to, when nobody has. It does not raise.
        watch: told how its store does.
    """
    # Here: a start imports the queue that it uses, and not the other.
    if isinstance(config, SqliteConfig):
        from mspc.queues.sqlite.queue import SqliteQueue

        return SqliteQueue(config, lanes, lane_of, watch)
    from mspc.queues.amqp.queue import AmqpQueue

    broker = AmqpQueue(config, lanes, lane_of, watch)
    if config.spool is None:
        return broker
    from mspc.queues.spooled import SpooledQueue
    from mspc.queues.sqlite.queue import SqliteQueue

    spool = SqliteQueue(SqliteConfig(config.spool), watch=watch)
    return SpooledQueue(broker, spool)
