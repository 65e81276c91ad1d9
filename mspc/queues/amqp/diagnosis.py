"""What is wrong with a broker, or with the settings that name it, in diagnosis."""

import re

from mspc.settings.config import AmqpConfig

# AMQP reply codes that no later attempt can change.
ACCESS_REFUSED = 403
PRECONDITION_FAILED = 406
NOT_ALLOWED = 530

SHOWN_BYTES = 40

_PORTS = "RabbitMQ's own port is 5672, or 5671 for amqps"
CLOSED = (
    "what listens there closes the connection without a word. Is it a RabbitMQ, or a"
    f" proxy whose RabbitMQ is away? {_PORTS}"
)
SILENT = (
    "what listens there says nothing. Do QUEUE_HOST and QUEUE_PORT name a RabbitMQ?"
    f" {_PORTS}"
)
_NO_TLS = (
    "what listens there does not speak TLS. Set QUEUE_PORT to the port for TLS, or"
    f" QUEUE_SCHEME to amqp; {_PORTS}"
)
# What OpenSSL says of an answer that is no TLS, by version.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "record layer failure", "RECORD_LAYER_FAILURE")
_GREETINGS = (
    (
        b"HTTP/",
        "what listens there is a web server, perhaps RabbitMQ's management (port"
        f" 15672). Set QUEUE_PORT: {_PORTS}",
    ),
    (
        b"\x15\x03",
        "what listens there speaks TLS. Set QUEUE_SCHEME to amqps, or QUEUE_PORT to the"
        f" port without TLS; {_PORTS}",
    ),
    (
        b"AMQP",
        "what listens there speaks another version of AMQP than 0-9-1. Do QUEUE_HOST"
        " and QUEUE_PORT name a RabbitMQ?",
    ),
)


def no_greeting(first: bytes) -> str:
    """What listens at the broker's port, by the first bytes that it sent."""
    for beginning, told in _GREETINGS:
        if first.startswith(beginning):
            return told
    return (
        f"what listens there is no RabbitMQ, it says {first!r}. Set QUEUE_HOST and"
        f" QUEUE_PORT; {_PORTS}"
    )


def no_connection(error: str, *, tls: bool) -> str | None:
    """A better sentence than amqpstorm's; None when there is none."""
    if not tls or not error.startswith("Could not connect"):
        return None
    if any(one in error for one in _NOT_TLS):
        return _NO_TLS
    if "EOF" in error or "reset by peer" in error:
        return (
            "what listens there ends the TLS handshake. Does it speak TLS, and is it a"
            f" RabbitMQ? {_PORTS}"
        )
    if error.endswith("None"):  # a timeout has no text
        return (
            "nobody answers there, or not to a TLS handshake. Do QUEUE_HOST and"
            f" QUEUE_PORT name a RabbitMQ that speaks TLS? {_PORTS}"
        )
    return None


def refusal(exc: Exception, config: AmqpConfig) -> str | None:
    """Which setting to mend when RabbitMQ refuses for good; None when it may pass."""
    code = getattr(exc, "error_code", None)
    if code == PRECONDITION_FAILED:
        named = re.search(r"for queue '([^']+)'", str(exc))
        queue = named.group(1) if named else config.name
        return (
            f"QUEUE_TYPE: the queue {queue} exists with other arguments than QUEUE_TYPE"
            f" {config.queue_type} declares. Set QUEUE_TYPE to what it was made with"
            " (quorum or classic), or choose another QUEUE_NAME."
        )
    if code == NOT_ALLOWED:
        return (
            f"RABBITMQ_DEFAULT_VHOST: there is no virtual host {config.vhost} for"
            f" the user {config.user}."
        )
    if code == ACCESS_REFUSED:
        return (
            "RABBITMQ_DEFAULT_USER, RABBITMQ_DEFAULT_PASS: RabbitMQ refuses the user"
            f" {config.user}, or lets it neither configure, write nor read the queues."
        )
    return None
