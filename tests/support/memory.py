"""The queue contract in memory: the double that unit tests use."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from gevent.event import Event
from msgspec.structs import replace

from mspc.calls.call import Call, first_call_id
from mspc.errors import MspcError, QueueUnavailable
from mspc.lanes.lane import Lane
from mspc.lanes.lanes import Lanes
from mspc.lanes.one import OneLane
from mspc.queues.base import Delivery, Kept
from mspc.queues.clock import WaitingWindow


class MemoryStore:
    """What outlives a queue: its rows. Due times in Unix seconds, 0 for at once."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[Call, float]] = {}
        self.dead: list[tuple[Call, str]] = []
        self.died_at: list[float] = []
        self._last = 0

    def bury(self, call: Call, reason: str) -> None:
        self.dead.append((call, reason))
        self.died_at.append(time.time())

    def unbury(self, calls: Sequence[Call]) -> None:
        left = [place for place, (call, _) in enumerate(self.dead) if call not in calls]
        self.dead = [self.dead[place] for place in left]
        self.died_at = [self.died_at[place] for place in left]

    def add(self, call: Call, due: float = 0.0) -> int:
        self._last += 1
        self.rows[self._last] = (call, due)
        return self._last


class MemoryQueue:
    """Keeps the contract as long as the process lives.

    It looks calls up, as the embedded queue does.

    Attributes:
        broken: why nothing works at the moment; empty when all does.
        refusing: why no calls are taken, though those stored are delivered.
    """

    looks_up = True

    def __init__(
        self, store: MemoryStore | None = None, lanes: Lanes | None = None
    ) -> None:
        self.store = store or MemoryStore()
        self.broken = ""
        self.refusing = ""
        self._lanes = OneLane() if lanes is None else lanes
        self._waiting: WaitingWindow[MemoryDelivery] = WaitingWindow(
            self._due, time.monotonic
        )
        self._kept: dict[int, MemoryDelivery] = {}  # what was not lent
        self._open = False
        self._cancelled = Event()

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        self._open = True
        for row in list(self.store.rows):
            self.lend(row)

    def put(self, call: Call, delay: float = 0.0) -> None:
        problem = self.problem()
        if problem is not None:
            raise QueueUnavailable(problem)
        due = time.time() + delay if delay else 0.0
        self.lend(self.store.add(call, due))

    def deliveries(self) -> Iterator[Delivery]:
        while not self._cancelled.is_set():
            delivery: Any = self._lanes.take()
            if delivery is None:
                self._lanes.wait()
            elif not self._cancelled.is_set():
                self._kept.pop(delivery.row, None)
                yield delivery

    def cancel(self) -> None:
        self._cancelled.set()
        self._waiting.clear()
        self._lanes.changed.set()

    def close(self) -> None:
        self.cancel()
        self._open = False

    def connected(self) -> None: ...

    def spooled(self) -> None: ...

    def cancelled(self, when: Mapping[str, float]) -> None: ...

    def withdraw(self, ids: Sequence[str]) -> list[str]:
        self._check()
        return [self._take_back(row).id for row in self._rows(ids)]

    def hurry(self, ids: Sequence[str]) -> list[str]:
        self._check()
        return self.postpone(ids, 0.0)

    def postpone(self, ids: Sequence[str], delay: float) -> list[str]:
        self._check()
        waiting = [row for row in self._rows(ids) if self.store.rows[row][1]]
        return [self._put_again(self._take_back(row), delay) for row in waiting]

    def revive(self, ids: Sequence[str], delay: float = 0.0) -> list[str]:
        begins = time.time() + delay
        return [
            self._put_again(Call(call.payload, call.id, begins, lane=call.lane), delay)
            for call in self._exhume(ids)
        ]

    def forget(self, ids: Sequence[str]) -> list[str]:
        return [call.id for call in self._exhume(ids)]

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        self._check()
        calls = [call for call, _ in (*self.store.rows.values(), *self.store.dead)]
        known = {call.id: call.payload for call in calls}
        return iter([(one, known[one]) for one in ids if one in known])

    def recent(self, since: float) -> Iterator[list[tuple[Call, Kept | None]]]:
        self._check()
        first = first_call_id(since) if since > 0 else ""
        calls = [call for call, _ in self.store.rows.values() if call.id > first]
        for call in calls:
            yield [(call, None)]
        for call, _ in self.store.dead:
            kept = self.kept([call.id])[call.id]
            if (kept.died_at or 0) >= since:
                yield [(call, kept)]

    def kept(self, ids: Sequence[str]) -> Mapping[str, Kept]:
        self._check()
        graves = zip(self.store.dead, self.store.died_at, strict=True)
        found = {
            call.id: Kept(call.attempts, call.last_error, 0.0, died_at, reason)
            for (call, reason), died_at in graves
        } | {
            call.id: Kept(call.attempts, call.last_error, due)
            for call, due in self.store.rows.values()
        }
        return {one: found[one] for one in ids if one in found}

    def problem(self) -> str | None:
        return self.refusing or self.delivery_problem()

    def delivery_problem(self) -> str | None:
        return self.broken or (None if self._open else "The queue is not open.")

    def remark(self) -> str | None:
        return None

    def lend(self, row: int) -> None:
        call, due = self.store.rows[row]
        call = replace(call, waited=bool(due))
        delivery = MemoryDelivery(self, row, call, self._lanes.of(call.lane))
        self._kept[row] = delivery
        if due > time.time():
            self._waiting.hold(delivery, time.monotonic() + due - time.time())
        else:
            self._lanes.offer(delivery)

    def _put_again(self, call: Call, delay: float) -> str:
        """Stores what is due then, however long it was to wait; its id."""
        self.lend(self.store.add(call, time.time() + delay))
        return call.id

    def _due(self, delivery: "MemoryDelivery") -> None:
        if delivery.row in self._kept:  # it was not taken back
            self._lanes.offer(delivery)

    def _check(self) -> None:
        problem = self.delivery_problem()
        if problem is not None:
            raise QueueUnavailable(problem)

    def _rows(self, ids: Sequence[str]) -> list[int]:
        """Those of open calls that are not lent."""
        return [row for row in self._kept if self.store.rows[row][0].id in ids]

    def _take_back(self, row: int) -> Call:
        """Takes a call out of the store and the lanes."""
        delivery = self._kept.pop(row)
        if delivery in delivery.lane.ready:
            delivery.lane.ready.remove(delivery)
        return self.store.rows.pop(row)[0]

    def _exhume(self, ids: Sequence[str]) -> list[Call]:
        self._check()
        found = [call for call, _ in self.store.dead if call.id in ids]
        self.store.unbury(found)
        return found


class MemoryDelivery:
    """A row, lent out.

    Attributes:
        row: in the store.
        alive: set it to False for a delivery whose channel is gone.
        damage: set it for one that is not what was stored.
    """

    damage = ""

    def __init__(self, queue: MemoryQueue, row: int, call: Call, lane: Lane) -> None:
        self.call = call
        self.lane = lane
        self._queue = queue
        self.row = row
        self._settled = False
        self.alive = True

    def ack(self) -> None:
        if self.alive:
            self._settle(lambda: None)

    def retry(self, call: Call, delay: float) -> None:
        def store() -> None:
            due = time.time() + delay
            self._queue.lend(self._queue.store.add(call, due))

        self._move(store)

    def bury(self, call: Call, reason: str) -> None:
        self._move(partial(self._queue.store.bury, call, reason))

    def _move(self, store: Callable[[], None]) -> None:
        if not self.alive:
            raise QueueUnavailable("It is delivered again.")
        self._settle(store)

    def _settle(self, store: Callable[[], None]) -> None:
        if self._queue.broken:
            raise QueueUnavailable(self._queue.broken)
        if not self._settled:
            self._settled = True
            store()
            self._queue.store.rows.pop(self.row, None)
