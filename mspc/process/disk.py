"""How much of a volume is free, without waiting for one that hangs; what is kept."""

import os
from pathlib import Path

import gevent

LOOK_SECONDS = 1.0
# A full disk must still have room for deletes: they go through the WAL too.
RESERVE_BYTES = 256 * 1024 * 1024
RESERVE_SHARE = 20  # ... or one twentieth of a small volume


def reserve_of(volume: int) -> int:
    """Of a volume of so many bytes, those that are kept for settling calls."""
    return min(RESERVE_BYTES, volume // RESERVE_SHARE)


def free_of(folder: Path) -> int:
    """Bytes that are free on the volume of `folder`.

    Raises:
        OSError: it cannot be looked at, or not soon.
    """
    # In a thread: a look at a dead disk would stop every greenlet.
    look = gevent.get_hub().threadpool.spawn(os.statvfs, folder)
    try:
        volume = look.get(timeout=LOOK_SECONDS)
    except gevent.Timeout as exc:
        raise TimeoutError(f"{folder} could not be looked at in time") from exc
    assert volume is not None  # noqa: S101 - get() gives what the thread returned
    return volume.f_bavail * volume.f_frsize
