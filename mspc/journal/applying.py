"""What a batch of events changes: pure, but for looking calls up."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from mspc.calls.words import SUCCEEDED
from mspc.journal.changes import Changes, Dead
from mspc.journal.events import Accepted, Attempted, Decided, Event
from mspc.journal.folding import (
    Row,
    fold_accepted,
    fold_attempted,
    fold_decided,
    row_of,
)
from mspc.journal.keys import key_of, own_key

OF_CALLS = frozenset({"cancelled", "retried", "deleted"})

Find = Callable[[Sequence[str]], Iterable[tuple[Any, ...]]]


class Batch:
    """Gathers what the events of one transaction make of each call.

    Attributes:
        changes: what they change in the counters; complete after counted().
        delivered: by id, calls that nobody knew, of which there is nothing to say but
            that they were delivered: most of them. Nothing is folded for these.
    """

    def __init__(self, find: Find, newest: int = -1) -> None:
        """
        Args:
            find: the columns of statements.FIND of the calls that are in the file,
                given some ids.
            newest: the last key in the file: an id of a later time is not there.
        """
        self.changes = Changes()
        self.delivered: dict[str, Attempted] = {}
        self._find = find
        self._newest = newest
        self._keys: dict[str, int] = {}
        self._rows: dict[str, Row] = {}
        self._before: dict[str, tuple[str, Dead | None]] = {}

    @property
    def rows(self) -> Iterable[Row]:
        """Of all calls but those that were delivered."""
        return self._rows.values()

    @property
    def new(self) -> list[Row]:
        """Of calls that nobody knew, but for those that were delivered."""
        before = self._before
        return [row for call_id, row in self._rows.items() if call_id not in before]

    @property
    def changed(self) -> list[Row]:
        """Of calls that were known, and are something else now."""
        rows = self._rows
        return [rows[call_id] for call_id in self._before if rows[call_id].changed]

    @property
    def newest(self) -> int:
        """The last key of its calls; -1 without any."""
        return max(self._keys.values(), default=-1)

    def fold(self, events: Sequence[Event]) -> None:
        """All of them, once."""
        for found in self._find(list(self._sought(events))):
            row = self._rows[found[1]] = Row(*found)
            self._before[row.id] = row.state, _dead(row)
        for event in events:
            if type(event) is Attempted and self._is_all(event):
                self.delivered[event.call.id] = event
            else:
                self._fold(event)

    def key(self, call: Accepted) -> int:
        """See keys.py."""
        return self._keys[call.id]

    def row(self, event: Attempted) -> Row:
        """Of a call that was delivered."""
        row = row_of(event.call, self._keys[event.call.id])
        fold_attempted(row, event)
        return row

    def _is_all(self, event: Attempted) -> bool:
        """Whether it is all there is to say of the call so far."""
        call_id = event.call.id
        return (
            event.decision == "done"
            and not (event.error or event.text or event.reason or event.next_at)
            and call_id not in self._rows
            and call_id not in self.delivered
        )

    def _sought(self, events: Sequence[Event]) -> set[str]:
        """Ids of the calls that may be in the file; notes the keys of all."""
        ids: set[str] = set()
        keys = self._keys
        for event in events:
            if isinstance(event, Decided):
                ids.update(event.targets if event.kind in OF_CALLS else ())
                continue
            call = event if isinstance(event, Accepted) else event.call
            if call.id not in keys:
                key = own_key(call.id)
                if key is None or key <= self._newest:
                    ids.add(call.id)
                keys[call.id] = key_of(call.id, call.at) if key is None else key
        return ids

    def _fold(self, event: Event) -> None:
        if isinstance(event, Accepted):
            fold_accepted(self._of(event), event)
        elif isinstance(event, Attempted):
            fold_attempted(self._of(event.call), event)
        elif event.kind in OF_CALLS:
            for call_id in event.targets:
                if (row := self._known(call_id)) is not None:
                    fold_decided(row, event)
        self.changes.last_at = max(self.changes.last_at, event.at)

    def _of(self, call: Accepted) -> Row:
        row = self._known(call.id)
        if row is None:
            row = self._rows[call.id] = row_of(call, self._keys[call.id])
        return row

    def _known(self, call_id: str) -> Row | None:
        event = self.delivered.pop(call_id, None)
        if event is not None:  # there is more to say of it
            self._rows[call_id] = self.row(event)
        return self._rows.get(call_id)

    def counted(self) -> Changes:
        for row in self._rows.values():
            self._count(row, self._before.get(row.id))
        self._count_delivered()
        return self.changes

    def _count_delivered(self) -> None:
        alike: dict[tuple[str, int, int], list[Attempted]] = {}
        for event in self.delivered.values():
            call = event.call
            place = call.destination, int(call.at // 60), int(event.at // 60)
            alike.setdefault(place, []).append(event)
        changes = self.changes
        for (destination, accepted, minute), events in alike.items():
            changes.moved[destination, None, SUCCEEDED] += len(events)
            changes.accepted[accepted] += len(events)
            changes.attempts[destination, minute] += len(events)
            changes.succeeded[destination, minute] += len(events)
            last = max(events, key=attrgetter("at"))
            self._count_last(destination, last)
            changes.last_at = max(changes.last_at, last.at)

    def _count(self, row: Row, known: tuple[str, Dead | None] | None) -> None:
        changes = self.changes
        state, dead = known or (None, None)
        if state != row.state:
            changes.moved[row.destination, state, row.state] += 1
        # One that was made again may have died of the same before that was heard of.
        cause = None if dead is None else dead.cause
        if cause != row.cause or (cause is not None and row.attempted):
            self._count_dead(dead, _dead(row))
        if known is None and row.call is not None:
            changes.accepted[int(row.call.at // 60)] += 1
        if row.last is None or not row.attempted:
            return
        place = row.destination, int(row.last.at // 60)
        changes.attempts[place] += row.attempted
        if row.state == SUCCEEDED:
            changes.succeeded[place] += 1
        self._count_last(row.destination, row.last)

    def _count_dead(self, before: Dead | None, now: Dead | None) -> None:
        if before is not None:
            self.changes.undone.append(before)
        if now is not None:
            self.changes.died.append(now)

    def _count_last(self, destination: str, event: Attempted) -> None:
        last = self.changes.last.get(destination)
        if last is None or last.at <= event.at:
            self.changes.last[destination] = event


def _dead(row: Row) -> Dead | None:
    if row.cause is None or row.finished_at is None:
        return None
    answer = row.last.answer if row.last is not None else ""
    return Dead(row.cause, row.destination, row.id, row.finished_at, answer)
