"""A call as a message: the client's own text is the body, the rest travels in headers.

So that other producers may publish to the queue directly, nothing but the body is
needed, and nothing in a foreign message may harm.
"""

import math
import re
import time
from dataclasses import dataclass
from typing import Any

from pamqp import commands

from mspc.calls.call import Call, new_call_id

ATTEMPTS = "x-mspc-attempts"
ACCEPTED = "x-mspc-accepted-ms"
DUE = "x-mspc-due-ms"
LEFT = "x-mspc-left-ms"
ERROR = "x-mspc-error"
REASON = "x-mspc-reason"
DIED = "x-mspc-died-ms"
LANE = "x-mspc-lane"
REVIVED = "x-mspc-revived-ms"

PERSISTENT = 2

# Attempts, or milliseconds since 1970.
_FAR_TOO_MANY = 1 << 53
# The id goes into the log and into a header of the call.
_SAFE_ID = re.compile(r"[!-~]{1,200}")


@dataclass(slots=True)
class Message:
    """One delivery as it came.

    Attributes:
        consumer: the consumer tag that it came for.
        tag: its delivery tag, valid on its channel only.
    """

    consumer: str
    tag: int
    properties: commands.Basic.Properties
    body: bytes


def encode(
    call: Call,
    due: float | None = None,
    reason: str | None = None,
    lane: str = "",
    left: float = 0.0,
) -> commands.Basic.Properties:
    """The properties of the message that carries `call`.

    Args:
        call: its payload is the body.
        due: when it is to be attempted, Unix seconds; for a retry queue.
        reason: why it is dead, since now; for the dead letters.
        lane: whom it goes to; for what is set aside, so that nobody has to read it.
        left: seconds before it is due at which it leaves the retry queue.
    """
    headers: dict[str, Any] = {
        ATTEMPTS: call.attempts,
        ACCEPTED: round(call.accepted_at * 1000),
    }
    if call.revived_at:
        headers[REVIVED] = math.ceil(call.revived_at * 1000)
    if call.last_error:
        headers[ERROR] = call.last_error
    if due is not None:
        headers[DUE] = math.ceil(due * 1000)
    elif call.waited:
        headers[DUE] = 0  # it is in a queue where nobody waits
    if left:
        headers[LEFT] = math.ceil(left * 1000)
    if reason is not None:
        headers[REASON] = reason
        headers[DIED] = round(time.time() * 1000)
    if lane:
        headers[LANE] = lane
    return commands.Basic.Properties(
        message_id=call.id,
        delivery_mode=PERSISTENT,
        content_type="application/json",
        headers=headers,
    )


def decode(properties: commands.Basic.Properties, body: bytes) -> tuple[Call, float]:
    """The call, and when it is due in Unix seconds (0: at once). Never raises."""
    headers = properties.headers or {}
    message_id = properties.message_id or ""
    error = headers.get(ERROR)
    call = Call(
        payload=body,
        id=message_id if _SAFE_ID.fullmatch(message_id) else new_call_id(),
        accepted_at=_milliseconds(headers, ACCEPTED) or time.time(),
        attempts=_count(headers, ATTEMPTS),
        last_error=error if isinstance(error, str) else "",
        waited=DUE in headers,
        revived_at=_milliseconds(headers, REVIVED),
    )
    return call, _milliseconds(headers, DUE)


def left_of(properties: commands.Basic.Properties) -> float:
    """Seconds that a call waits on when it leaves its retry queue."""
    return _milliseconds(properties.headers or {}, LEFT)


def lane_of(properties: commands.Basic.Properties) -> str:
    """Whom a call goes to that was set aside; empty when it does not say."""
    lane = (properties.headers or {}).get(LANE)
    return lane if isinstance(lane, str) else ""


def _count(headers: dict[str, Any], name: str) -> int:
    """0 for what another producer has written there that is no count of ours: one more
    than the largest of AMQP's integers could not be written down.
    """
    value = headers.get(name)
    return value if type(value) is int and 0 <= value < _FAR_TOO_MANY else 0


def _milliseconds(headers: dict[str, Any], name: str) -> float:
    return _count(headers, name) / 1000
