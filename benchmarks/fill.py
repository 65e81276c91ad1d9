"""Stores calls that wait, straight into a queue that mspc has made and left.

`python -m benchmarks.fill sqlite FILE COUNT [ORIGIN [answers]]`, or `... amqp HOST PORT
QUEUE COUNT [ORIGIN [answers]]`. They are due in an hour, so nothing happens to them
while something else is measured. With an origin they are new calls to it, with a path
each, where mspc had put them when they were more than it could make: because the
origin `answers` slowly, or else not at all. Prints how many wait then, as the queue
itself counts them.
"""

from gevent import monkey

monkey.patch_all()

import sqlite3
import sys
import time
import uuid
from contextlib import closing

from amqpstorm.exception import AMQPChannelError
from gevent.pool import Pool

from benchmarks.limits.amqp import open_channel
from benchmarks.load import body
from mspc.calls.call import Call, first_call_id
from mspc.queues.amqp import message as amqp_message
from mspc.queues.amqp.channel import PipelinedChannel

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
    "INSERT INTO calls (id, accepted_at, attempts, last_error, payload{column})"
    " VALUES (?, ?, 0, '', ?{value})"
)
_LANE = "x-mspc-lane"
# The first queue for calls set aside, whose lanes do not answer, and the last one,
# whose lanes do.
_ASIDE = {False: "aside.0", True: "aside.15"}


def payload(origin: str, number: int) -> bytes:
    return body(f"{origin}/stored/{number}") if origin else PAYLOAD


def fill_sqlite(path: str, count: int, origin: str) -> None:
    now = time.time()
    due = round((now + DELAY_SECONDS) * 1000)
    calls = (_call(origin, n, now - (count - n) / 1000) for n in range(count))
    waiting = (
        (due + number // 100, DELAY_SECONDS * 1000, *call)
        for number, call in enumerate(calls)
    )
    with closing(sqlite3.connect(path)) as db:
        with db:
            if origin:
                db.executemany(_insert_new(db, origin), calls)
            else:
                db.executemany(_INSERT, waiting)
        table = "calls" if origin else "waiting"
        print(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _call(origin: str, number: int, at: float) -> tuple[str, float, bytes]:
    """One each millisecond, with an id of that moment, as if mspc had stored them."""
    call_id = f"{first_call_id(at)[:12]}7{uuid.uuid4().hex[13:]}"
    return call_id, at, payload(origin, number)


def _insert_new(db: sqlite3.Connection, origin: str) -> str:
    """With the lane, where a row has one."""
    columns = [row[1] for row in db.execute("PRAGMA table_info(calls)")]
    has = "lane" in columns
    return _INSERT_NEW.format(
        column=", lane" if has else "", value=f", '{origin}'" if has else ""
    )


def fill_amqp(
    host: str, port: int, queue: str, count: int, origin: str, *, answers: bool
) -> None:
    """Each message is confirmed."""
    channel = open_channel(host, port)
    place = f"{queue}.retry.{LEVEL}"
    if origin:
        aside = f"{queue}.{_ASIDE[answers]}"
        place = aside if _exists(channel, aside) else queue
    channel.select_confirms()
    left = iter(range(count))

    def work() -> None:
        for number in left:
            content, due = payload(origin, number), None
            call = Call(content)
            if not origin:
                call = Call(content, attempts=1, last_error="503")
                due = time.time() + DELAY_SECONDS
            properties = amqp_message.encode(call, due=due)
            if place != queue and origin:
                properties.headers = {**(properties.headers or {}), _LANE: origin}
            channel.publish(place, properties, content)

    pool = Pool(IN_FLIGHT)
    workers = [pool.spawn(work) for _ in range(IN_FLIGHT)]
    pool.join()
    for worker in workers:
        worker.get()
    with channel.connection.channel() as other:
        print(other.queue.declare(place, passive=True)["message_count"])
    channel.connection.close()


def _exists(channel: PipelinedChannel, queue: str) -> bool:
    try:
        with channel.connection.channel() as other:
            other.queue.declare(queue, passive=True)
    except AMQPChannelError:
        return False
    return True


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sqlite", file, number, *origins]:
            fill_sqlite(file, int(number), "".join(origins[:1]))
        case ["amqp", where, at, name, number, *origins]:
            origin, answers = "".join(origins[:1]), origins[1:] == ["answers"]
            fill_amqp(where, int(at), name, int(number), origin, answers=answers)
        case _:
            raise SystemExit(__doc__)
