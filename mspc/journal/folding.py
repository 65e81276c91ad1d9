"""What an event makes of a call: pure.

Events come in any order and more than once: through the stream, from several
instances, from a queue that hands a call out twice. Each is held against what is known.
"""

from dataclasses import dataclass

from msgspec import Struct

from mspc.calls.words import DEAD, FINISHED, GONE, QUEUED, SUCCEEDED, WAITING
from mspc.journal.events import Accepted, Attempted, Decided

DELETED = "deleted"
_STATE_AFTER = {"done": SUCCEEDED, "retry": WAITING, "dead": DEAD}
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why calls are dead: what they have in common."""

    reason: str
    status: int | None
    error: str


class Row(Struct, eq=False, gc=False):
    """What is known of a call, and what is new of it since it was read.

    Attributes:
        key: see keys.py.
        destination: its lane.
        state: one of calls/words.py.
        changed_at: when what made it so happened, Unix seconds.
        due: when its next attempt may be made; None when it is finished.
        status, error: of its last attempt.
        bare: neither headers nor a body are known.
        call: what is to be written of the call itself; None when that is known.
        last: the last attempt, when it is new.
        failed: attempts that are to be kept beside the last one.
        attempted: how many of the new attempts were not known before.
        changed: whether anything of it is new; much is heard of twice.
    """

    key: int
    id: str
    destination: str
    state: str = QUEUED
    changed_at: float = _NEVER
    due: float | None = None
    attempts: int = 0
    finished_at: float | None = None
    reason: str = ""
    status: int | None = None
    error: str = ""
    bare: bool = False
    call: Accepted | None = None
    last: Attempted | None = None
    failed: list[Attempted] = []  # msgspec makes one for each
    attempted: int = 0
    changed: bool = False

    @property
    def cause(self) -> Cause | None:
        if self.state != DEAD:
            return None
        return Cause(self.reason, self.status, self.error)


def row_of(call: Accepted, key: int) -> Row:
    """Of a call that nobody knew."""
    bare = not call.headers and not call.body
    due = max(call.due, call.at)
    state = WAITING if due > call.at else QUEUED
    return Row(key, call.id, call.destination, state, due=due, bare=bare, call=call)


def fold_accepted(row: Row, call: Accepted) -> None:
    """Says nothing new of a call that is known, but for what was missing.

    A dead letter that was made again counts as accepted then; that it was, its decision
    says, which is a moment older.
    """
    if call.at > row.changed_at and row.state not in FINISHED:
        row.changed_at, row.changed = call.at, True
    if row.bare and (call.headers or call.body):
        row.call, row.bare, row.changed = call, False, True


def fold_attempted(row: Row, event: Attempted) -> None:
    """The newest one counts; that a call has succeeded counts for ever."""
    ended = event.at + event.seconds
    if ended == row.changed_at and _is_known(row, event):
        return
    row.changed = True
    if event.decision != "done":
        row.failed.append(event)
    if not _counts(row, event, ended):
        return
    row.attempted += ended > row.changed_at
    row.changed_at = max(row.changed_at, ended)
    row.attempts = event.number or row.attempts
    row.status, row.error, row.last = event.status, event.error, event
    if row.state == GONE and event.decision == "retry":
        return  # it was in flight when it was cancelled, and does not come again
    row.state = _STATE_AFTER[event.decision]
    row.reason = event.reason
    row.due = event.next_at
    row.finished_at = None
    if row.state in FINISHED:
        row.due, row.finished_at = None, ended


def _is_known(row: Row, event: Attempted) -> bool:
    """Whether it is what made the row what it is."""
    after = _STATE_AFTER[event.decision], event.number, event.status, event.error
    return (row.state, row.attempts, row.status, row.error) == after


def _counts(row: Row, event: Attempted, ended: float) -> bool:
    if row.state == SUCCEEDED:
        return event.decision == "done" and ended >= row.changed_at
    # The clocks of two instances may differ: nothing undoes a success.
    return event.decision == "done" or ended >= row.changed_at


def fold_decided(row: Row, event: Decided) -> None:
    """What was decided of a call: cancelled, retried or deleted."""
    if event.kind == "cancelled":
        # An attempt that ended later, in flight at the time, makes no difference.
        if row.state not in FINISHED:
            _end(row, event, event.reason)
    elif event.at < row.changed_at or row.state in (SUCCEEDED, GONE):
        return
    elif event.kind == "deleted":
        _end(row, event, DELETED)
    else:
        _begin_again(row, event)


def _end(row: Row, event: Decided, reason: str) -> None:
    row.changed_at, row.changed = max(row.changed_at, event.at), True
    row.state, row.due, row.finished_at = GONE, None, event.at
    row.reason = reason


def _begin_again(row: Row, event: Decided) -> None:
    said = event.details.get("delay")
    delay = max(0.0, said) if isinstance(said, int | float) else 0.0
    row.changed_at, row.due = event.at, event.at + delay
    row.changed = True
    if row.state == DEAD:
        row.attempts, row.finished_at, row.reason = 0, None, ""
        row.state = WAITING if delay else QUEUED
