"""One vocabulary for what becomes of calls: in the API, the log, groups and metrics."""

from typing import Final

# Why an attempt failed.
BAD_STATUS: Final = "bad_status"
TIMEOUT: Final = "timeout"
CONNECT_TIMEOUT: Final = "connect_timeout"
CONNECTION_REFUSED: Final = "connection_refused"
CONNECTION_RESET: Final = "connection_reset"
DNS: Final = "dns"
TLS: Final = "tls"
PROTOCOL: Final = "protocol"
DENIED_NETWORK: Final = "denied_network"
CANCELLED: Final = "cancelled"
UNKNOWN: Final = "unknown"
ERRORS = (
    BAD_STATUS,
    TIMEOUT,
    CONNECT_TIMEOUT,
    CONNECTION_REFUSED,
    CONNECTION_RESET,
    DNS,
    TLS,
    PROTOCOL,
    DENIED_NETWORK,
    CANCELLED,
    UNKNOWN,
)

# Why a call is a dead letter.
NO_REQUEUE: Final = "no_requeue"
MAX_ATTEMPTS: Final = "max_attempts"
MAX_AGE: Final = "max_age"
PERMANENT: Final = "permanent"
NOT_SENDABLE: Final = "not_sendable"
DAMAGED: Final = "damaged"
# A queue keeps a sentence: how it begins.
_BEGINNINGS = {
    "failed, and requeue is false": NO_REQUEUE,
    "max_attempts": MAX_ATTEMPTS,
    "max_age": MAX_AGE,
    "permanent": PERMANENT,
    "cannot be sent": NOT_SENDABLE,
    "is no call": NOT_SENDABLE,
    "damaged in the file": DAMAGED,
}
REASONS = (NO_REQUEUE, MAX_ATTEMPTS, MAX_AGE, PERMANENT, NOT_SENDABLE, DAMAGED)

# What a call is at the moment.
QUEUED: Final = "queued"
IN_FLIGHT: Final = "in_flight"
WAITING: Final = "waiting"
SUCCEEDED: Final = "succeeded"
DEAD: Final = "dead"
GONE: Final = "cancelled"
STATES = (QUEUED, IN_FLIGHT, WAITING, SUCCEEDED, DEAD, GONE)
FINISHED = frozenset({SUCCEEDED, DEAD, GONE})


def reason_in(sentence: str) -> str:
    """The word for the sentence that a queue keeps of a death; empty for another's."""
    return _BEGINNINGS.get(sentence.partition(":")[0], "")
