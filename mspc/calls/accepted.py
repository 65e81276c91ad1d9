"""Requests of calls that were accepted a moment ago, so that each is read once.

Most calls are attempted by the process that has just accepted them. The others, and
those that have waited, are read again from what is stored.
"""

from mspc.calls.call import Call, Request

REMEMBERED_BYTES = 8_388_608
LARGEST_BYTES = 16_384  # of one payload
_OVERHEAD_BYTES = 1000  # of one request, besides its texts
# Queues deliver roughly in order. Whatever is this much older than a call that has been
# delivered was delivered too, elsewhere.
OUT_OF_ORDER_SECONDS = 10.0


class Accepted:
    """Remembers requests until their calls are delivered, within REMEMBERED_BYTES.

    When there is no room, the new ones are not remembered: the oldest are needed next.
    """

    def __init__(self) -> None:
        self._requests: dict[str, tuple[Call, Request]] = {}
        self._left = REMEMBERED_BYTES
        self._newest = 0.0  # when that of it was accepted, Unix seconds
        self._delivered_until = 0.0  # the same of what has been delivered

    def remember(self, call: Call, request: Request) -> None:
        if len(call.payload) > LARGEST_BYTES or call.id in self._requests:
            return
        size = _size(call)
        if size > self._left:
            self._forget_what_others_took()
        if size <= self._left:
            self._left -= size
            self._newest = max(self._newest, call.accepted_at)
            self._requests[call.id] = call, request

    def forget(self, call: Call) -> None:
        """`call` was not stored, so nobody will take it."""
        self._take(call.id)

    def look(self, call: Call) -> Request | None:
        """The request of `call`, which stays; None when it is not remembered."""
        found = self._requests.get(call.id)
        # Another producer may use the same id for another call.
        if found is None or found[0].payload != call.payload:
            return None
        return found[1]

    def take(self, call: Call) -> Request | None:
        """The request of `call`, once; None when it is not remembered."""
        # Of another producer's clock no more is believed than ours can tell.
        accepted_at = min(call.accepted_at, self._newest)
        self._delivered_until = max(self._delivered_until, accepted_at)
        found = self._take(call.id)
        if found is None or found[0].payload != call.payload:
            return None
        return found[1]

    def _take(self, call_id: str) -> tuple[Call, Request] | None:
        found = self._requests.pop(call_id, None)
        if found is not None:
            self._left += _size(found[0])
        return found

    def _forget_what_others_took(self) -> None:
        """Drops what another instance has been given; it would fill this for ever."""
        until = self._delivered_until - OUT_OF_ORDER_SECONDS
        gone = []
        for call_id, (call, _) in self._requests.items():
            if call.accepted_at >= until:
                break
            gone.append(call_id)
        for call_id in gone:
            self._take(call_id)


def _size(call: Call) -> int:
    # A body is a second copy of most of its payload.
    return _OVERHEAD_BYTES + 2 * len(call.payload)
