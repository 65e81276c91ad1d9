"""Stores calls that wait, straight into a queue that mspc has made and left.

`python -m benchmarks.fill sqlite FILE COUNT [ORIGIN]`, or `... amqp HOST PORT QUEUE
COUNT [ORIGIN]`. They are due in an hour, so nothing happens to them while something
else is measured; with an origin they are new calls to it, with a path each. Prints how
many wait then, as the queue itself counts them.
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
_INSERT_NEW = (
    "INSERT INTO calls (id, accepted_at, attempts, last_error, payload)"
    " VALUES (?, ?, 0, '', ?)"
)


def payload(origin: str, number: int) -> bytes:
    return body(f"{origin}/stored/{number}") if origin else PAYLOAD


def fill_sqlite(path: str, count: int, origin: str) -> None:
    now = time.time()
    due = round((now + DELAY_SECONDS) * 1000)
    calls = ((uuid.uuid4().hex, now, payload(origin, n)) for n in range(count))
    waiting = (
        (due + number // 100, DELAY_SECONDS * 1000, *call)
        for number, call in enumerate(calls)
    )
    with closing(sqlite3.connect(path)) as db:
        with db:
            if origin:
                db.executemany(_INSERT_NEW, calls)
            else:
                db.executemany(_INSERT, waiting)
        table = "calls" if origin else "waiting"
        print(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def fill_amqp(host: str, port: int, queue: str, count: int, origin: str) -> None:
    """Each message is confirmed."""
    place = queue if origin else f"{queue}.retry.{LEVEL}"
    channel = open_channel(host, port)
    channel.select_confirms()
    left = iter(range(count))

    def work() -> None:
        for number in left:
            content, due = payload(origin, number), None
            call = Call(content)
            if not origin:
                call = Call(content, attempts=1, last_error="503")
                due = time.time() + DELAY_SECONDS
            channel.publish(place, amqp_message.encode(call, due=due), content)

    pool = Pool(IN_FLIGHT)
    workers = [pool.spawn(work) for _ in range(IN_FLIGHT)]
    pool.join()
    for worker in workers:
        worker.get()
    with channel.connection.channel() as other:
        print(other.queue.declare(place, passive=True)["message_count"])
    channel.connection.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sqlite", file, number, *origins]:
            fill_sqlite(file, int(number), "".join(origins))
        case ["amqp", where, at, name, number, *origins]:
            fill_amqp(where, int(at), name, int(number), "".join(origins))
        case _:
            raise SystemExit(__doc__)
