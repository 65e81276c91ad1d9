"""Calls in a file that these settings do not open: nobody makes them, and nobody sees.

Who grows from the embedded queue to RabbitMQ, or switches the spool off, may leave some
behind. It is told of at each start; nothing is changed.
"""

import logging
from pathlib import Path

import gevent

from mspc.process.greenlets import caught
from mspc.settings.config import AmqpConfig, QueueConfig

log = logging.getLogger(__name__)

# Their places are for the file, and how many calls of either kind there are.
_QUEUE = (
    "%s has %d calls that nobody makes, and %d dead letters, of before QUEUE_SCHEME was"
    " amqp. Set QUEUE_SCHEME: sqlite until they are made, or hand them over to RabbitMQ"
    " with mspc export and mspc import, and move the file away: docs/operations.md."
)
_SPOOL = (
    "%s has %d calls that nobody makes, and %d that are damaged: they were accepted"
    " while RabbitMQ was away. Set {} until they are handed over to it:"
    " docs/operations.md."
)


def tell_of_what_is_left(config: QueueConfig, folder: Path) -> None:
    """Says in the log how many calls lie in a file of `folder` that is not opened.

    Returns at once, and waits for no disk: what is found is told later.
    """
    queue, spool = folder / "queue.db", folder / "spool.db"
    if not isinstance(config, AmqpConfig):
        told = _SPOOL.format("QUEUE_SCHEME: amqp and SPOOL: 1")
        gevent.spawn(_tell, spool, told)
        return
    gevent.spawn(_tell, queue, _QUEUE)
    if config.spool is None:
        gevent.spawn(_tell, spool, _SPOOL.format("SPOOL: 1"))


def _tell(path: Path, told: str) -> None:
    pool = gevent.get_hub().threadpool
    found = pool.apply(caught, (_count, path))
    if isinstance(found, Exception):
        log.warning(
            "Whether %s has calls that nobody makes is not known: %s", path, found
        )
    elif any(found):
        log.error(told, path, *found)


def _count(path: Path) -> tuple[int, int]:
    """Calls that are to be made, and dead letters; in a thread.

    Raises:
        ConfigError: it cannot be looked at.
    """
    if not path.is_file():
        return 0, 0
    # Here: whoever has no such file starts without what reads it.
    from mspc.queues.sqlite.left import count

    return count(path)
