"""What somebody began to do to one call, noted before the queue does it.

A queue has done it in a moment in which the journal does not know of it yet, and may
even forget the call. When the process dies then, the note says what was meant: a retry
is finished after the restart, and of a call that is gone it is known who cancelled it.
Jobs note their chunks in the same way, see jobs.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mspc.journal.base import View
from mspc.journal.events import Decided, Kind
from mspc.steering.decisions import (
    APART_SECONDS,
    FIRST_LOOK,
    Decisions,
    details_of_retry,
)
from mspc.steering.reach import Reach

# A queue takes a call out within a commit: what was begun longer than that before the
# process died has come to its end, one way or the other.
CANCELLING_SECONDS = 10.0
# A pass through all dead letters of a RabbitMQ may take a minute, and RabbitMQ be away.
RETRYING_SECONDS = 600.0
NOTE: Kind = "chunk"
_CANCEL, _LEFT = {"action": "cancel"}, {"action": ""}


class Begun:
    """Notes it, and finishes retries after a crash."""

    def __init__(
        self, decisions: Decisions, view: View, reach: Reach, instance: str
    ) -> None:
        """
        Args:
            decisions: where it is written down.
            view: of the journal, where it is found.
            reach: what is done.
            instance: tells this one from others, also after a restart.
        """
        self._decisions = decisions
        self._view = view
        self._reach = reach
        self._instance = instance
        self._open: set[str] = set()

    @property
    def unfinished(self) -> bool:
        """Whether it is not written down how something ended that was begun here."""
        return bool(self._open)

    def done(self, call_id: str) -> None:
        """That it came to pass is written down."""
        self._open.discard(call_id)

    def cancelling(self, call_id: str, who: str, reason: str, at: float) -> None:
        """Notes that a call is about to be taken out of a queue, which forgets it.

        Raises:
            JournalUnavailable: it may be lost.
        """
        self._decisions.decide(NOTE, who, call_id, reason, _CANCEL, at=at)
        self._open.add(call_id)

    def was_cancelling(self, call_id: str) -> bool:
        """Whether somebody has begun to cancel it, and nobody knows how that ended.

        Raises:
            JournalUnavailable: nothing can be looked up.
        """
        return _noted_cancelling(self._view, call_id) is not None

    def retrying(
        self, call_id: str, who: str, reason: str, delay: float, at: float
    ) -> None:
        """Notes that a call is about to be due in `delay` seconds.

        Raises:
            JournalUnavailable: it may be lost.
        """
        details = {"action": "retry", "delay": delay, "instance": self._instance}
        # Before the decision itself, which ends it: ids of one moment have no order.
        before = at - APART_SECONDS
        self._decisions.decide(NOTE, who, call_id, reason, details, at=before)
        self._open.add(call_id)

    def leave(self, call_id: str, who: str, after: float) -> None:
        """What was noted at `after` did not come to pass."""
        self._decisions.record(NOTE, who, (call_id,), details=_LEFT, after=after)
        self._open.discard(call_id)

    def finish(self, last_at: float) -> Iterator[None]:
        """Retries that this instance had begun when it died; goes on with each step.

        Args:
            last_at: when the last event happened before that, Unix seconds.

        Raises:
            JournalUnavailable, QueueUnavailable: begin anew.
        """
        for noted in self._view.decisions("", (NOTE,), FIRST_LOOK):
            if last_at - noted.at > RETRYING_SECONDS:
                return
            delay = self._delay_of(noted.details)
            if delay is None or not self._is_open(noted):
                continue
            reached = self._reach.act_again("retry", noted.targets, noted.at, delay)
            if reached.ids:
                self._decisions.record(
                    "retried",
                    noted.who,
                    reached.ids,
                    noted.reason,
                    details_of_retry(delay),
                    at=noted.at + APART_SECONDS,
                )
            yield

    def _delay_of(self, details: Mapping[str, Any]) -> float | None:
        """Of a retry of this instance, in seconds; None for everything else."""
        if details.get("action") != "retry" or "delay" not in details:
            return None
        return details["delay"] if details.get("instance") == self._instance else None

    def _is_open(self, noted: Decided) -> bool:
        """Whether nothing was written down since that ends it."""
        kinds = (NOTE, "retried", "deleted", "cancelled")
        return any(
            one.id == noted.id
            for one in self._view.decisions(noted.targets[0], kinds, 1)
        )


def cancelling(view: View, call_id: str, last_at: float) -> Decided | None:
    """Who was about to cancel a call when the process died; None for nobody.

    Args:
        view: of the journal.
        call_id: the call's.
        last_at: when the last event happened before that, Unix seconds.

    Raises:
        JournalUnavailable: nothing can be looked up.
    """
    noted = _noted_cancelling(view, call_id)
    if noted is None or last_at - noted.at > CANCELLING_SECONDS:
        return None
    return noted


def _noted_cancelling(view: View, call_id: str) -> Decided | None:
    """The last note of a call, when it is that somebody is about to cancel it."""
    noted = view.decisions(call_id, (NOTE,), 1)
    return noted[0] if noted and noted[0].details == _CANCEL else None
