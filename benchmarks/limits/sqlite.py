"""Group commit alone: `... sqlite PATH COUNT insert`, then `... delete`."""

from gevent import monkey

monkey.patch_all()

import sys
import time
from pathlib import Path

from benchmarks.limits.clock import repeat
from benchmarks.load import body
from mspc.process.bulk import Bulk, inserting
from mspc.queues.sqlite.commits import Store

INSERT = inserting(
    "INSERT INTO calls (seq, id, accepted_at, attempts, last_error, payload)", 6
)
DELETE = Bulk("DELETE FROM calls WHERE seq IN (", "?", ")")
# Numbers below 0 are for warming up; SQLite's begin at 1.
_FIRST = 1_000_000


def main(path: Path, count: int, what: str) -> None:
    store = Store(path)
    store.open(lambda failure: sys.exit(str(failure)))
    payload = body("http://127.0.0.1:9000/notification")

    def insert(number: int) -> None:
        row = (_FIRST + number, "0" * 32, time.time(), 0, "", payload)
        store.run_for(INSERT, row, grows=len(payload))

    def delete(number: int) -> None:
        store.run_for(DELETE, (_FIRST + number,))

    repeat(insert if what == "insert" else delete, count)
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
