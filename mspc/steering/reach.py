"""Which calls an action is for, and having the queue do it to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mspc.calls.words import DEAD, GONE, QUEUED, WAITING
from mspc.errors import NotPossible
from mspc.journal.base import Filter, Seen, View
from mspc.journal.events import Kind
from mspc.queues.base import Queue
from mspc.steering.base import Action

OPEN = frozenset({QUEUED, WAITING})
STATES: Mapping[Action, frozenset[str]] = {
    "retry": frozenset({DEAD, WAITING}),
    "cancel": OPEN,
    "delete": frozenset({DEAD}),
}
KINDS: Mapping[Action, Kind] = {
    "retry": "retried",
    "cancel": "cancelled",
    "delete": "deleted",
}
WAITS_IN_RABBITMQ = "waits_in_rabbitmq"
SOON = (
    "Calls that a pause or an open breaker holds go at once when the destination is "
    "resumed or answers again."
)


@dataclass(frozen=True, slots=True)
class Reached:
    """What came of an action.

    Attributes:
        done: how many calls it was done to.
        ids: those of them that are to be written down.
    """

    done: int
    ids: Sequence[str]


class Reach:
    """Does to calls what somebody has decided."""

    def __init__(
        self, queue: Queue, view: View, in_flight: Callable[[str], bool]
    ) -> None:
        """
        Args:
            queue: where the calls are.
            view: of the journal.
            in_flight: whether this instance attempts a call now.
        """
        self._queue = queue
        self._view = view
        self._in_flight = in_flight

    @property
    def looks_up(self) -> bool:
        """Whether the queue finds a call without looking at all of them."""
        return self._queue.looks_up

    def fitting(self, action: Action, wanted: Filter) -> Filter | None:
        """Of the wanted calls those that `action` is for; None for no call at all.

        Raises:
            NotPossible: `waits_in_rabbitmq`: calls that wait there are all it wants.
        """
        states = STATES[action]
        if action == "retry" and not self._queue.looks_up:
            states -= {WAITING}
        if wanted.states:
            states &= wanted.states
        if states:
            return replace(wanted, states=states)
        if action == "retry" and WAITING in wanted.states:
            raise NotPossible(
                WAITS_IN_RABBITMQ,
                f"Calls that wait in RabbitMQ cannot be looked up there. {SOON}",
            )
        return None

    def act(
        self,
        action: Action,
        calls: Sequence[Seen],
        delay: float = 0.0,
        *,
        unsure: bool = False,
    ) -> Reached:
        """Does `action` to those of `calls` that are still what it is for.

        Args:
            action: what.
            calls: to which; each once.
            delay: for `retry`, in how many seconds they are due.
            unsure: whether it was begun before and nobody knows how far it came.

        Raises:
            JournalUnavailable, QueueUnavailable: some may have been reached.
        """
        wanted = [call for call in calls if call.state in STATES[action]]
        fit = [call for call in wanted if not self._in_flight(call.id)]
        if action == "cancel":
            ids = self.cancel([call.id for call in fit], again=unsure)
            return Reached(len(ids), ids)
        dead = [call.id for call in fit if call.state == DEAD]
        reached = self._do_to_dead(action, dead, delay) if dead else []
        done = len(reached)
        if unsure:
            # What is not there any more was reached before. If the journal does not
            # know of it, the event was lost with the process.
            missed = self._gone(list(set(dead).difference(reached)))
            done += len(missed)
            reached += [one for one in dead if one in missed and self._dead(one)]
            if action == "retry":  # what is in flight by now was reached, too
                done += len(wanted) - len(fit)
        waiting = [call.id for call in fit if call.state == WAITING]
        hurried = self._make_due(waiting, delay) if waiting else []
        if unsure:  # what does not wait any more is due: it was reached before
            hurried = waiting
        return Reached(done + len(hurried), [*reached, *hurried])

    def act_again(
        self, action: Action, ids: Sequence[str], since: float, delay: float = 0.0
    ) -> Reached:
        """Does `action` to calls to which it was to be done before a crash, and perhaps
        was. What was done then is counted as done, and not done again.

        Args:
            action: what.
            ids: of the calls, which were what it is for.
            since: when it was begun, Unix seconds.
            delay: for `retry`, in how many seconds what is left of them is due.

        Raises:
            JournalUnavailable, QueueUnavailable: some may have been reached.
        """
        done = 0
        left: list[Seen] = []
        for one in ids:
            # In this order: what ends now is in flight until it is recorded.
            flies = self._in_flight(one)
            seen = self._view.call(one)
            if _was_done(action, seen, since, flies=flies):
                done += 1
            elif seen is not None:
                left.append(seen)
        reached = self.act(action, left, delay, unsure=True)
        return Reached(done + reached.done, reached.ids)

    def cancel(self, ids: Sequence[str], *, again: bool) -> list[str]:
        """Takes open calls out of the queue.

        Args:
            ids: of the calls.
            again: whether it was begun before, and some may have been taken out. Of
                others that are not there the journal may have missed the success.

        Returns:
            The ids of those that are not there any more and have not been made.

        Raises:
            JournalUnavailable, QueueUnavailable: some may have been reached.
        """
        reached = self._queue.withdraw(ids) if ids else []
        missed = set(ids).difference(reached) if again else set()
        return reached + [one for one in ids if one in missed and self._lost(one)]

    def _do_to_dead(
        self, action: Action, dead: Sequence[str], delay: float
    ) -> list[str]:
        if action == "retry":
            return self._queue.revive(dead, delay)
        return self._queue.forget(dead)

    def _make_due(self, waiting: Sequence[str], delay: float) -> list[str]:
        if delay:
            return self._queue.postpone(waiting, delay)
        return self._queue.hurry(waiting)

    def _lost(self, call_id: str) -> bool:
        """Whether it was taken out before, and the process died before that was
        written down.
        """
        if not self._queue.looks_up or self._queue.kept([call_id]):
            return False
        # In this order: what has just been answered is in flight until it is recorded.
        if self._in_flight(call_id):
            return False
        seen = self._view.call(call_id)
        return seen is not None and seen.state in OPEN

    def _gone(self, dead: Sequence[str]) -> set[str]:
        """Those that are no dead letters any more, as far as anybody can tell: one that
        is damaged is never made again.
        """
        kept = self._queue.kept(dead)
        return {one for one in dead if one not in kept or kept[one].died_at is None}

    def _dead(self, call_id: str) -> bool:
        seen = self._view.call(call_id)
        return seen is not None and seen.state == DEAD


def _was_done(action: Action, seen: Seen | None, since: float, *, flies: bool) -> bool:
    """Whether a call that `action` was for is what that makes of it.

    Args:
        action: what.
        seen: the call now; None when it is not known any more.
        since: when it was what `action` is for, Unix seconds.
        flies: whether it is attempted now.
    """
    if action != "retry":
        return seen is None or seen.state == GONE
    if seen is None or flies or seen.state not in STATES[action]:
        return True
    # It has failed again, or is even dead again.
    return seen.last is not None and seen.last.at >= since
