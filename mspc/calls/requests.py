"""What a stored call asks for, read once: by whoever needs it first."""

import logging

from mspc.calls import validation
from mspc.calls.accepted import Accepted
from mspc.calls.call import Call, Request
from mspc.calls.networks import NetworkRules
from mspc.calls.salvage import salvage
from mspc.errors import BadRequest

log = logging.getLogger(__name__)

# Where calls go that are none: to the dead letters, in a lane of their own.
UNREADABLE = "unreadable calls"


class Requests:
    """The requests of calls, as they were accepted, or read from their payloads."""

    def __init__(self, networks: NetworkRules, accepted: Accepted) -> None:
        self._networks = networks
        self._accepted = accepted

    def take(self, call: Call) -> Request:
        """What `call` asks for; not remembered any more.

        Raises:
            BadRequest: it is no call.
        """
        return self._accepted.take(call) or self.read(call)

    def lane_of(self, call: Call) -> str:
        """Whom `call` goes to; what had to be read for it is remembered."""
        request = self.look(call)
        return UNREADABLE if request is None else request.lane

    def look(self, call: Call) -> Request | None:
        """What `call` asks for; None when it is no call.

        What had to be read for it is remembered, as far as there is room.
        """
        known = self._accepted.look(call)
        if known is not None:
            return known
        try:
            request = self.read(call)
        except BadRequest:
            return None
        self._accepted.remember(call, request)
        return request

    def read(self, call: Call) -> Request:
        """What `call` asks for, read from its payload.

        Raises:
            BadRequest: it is no call.
        """
        try:
            return validation.parse(call.payload, self._networks)
        except BadRequest as refused:
            # The rules of accepting are not those of what was accepted by others.
            request = salvage(call.payload, self._networks, refused)
            if not call.attempts:  # once will do
                log.info("%s is sent as far as it can be: %s", call.id, refused)
            return request
