"""Requests of calls that were accepted a moment ago, so that each is read once.

Most calls are attempted by the process that has just accepted them. The others, and
those that have waited, are read again from what is stored.
"""

from mspc.calls.call import Call, Request

REMEMBERED_CALLS = 1000
LARGEST_BYTES = 16_384


class Accepted:
    """Remembers the last requests; holds some 30 MB at most, and 2 MB as a rule."""

    def __init__(self) -> None:
        self._requests: dict[str, tuple[bytes, Request]] = {}

    def remember(self, call: Call, request: Request) -> None:
        if len(call.payload) > LARGEST_BYTES:
            return
        self._requests[call.id] = call.payload, request
        if len(self._requests) > REMEMBERED_CALLS:
            del self._requests[next(iter(self._requests))]

    def take(self, call: Call) -> Request | None:
        """The request of `call`, once; None when it is not remembered."""
        found = self._requests.pop(call.id, None)
        # Another producer may use the same id for another call.
        if found is None or found[0] != call.payload:
            return None
        return found[1]
