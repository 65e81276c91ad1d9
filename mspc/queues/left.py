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

_QUEUE = (
    "%s has %d calls that nobody makes, and %d dead letters, of before QUEUE_SCHEME was"
    " amqp. Set QUEUE_SCHEME: sqlite until they are made, or hand them over to RabbitMQ"
    " with mspc export and mspc import, and move the file away: docs/operations.md."
)
_SPOOL = (
    "%s has %d calls that nobody makes, and %d that are damaged: they were accepted"
    " while RabbitMQ was away. %s until they are handed over to it: docs/operations.md."
)


def tell_of_what_is_left(config: QueueConfig, folder: Path) -> None:
    """Says in the log how many calls lie in a file of `folder` that is not opened.

    Returns at once, and waits for no disk: what is found is told later.
    """
    files: list[tuple[Path, str, tuple[str, ...]]] = []
    if not isinstance(config, AmqpConfig):
        mend = "Set QUEUE_SCHEME: amqp and SPOOL: 1"
        files.append((folder / "spool.db", _SPOOL, (mend,)))
    else:
        files.append((folder / "queue.db", _QUEUE, ()))
        if config.spool is None:
            files.append((folder / "spool.db", _SPOOL, ("Set SPOOL: 1",)))
    for path, told, more in files:
        gevent.spawn(_tell, path, told, more)


def _tell(path: Path, told: str, more: tuple[str, ...]) -> None:
    pool = gevent.get_hub().threadpool
    found = pool.apply(caught, (_count, path))
    if isinstance(found, Exception):
        log.warning(
            "Whether %s has calls that nobody makes is not known: %s", path, found
        )
    elif any(found):
        log.error(told, path, *found, *more)


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
