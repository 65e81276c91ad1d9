"""GET /v1/export: open and dead calls with their payloads, a line of JSON each."""

import base64
import logging
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mspc.admin.queries import ExportQuery
from mspc.admin.routes import Asked, Reply, Route
from mspc.api.problems import problem_of
from mspc.api.shown import Showing, ShownCall
from mspc.calls.words import DEAD, QUEUED, WAITING
from mspc.errors import JournalUnavailable, QueueError
from mspc.journal.base import Filter, Page, Seen, View
from mspc.steering.base import Steering

log = logging.getLogger(__name__)

PAGE = 200
MEDIA_TYPE = "application/x-ndjson"
_NOTHING = "", None


class Line(Struct, frozen=True):
    """A call. Its payload is missing where the queue cannot look it up."""

    call: ShownCall
    payload: str | UnsetType = UNSET
    payload_base64: str | UnsetType = UNSET


class ExportRoutes:
    """Handles /v1/export."""

    def __init__(
        self,
        view: View,
        steering: Steering,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._view = view
        self._steering = steering
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        yield Route(
            "GET",
            "/v1/export",
            "Open and dead calls with their payloads.",
            MEDIA_TYPE,
            self.export,
            "admin",
            ExportQuery,
            errors=(501, 503),
        )

    def export(self, asked: Asked) -> Reply:
        query: ExportQuery = asked.query
        wanted = Filter(frozenset(query.state or (QUEUED, WAITING, DEAD)))
        # The first page now: what cannot be begun is an error of its own.
        return Reply(self._lines(wanted, self._view.calls(wanted, None, PAGE)))

    def _lines(self, wanted: Filter, page: Page) -> Iterator[bytes]:
        """All calls, page by page. What ends it early is its last line."""
        try:
            while True:
                showing = Showing(self._steering, answers=True, clock=self._clock)
                for seen, payload in self._still_there(page.calls, wanted):
                    yield self._line(showing.call(seen), payload)
                if page.next is None:
                    return
                page = self._view.calls(wanted, page.next, PAGE)
        except (JournalUnavailable, QueueError) as exc:
            problem = problem_of(exc, storing=False)
            log.warning("An export ended early: %s", exc)
            refused = {"error": True, "message": problem.message, **problem.more}
            yield msgspec.json.encode(refused) + b"\n"

    def _still_there(
        self, calls: Sequence[Seen], wanted: Filter
    ) -> Iterator[tuple[Seen, bytes | None]]:
        """Those that have not ended since, and their payloads."""
        payloads = self._steering.payloads([seen.id for seen in calls])
        call_id, payload = next(payloads, _NOTHING)
        for seen in calls:
            if seen.id == call_id:
                yield seen, payload
                call_id, payload = next(payloads, _NOTHING)
            elif not self._steering.looks_up:
                yield seen, None
            elif (again := self._found_again(seen.id)) is not None:
                yield seen, again
            elif not self._has_ended(seen.id, wanted):
                yield seen, None

    def _found_again(self, call_id: str) -> bytes | None:
        """One that an attempt has moved to another row meanwhile."""
        _, payload = next(self._steering.payloads([call_id]), _NOTHING)
        return payload

    def _has_ended(self, call_id: str, wanted: Filter) -> bool:
        """Since the page was read, of which it was."""
        seen = self._view.call(call_id)
        return seen is None or seen.state not in wanted.states

    @staticmethod
    def _line(call: ShownCall, payload: bytes | None) -> bytes:
        if payload is None:
            return msgspec.json.encode(Line(call)) + b"\n"
        try:
            line = Line(call, payload=payload.decode())
        except UnicodeDecodeError:
            encoded = base64.b64encode(payload).decode()
            line = Line(call, payload_base64=encoded)
        return msgspec.json.encode(line) + b"\n"
