"""GET and DELETE /v1/calls/{id}: a caller looks at its call, or takes it back."""

import falcon
import msgspec

from mspc.api.answers import MEDIA_TYPE, answer
from mspc.api.shown import Showing
from mspc.calls.sentences import shown
from mspc.errors import NoSuchCall
from mspc.journal.base import Seen, View
from mspc.steering.base import Steering

WHO = "calls"  # the callers' key


class CallResource:
    """/v1/calls/{id}, for those who send calls."""

    protected = True

    def __init__(self, view: View, steering: Steering) -> None:
        self._view = view
        self._steering = steering

    def on_get(self, req: falcon.Request, resp: falcon.Response, call_id: str) -> None:
        seen = known(self._view, call_id)
        attempts = self._view.attempts(call_id)
        showing = Showing(self._steering, answers=False)
        resp.content_type = MEDIA_TYPE
        resp.data = msgspec.json.encode(showing.call(seen, attempts))

    on_head = on_get

    def on_delete(
        self, req: falcon.Request, resp: falcon.Response, call_id: str
    ) -> None:
        self._steering.cancel(call_id, WHO)
        answer(resp, falcon.HTTP_200, "Cancelled", id=call_id)

    def on_options(
        self, req: falcon.Request, resp: falcon.Response, call_id: str
    ) -> None:
        raise falcon.HTTPMethodNotAllowed(["GET", "HEAD", "DELETE"])


def known(view: View, call_id: str) -> Seen:
    """What the journal knows of a call.

    Raises:
        NoSuchCall: nothing.
        JournalUnavailable: nobody can tell.
    """
    seen = view.call(call_id)
    if seen is None:
        raise NoSuchCall(f"There is no call {shown(call_id)}, or not any more.")
    return seen
