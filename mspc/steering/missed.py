"""Calls that the journal does not know: it was killed before it wrote them down.

The queue has them. What it has of the journal's last moments is told again at the
start, some calls at a time; what the journal knows already changes nothing there.
"""

import logging
from collections.abc import Callable

from gevent.event import Event

from mspc.calls.call import Call, Request
from mspc.errors import BadRequest, JournalUnavailable, QueueUnavailable
from mspc.journal.base import Recorder
from mspc.journal.events import accepted
from mspc.process.greenlets import Watched
from mspc.queues.base import Queue

log = logging.getLogger(__name__)

# A call is stored some time after it was accepted, and written down after that.
BEFORE_SECONDS = 1.0
AGAIN_SECONDS = 1.0
# After some calls: others have their turn.
REST_SECONDS = 0.01


class Missed:
    """Tells the journal of them, once."""

    def __init__(
        self,
        queue: Queue,
        recorder: Recorder,
        last_at: Callable[[], float],
        read: Callable[[Call], Request],
        wait: Callable[[Event, float], object] = Event.wait,
    ) -> None:
        """
        Args:
            queue: where the calls are.
            recorder: of the journal.
            last_at: of the same: when the last event happened before the start, Unix
                seconds, or 0; raises JournalUnavailable.
            read: what a call asks for; raises BadRequest.
            wait: for an event, or so many seconds.
        """
        self._queue = queue
        self._recorder = recorder
        self._last_at = last_at
        self._read = read
        self._wait = wait
        self._stopping = Event()
        self._watched = Watched("recovery of the journal", self.run)

    def start(self) -> None:
        if self._recorder.on and self._queue.looks_up:
            self._watched.start()

    def stop(self) -> None:
        """What was not told by then is told after the next start."""
        self._stopping.set()
        self._watched.stop(timeout=0)  # it may wait for the check of a large file

    def run(self) -> None:
        """Returns when all was told, or after stop()."""
        while not self._stopping.is_set():
            try:
                self._tell()
                return
            except (JournalUnavailable, QueueUnavailable) as exc:
                log.info("The journal is completed in a second: %s", exc)
                self._wait(self._stopping, AGAIN_SECONDS)

    def _tell(self) -> None:
        for calls in self._queue.recent(self._last_at() - BEFORE_SECONDS):
            for call in calls:
                self._record(call)
            self._wait(self._stopping, REST_SECONDS)
            if self._stopping.is_set():
                return

    def _record(self, call: Call) -> None:
        try:
            request = self._read(call)
        except BadRequest:
            return  # its only attempt says so
        self._recorder.record(accepted(call, request, self._recorder.body_bytes))
