"""The queues: `base` is the contract, `open_queue` the only place that chooses."""

from mspc.queues.amqp.queue import AmqpQueue
from mspc.queues.base import Delivery, Queue
from mspc.queues.spooled import SpooledQueue
from mspc.queues.sqlite.queue import SqliteQueue
from mspc.settings.config import QueueConfig, SqliteConfig

__all__ = ["Delivery", "Queue", "open_queue"]


def open_queue(config: QueueConfig) -> Queue:
    if isinstance(config, SqliteConfig):
        return SqliteQueue(config)
    broker = AmqpQueue(config)
    if config.spool is None:
        return broker
    return SpooledQueue(broker, SqliteQueue(SqliteConfig(config.spool)))
