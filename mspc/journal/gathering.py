"""What waits to be written, and is bounded: events of our own, and what arrives."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from mspc.journal.events import Accepted, Attempted, Decided, Event
from mspc.process.greenlets import caught

log = logging.getLogger(__name__)

MOST_EVENTS = 20_000
MOST_BYTES = 32 * 2**20
# A turn: events that come in that time share a transaction, if they are no whole batch
# before, and that a call was accepted is kept back for as long.
TURN_SECONDS = 0.2
# So many are written at once: whoever asks waits for what has gathered. In smaller ones
# a transaction, and the way to its thread and back, cost more than the events do.
BATCH_EVENTS = 128
# What one transaction, and one message in the stream, has at most.
CHUNK_EVENTS = 512
CHUNK_BYTES = 2**20
# What was accepted longer ago is not kept back: after a crash it would be missing
# beside what happened later. The recovery looks for calls of a second before that.
KEPT_BACK_SECONDS = 0.5
# Published ones that are remembered: some have not come back yet.
OWN_BATCHES = 1024
# What an event takes besides its body, roughly.
_EVENT_BYTES = 1024

Encode = Callable[[Sequence[Event]], bytes]
Decode = Callable[[bytes], list[Event]]


def size_of(event: Event) -> int:
    """Bytes in memory, roughly."""
    if isinstance(event, Accepted):
        return _EVENT_BYTES + len(event.body)
    if isinstance(event, Attempted):
        return _EVENT_BYTES + len(event.call.body)
    return _EVENT_BYTES


class Gathered:
    """Events that nobody has looked at yet.

    That a call was accepted is kept back for a turn. Most are attempted by then, and an
    attempt tells all of it, too: a row to write, and none to find and change. Nor is it
    kept when it comes late: RabbitMQ delivers many a call before it confirms it.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        """`timer`: seconds, that go on evenly."""
        self._timer = timer
        self._turned_at = timer()
        self._events: list[Event] = []
        self._accepted: dict[str, Accepted] = {}
        self._kept_back: dict[str, Accepted] = {}  # accepted before the last turn
        # Ids of calls whose attempts came before anybody said that they were accepted,
        # since the last turn and before.
        self._told: set[str] = set()
        self._told_before: set[str] = set()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events) + len(self._accepted) + len(self._kept_back)

    @property
    def is_batch(self) -> bool:
        """Whether what is not kept back should be written now."""
        return len(self._events) >= BATCH_EVENTS

    @property
    def is_crowded(self) -> bool:
        """Whether there is little room left."""
        return len(self) > MOST_EVENTS // 2 or self._bytes > MOST_BYTES // 2

    def add(self, event: Event) -> bool:
        """Whether there is room for it."""
        if self._bytes >= MOST_BYTES or len(self) >= MOST_EVENTS:
            return False
        if isinstance(event, Attempted):
            self._tells_all(event.call)
        elif isinstance(event, Decided):
            self._keep_nothing_back()  # it may be about one of them
        elif event.id in self._told or event.id in self._told_before:
            return True
        elif event.id not in self._accepted:
            self._bytes += size_of(event)
            self._accepted[event.id] = event
            return True
        self._bytes += size_of(event)
        self._events.append(event)
        return True

    def _tells_all(self, call: Accepted) -> None:
        """Its acceptance needs no event, whether that was heard of or comes late."""
        told = self._accepted.pop(call.id, None) or self._kept_back.pop(call.id, None)
        if told is not None:
            self._bytes -= size_of(told)
        elif call.method:  # else nobody could read it
            self._told.add(call.id)

    def _keep_nothing_back(self) -> None:
        self._events += self._kept_back.values()
        self._events += self._accepted.values()
        self._kept_back, self._accepted = {}, {}

    def take(self, *, all_of_them: bool) -> Iterator[list[Event]]:
        """What is to be written now, some at a time.

        Args:
            all_of_them: nothing is kept back.
        """
        now = self._timer()
        seconds = now - self._turned_at
        if all_of_them or seconds > KEPT_BACK_SECONDS:
            self._kept_back |= self._accepted
            self._accepted = {}
        events, self._events = self._events, []
        if all_of_them or seconds >= TURN_SECONDS:
            # First, so that a kill between two transactions leaves out the newest.
            events = [*self._kept_back.values(), *events]
            self._kept_back, self._accepted = self._accepted, {}
            self._told_before, self._told = self._told, set()
            self._turned_at = now
        self._bytes -= sum(map(size_of, events))
        chunk: list[Event] = []
        size = 0
        for event in events:
            chunk.append(event)
            size += size_of(event)
            if len(chunk) >= CHUNK_EVENTS or size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk


class Feed(Protocol):
    """What carries batches of events between instances, their own ones too."""

    def start(self, arrived: Callable[[bytes, int], None], after: int | None) -> None:
        """Begins to read; connects again by itself.

        Args:
            arrived: is told each batch and its offset, in a reader greenlet of its own;
                may wait, and then what follows stays where it is. A batch may come
                twice.
            after: the last offset that was applied; None for from the first.
        """

    def publish(self, batch: bytes) -> None:
        """Never waits; the batch may be lost."""

    def stop(self) -> None: ...

    @property
    def keeps(self) -> bool:
        """Whether what is published is kept for the next start; else it is dropped."""

    @property
    def shared(self) -> bool:
        """Whether the batches of all instances come: View.scope."""


class Shared:
    """What other instances have to say, and what they are told.

    Attributes:
        feed: carries it.
        encode, decode: events to bytes, and back.
    """

    def __init__(self, feed: Feed, encode: Encode, decode: Decode) -> None:
        self.feed = feed
        self.encode = encode
        self.decode = decode
        self._own: deque[int] = deque(maxlen=OWN_BATCHES)
        self._batches: list[tuple[bytes, int]] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._batches)

    def publish(self, events: Sequence[Event]) -> None:
        """Tells the others; what comes back of it is not read again."""
        batch = caught(self.encode, events)
        if isinstance(batch, Exception):
            log.warning("%d events were not published: %s", len(events), batch)
            return
        self._own.append(hash(batch))
        self.feed.publish(batch)

    def add(self, batch: bytes, offset: int) -> bool:
        """Whether there is room for it."""
        if hash(batch) in self._own:
            batch = b""
        if len(self._batches) >= MOST_EVENTS or self._bytes >= MOST_BYTES:
            return False
        self._batches.append((batch, offset))
        self._bytes += len(batch)
        return True

    def decoded(self, batches: Sequence[bytes]) -> list[Event]:
        return [event for batch in batches if batch for event in self.decode(batch)]

    def take(self) -> Iterator[tuple[list[bytes], int]]:
        """Batches that are written together, and the offset of the last one."""
        batches, self._batches, self._bytes = self._batches, [], 0
        chunk: list[bytes] = []
        size = 0
        for batch, offset in batches:
            chunk.append(batch)
            size += len(batch)
            if size >= CHUNK_BYTES or offset == batches[-1][1]:
                yield chunk, offset
                chunk, size = [], 0
