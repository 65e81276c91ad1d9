"""What is done to one call, and why it cannot be done to it as it is."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from mspc.calls.sentences import shown
from mspc.calls.words import DEAD, GONE, IN_FLIGHT, QUEUED, SUCCEEDED, WAITING
from mspc.errors import MspcError, NoSuchCall, NotPossible
from mspc.journal.base import Seen, View
from mspc.process import crash
from mspc.steering.begun import Begun
from mspc.steering.decisions import Decisions, details_of_retry
from mspc.steering.reach import SOON, WAITS_IN_RABBITMQ, Reach

log = logging.getLogger(__name__)


class OneCall:
    """Cancels one, makes one again."""

    def __init__(
        self,
        view: View,
        reach: Reach,
        in_flight: Callable[[str], bool],
        decisions: Decisions,
        begun: Begun,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            view: of the journal.
            reach: how it is done.
            in_flight: whether this instance attempts a call now.
            decisions: where it is written down.
            begun: where it is noted before.
            clock: Unix seconds.
        """
        self._view = view
        self._reach = reach
        self._in_flight = in_flight
        self._decisions = decisions
        self._begun = begun
        self._clock = clock

    def cancel(self, call_id: str, who: str, reason: str) -> None:
        """See Steering.cancel()."""
        seen = self._seen(call_id)
        if seen.state == GONE:
            return
        self._refuse_cancelling(seen)
        now = self._clock()
        again = False
        if self._reach.looks_up:
            again = self._begun.was_cancelling(call_id)
            # It forgets a call at once: were mspc killed then, nobody would know why.
            self._begun.cancelling(call_id, who, reason, now)
        if not self._reach.cancel([call_id], again=again):
            if self._reach.looks_up:
                self._begun.leave(call_id, who, now)
            self._refuse_cancelling(self._seen(call_id))
            raise NotPossible(
                IN_FLIGHT, "It is about to be attempted. Try again in a moment."
            )
        crash.at("decision_reached")
        self._decisions.decide("cancelled", who, call_id, reason, at=now)
        self._begun.done(call_id)
        log.info("%s was cancelled by %s", call_id, who)

    def retry(self, call_id: str, who: str, reason: str, delay: float) -> None:
        """See Steering.retry()."""
        seen = self._seen(call_id)
        self._refuse_retrying(seen)
        now = self._clock()  # it may fail again before the queue has answered
        # Were mspc killed when the queue has done it, nobody would know of it.
        self._begun.retrying(call_id, who, reason, delay, now)
        try:
            reached = self._reach.act("retry", [seen], delay)
        except MspcError:
            self._begun.leave(call_id, who, now)
            raise
        if not reached.ids:
            self._begun.leave(call_id, who, now)
            self._refuse_retrying(self._seen(call_id))
            raise NotPossible(
                QUEUED, "It is on its way already, or was just deleted: look again."
            )
        crash.at("decision_reached")
        details = details_of_retry(delay)
        self._decisions.decide("retried", who, call_id, reason, details, at=now)
        self._begun.done(call_id)
        log.info("%s is made again in %g s, for %s", call_id, delay, who)

    def _seen(self, call_id: str) -> Seen:
        seen = self._view.call(call_id)
        if seen is None:
            raise NoSuchCall(f"There is no call {shown(call_id)}, or not any more.")
        return seen

    def _refuse_cancelling(self, seen: Seen) -> None:
        if seen.state == SUCCEEDED:
            raise NotPossible("already_succeeded", "It has succeeded already.")
        if seen.state == DEAD:
            raise NotPossible(
                "already_dead",
                "It is a dead letter: it is not attempted any more. Delete it if "
                "nobody needs it.",
            )
        if self._in_flight(seen.id):
            raise NotPossible(
                IN_FLIGHT, "It is being attempted now. Try again when that is over."
            )

    def _refuse_retrying(self, seen: Seen) -> None:
        if seen.state == SUCCEEDED:
            raise NotPossible("already_succeeded", "It has succeeded already.")
        if seen.state == GONE:
            raise NotPossible("cancelled", "It was cancelled: send it again.")
        if self._in_flight(seen.id):
            raise NotPossible(IN_FLIGHT, "It is being attempted now.")
        if seen.state == QUEUED:
            raise NotPossible(
                QUEUED, f"It is due already, and made when it has its turn. {SOON}"
            )
        if seen.state == WAITING and not self._reach.looks_up:
            due = "" if seen.next_at is None else f" until {_written(seen.next_at)}"
            raise NotPossible(
                WAITS_IN_RABBITMQ,
                f"It waits in RabbitMQ{due}, where it cannot be looked up. {SOON}",
            )


def _written(at: float) -> str:
    """RFC 3339, UTC."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
