"""Calls put straight into a queue, a million in a minute or two, not through mspc.

They are proper ones, which the ledger can check; they are promised to nobody.
"""

import hashlib
import itertools
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from amqpstorm.channel import Channel
from pamqp import body, commands, frame, header

from mspc.queues.amqp.topology import Topology
from tests.faults.load import call_to
from tests.support.rabbitmq import Broker
from tests.support.waiting import eventually

_BATCH = 1_000
_BLANK = "stored-0000000"
_DELAY_MILLISECONDS = 3_600_000
# Retry queue 11 is for delays of 2**11 to 2**12 seconds.
_RETRY_QUEUE = "retry.11"
_CONFIRMED_SECONDS = 300.0
_COUNTED_SECONDS = 30.0


class Backlog:
    """The calls `stored-0000001` to as many as wanted; in it, by id, are all of them.

    Attributes:
        count: how many.
    """

    def __init__(self, base: str, count: int) -> None:
        self.count = count
        self._base = base

    def id(self, n: int) -> str:
        return f"stored-{n:07}"

    def __contains__(self, call_id: object) -> bool:
        found = re.fullmatch(r"stored-(\d{7})", str(call_id))
        return found is not None and 0 < int(found[1]) <= self.count

    def batches(self) -> Iterator[list[tuple[str, bytes]]]:
        """Ids and payloads, all payloads of the same length."""
        calls = self._calls()
        while batch := list(itertools.islice(calls, _BATCH)):
            yield batch

    def _calls(self) -> Iterator[tuple[str, bytes]]:
        # One is made in full; the others differ in the id and the checksum only.
        call: dict[str, Any] = call_to(self._base, _BLANK)
        blank, text = _BLANK.encode(), call["body"].encode()
        check, payload = call["headers"]["X-Check"].encode(), json.dumps(call).encode()
        for n in range(1, self.count + 1):
            call_id = self.id(n)
            own = text.replace(blank, call_id.encode())
            digest = hashlib.sha256(own).hexdigest().encode()
            yield (
                call_id,
                payload.replace(blank, call_id.encode()).replace(check, digest),
            )


class Store(Protocol):
    """Where the calls of an mspc lie while it does not run."""

    def fill(self, backlog: Backlog, due: float | None = None) -> None:
        """Stores them all, to be made now, or as failed ones from `due` on."""

    def expect(self, least: int) -> int:
        """Waits until at least so many are there; how many there are."""


class FileStore:
    """The embedded queue's file; mspc has made it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self, backlog: Backlog, due: float | None = None) -> None:
        now = time.time()
        with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous=OFF")
            for number, batch in enumerate(backlog.batches()):
                db.execute("BEGIN")
                if due is None:
                    rows = ((call_id, now, payload) for call_id, payload in batch)
                    db.executemany(
                        "INSERT INTO calls"
                        " (id, accepted_at, attempts, last_error, payload)"
                        " VALUES (?, ?, 0, '', ?)",
                        rows,
                    )
                else:
                    milliseconds = round(due * 1000) + number
                    waiting = (
                        (milliseconds, _DELAY_MILLISECONDS, call_id, now, payload)
                        for call_id, payload in batch
                    )
                    db.executemany(
                        "INSERT INTO waiting"
                        " (due, delay, id, accepted_at, attempts, last_error, payload)"
                        " VALUES (?, ?, ?, ?, 1, '500', ?)",
                        waiting,
                    )
                db.execute("COMMIT")

    def expect(self, least: int) -> int:
        with closing(sqlite3.connect(self._path)) as db:
            count: int = db.execute(
                "SELECT (SELECT count(*) FROM calls) + (SELECT count(*) FROM waiting)"
            ).fetchone()[0]
        return count


class BrokerStore:
    """The queues on RabbitMQ; mspc has declared them."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker = broker
        self._name = name
        self._filled = name

    def fill(self, backlog: Backlog, due: float | None = None) -> None:
        if due is not None:
            self._filled = f"{self._name}.{_RETRY_QUEUE}"
        publish = commands.Basic.Publish(routing_key=self._filled)
        with self._broker.connect() as connection, connection.channel() as channel:
            confirms = Confirms(channel)
            begin = frame.marshal(publish, channel.channel_id)
            for number, batch in enumerate(backlog.batches()):
                late = None if due is None else due + number / 1000
                head = _header(len(batch[0][1]), late, channel.channel_id)
                pieces = [
                    begin
                    + head.replace(_BLANK.encode(), call_id.encode())
                    + frame.marshal(body.ContentBody(payload), channel.channel_id)
                    for call_id, payload in batch
                ]
                connection._io.write_to_socket(b"".join(pieces))
                connection.check_for_errors()
            confirms.wait(backlog.count)

    def expect(self, least: int) -> int:
        counts = [0]
        with self._broker.connect() as connection, connection.channel() as channel:

            def enough() -> bool:
                # What mspc has looked at it may have set aside.
                asides = Topology(self._name, "").asides
                queues = {self._name, self._filled, *asides}
                declared = [channel.queue.declare(one, passive=True) for one in queues]
                counts.append(sum(int(one["message_count"]) for one in declared))
                return counts[-1] >= least

            eventually(enough, _COUNTED_SECONDS)
        return counts[-1]


class Confirms:
    """Counts what RabbitMQ confirms on a channel; amqpstorm would wait for each.

    Attributes:
        refused: how many were not stored.
    """

    def __init__(self, channel: Channel) -> None:
        self.refused = 0
        self._last = 0  # everything up to this tag is settled
        self._beyond: set[int] = set()
        self._others = channel.on_frame
        channel.rpc_request(commands.Confirm.Select())
        channel.on_frame = self._on_frame  # type: ignore[method-assign]

    def wait(self, count: int) -> None:
        """Returns when `count` messages are stored."""
        eventually(lambda: self._last >= count, _CONFIRMED_SECONDS)
        assert not self.refused, f"RabbitMQ refused {self.refused} messages"

    def _on_frame(self, frame_in: Any) -> None:
        if frame_in.name not in ("Basic.Ack", "Basic.Nack"):
            self._others(frame_in)
            return
        tag = frame_in.delivery_tag
        tags = range(self._last + 1, tag + 1) if frame_in.multiple else (tag,)
        new = set(tags) - self._beyond
        self.refused += len(new) if frame_in.name == "Basic.Nack" else 0
        self._beyond |= new
        while self._last + 1 in self._beyond:
            self._last += 1
            self._beyond.remove(self._last)


def _header(size: int, due: float | None, channel: int) -> bytes:
    """The content header of a message with a blank id, as mspc writes it."""
    headers: dict[str, Any] = {
        "x-mspc-attempts": 0 if due is None else 1,
        "x-mspc-accepted-ms": round(time.time() * 1000),
    }
    if due is not None:
        headers |= {"x-mspc-error": "500", "x-mspc-due-ms": round(due * 1000)}
    properties = commands.Basic.Properties(
        message_id=_BLANK,
        delivery_mode=2,
        content_type="application/json",
        headers=headers,
    )
    marshalled: bytes = frame.marshal(
        header.ContentHeader(body_size=size, properties=properties), channel
    )
    return marshalled
