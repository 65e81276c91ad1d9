"""What lies in a file of the embedded queue that is not in use."""

from pathlib import Path

from mspc.queues.sqlite import statements as sql
from mspc.queues.sqlite.file import close_file, is_new, open_file


def count(path: Path) -> tuple[int, int]:
    """Calls that are to be made, and dead letters.

    The file is opened for itself alone, as the queue does it: what a crash has left in
    its WAL counts, too, and nobody else's calls are taken for forgotten.

    Raises:
        ConfigError: another mspc has it, it is damaged, or not ours.
        sqlite3.Error: it cannot be read.
    """
    db = open_file(path)
    try:
        if is_new(db):
            return 0, 0  # killed as it was made
        new, waiting, dead = db.execute(sql.COUNTS).fetchone()
    finally:
        close_file(db)
    return new + waiting, dead
