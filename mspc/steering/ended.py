"""Calls that the journal takes for open, and of which the queue knows more.

What became of a call in the journal's last moments before a crash, or while its disk
was full, was not written down. The queue is asked for each that is told as open, some
at a time: one that it does not have was acknowledged, or cancelled if somebody was
about to; one that it has may have failed once more, or be dead.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from mspc.calls.call import new_call_id
from mspc.calls.words import NOT_SENDABLE, QUEUED, UNKNOWN, WAITING, reason_in
from mspc.journal.base import Filter, Recorder, Seen, View
from mspc.journal.events import Accepted, Attempted, Decided
from mspc.queues.base import Kept, Queue
from mspc.steering.begun import cancelling

PAGE = 200
OPEN = frozenset({QUEUED, WAITING})
TEXT = (
    "Nobody has written down what this attempt gave: mspc was killed, or its journal"
    " could not be written."
)


class Ended:
    """Tells the journal of them."""

    def __init__(
        self,
        queue: Queue,
        recorder: Recorder,
        view: View,
        in_flight: Callable[[str], bool],
        busy: Callable[[], Collection[str]],
    ) -> None:
        """
        Args:
            queue: where the calls are; it looks them up.
            recorder: of the journal.
            view: of the same.
            in_flight: whether a call is attempted now.
            busy: ids of calls of which somebody else will tell what he does to them;
                may raise JournalUnavailable.
        """
        self._queue = queue
        self._recorder = recorder
        self._view = view
        self._in_flight = in_flight
        self._busy = busy

    def tell(self, before: float, last_at: float) -> Iterator[None]:
        """Goes on with each step, to be taken when others had their turn.

        Args:
            before: of calls that were accepted before that; Unix seconds.
            last_at: when the last event happened that the journal knows, the same.

        Raises:
            JournalUnavailable, QueueUnavailable: begin anew.
        """
        wanted = Filter(OPEN, created_before=before)
        after = None
        while True:
            page = self._view.calls(wanted, after, PAGE)
            for event in self._missed(page.calls, last_at):
                self._recorder.record(event)
            after = page.next
            if after is None:
                return
            yield

    def died(self, about: Accepted, dead: Kept) -> Attempted | None:
        """Of a dead letter that was told as open; None when the journal knows better.

        Raises:
            JournalUnavailable: begin anew.
        """
        seen = self._view.call(about.id)
        if seen is None or seen.state not in OPEN:
            return None
        return _death(about, dead, about.at)

    def _missed(
        self, calls: Sequence[Seen], last_at: float
    ) -> Iterator[Attempted | Decided]:
        kept = self._queue.kept([call.id for call in calls])
        for call in calls:
            known = kept.get(call.id)
            if _agree(call, known):
                continue
            # In this order: what ends now is in flight until it is recorded.
            if self._in_flight(call.id) or call.id in self._busy():
                continue
            if not self._same(call):
                continue
            begun = cancelling(self._view, call.id, last_at) if known is None else None
            if begun is None:
                yield _event(call, known, last_at)
            else:
                yield Decided(
                    kind="cancelled",
                    at=begun.at,
                    who=begun.who,
                    targets=begun.targets,
                    reason=begun.reason,
                    id=new_call_id(),
                )

    def _same(self, call: Seen) -> bool:
        """Whether the journal says of it what it said."""
        seen = self._view.call(call.id)
        known = None if seen is None else (seen.state, seen.attempts)
        return known == (call.state, call.attempts)


def _agree(call: Seen, known: Kept | None) -> bool:
    """Whether it is in the queue as the journal says."""
    if known is None or known.died_at is not None:
        return False
    return known.attempts <= call.attempts


def _event(call: Seen, known: Kept | None, last_at: float) -> Attempted:
    """What the journal has missed."""
    about = call.accepted()
    before = call.created_at if call.last is None else call.last.at + call.last.seconds
    at = max(last_at, before)
    if known is None:
        return Attempted(about, call.attempts + 1, at, text=TEXT)
    text = known.last_error or known.reason
    if known.died_at is None:
        due = known.due or at
        return Attempted(
            call=about,
            number=known.attempts,
            at=at,
            error=UNKNOWN,
            text=text,
            decision="retry",
            next_at=due,
        )
    return _death(about, known, before)


def _death(about: Accepted, known: Kept, after: float) -> Attempted:
    """What made it a dead letter, not before `after`; Unix seconds."""
    return Attempted(
        call=about,
        number=known.attempts,
        at=max(known.died_at or 0.0, after),
        error=UNKNOWN,
        text=known.last_error or known.reason,
        decision="dead",
        reason=reason_in(known.reason) or NOT_SENDABLE,
    )
