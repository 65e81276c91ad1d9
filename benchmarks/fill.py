"""Stores calls that wait, straight into a queue that mspc has made and left.

`python -m benchmarks.fill sqlite FILE COUNT`, or `... amqp HOST PORT QUEUE COUNT`.
They are due in an hour, so nothing happens to them while something else is measured.
Prints how many wait then, as the queue itself counts them.
"""

from gevent import monkey

monkey.patch_all()

import sqlite3
import sys
import time
import uuid
from contextlib import closing

from gevent.pool import Pool

from benchmarks.limits.amqp import open_channel
from benchmarks.load import body
from mspc.calls.call import Call
from mspc.queues.amqp import message as amqp_message

DELAY_SECONDS = 3_600
LEVEL = 11  # waits of 2048 to 4096 seconds
IN_FLIGHT = 1_000
# Nobody listens there; until they are due nobody calls either.
PAYLOAD = body("http://127.0.0.1:9/notification")

_INSERT = (
    "INSERT INTO waiting (due, delay, id, accepted_at, attempts, last_error, payload)"
    " VALUES (?, ?, ?, ?, 1, '503', ?)"
)


def fill_sqlite(path: str, count: int) -> None:
    now = time.time()
    due = round((now + DELAY_SECONDS) * 1000)
    rows = (
        (due + number // 100, DELAY_SECONDS * 1000, uuid.uuid4().hex, now, PAYLOAD)
        for number in range(count)
    )
    with closing(sqlite3.connect(path)) as db:
        with db:
            db.executemany(_INSERT, rows)
        print(db.execute("SELECT count(*) FROM waiting").fetchone()[0])


def fill_amqp(host: str, port: int, queue: str, count: int) -> None:
    """Each message is confirmed."""
    retry_queue = f"{queue}.retry.{LEVEL}"
    channel = open_channel(host, port)
    channel.select_confirms()
    left = iter(range(count))

    def work() -> None:
        for _ in left:
            call = Call(PAYLOAD, attempts=1, last_error="503")
            properties = amqp_message.encode(call, due=time.time() + DELAY_SECONDS)
            channel.publish(retry_queue, properties, PAYLOAD)

    pool = Pool(IN_FLIGHT)
    workers = [pool.spawn(work) for _ in range(IN_FLIGHT)]
    pool.join()
    for worker in workers:
        worker.get()
    with channel.connection.channel() as other:
        print(other.queue.declare(retry_queue, passive=True)["message_count"])
    channel.connection.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sqlite", file, number]:
            fill_sqlite(file, int(number))
        case ["amqp", where, at, name, number]:
            fill_amqp(where, int(at), name, int(number))
        case _:
            raise SystemExit(__doc__)
