"""What a frame of RabbitMQ's says, also where others have written what is odd."""

import logging
import struct
from typing import Any

from amqpstorm.connection import Connection
from pamqp import commands, frame, header
from pamqp.constants import FRAME_END, FRAME_HEADER, FRAME_HEADER_SIZE, FRAME_METHOD

log = logging.getLogger(__name__)

DELIVER = commands.Basic.Deliver.index.to_bytes(4)


class Tolerant(Connection):
    """Delivers messages whose properties pamqp cannot read, without these.

    Others may publish what they like: a time in microseconds, bytes that are no UTF-8.
    amqpstorm takes them for the beginning of a frame, waits for the rest, and reads
    nothing any more; on the next connection the same message comes again.
    """

    def _handle_amqp_frame(self, data_in: bytes) -> tuple[bytes, int | None, Any]:
        try:
            rest, channel_id, found = super()._handle_amqp_frame(data_in)
        except RecursionError:  # headers in headers, deeper than pamqp can go
            return _without_what_is_odd(data_in)
        if found is None and rest:
            return _without_what_is_odd(rest)
        return rest, channel_id, found


def _without_what_is_odd(data: bytes) -> tuple[bytes, int | None, Any]:
    """As Connection._handle_amqp_frame() has it, for what it has found nothing in."""
    kind, channel_id, size = frame.frame_parts(data)
    end = FRAME_HEADER_SIZE + (size or 0)
    if not size or len(data) <= end or data[end] != FRAME_END:
        return data, None, None
    payload = data[FRAME_HEADER_SIZE:end]
    found: object = None
    if kind == FRAME_HEADER:
        (length,) = struct.unpack_from(">Q", payload, 4)  # after class and weight
        properties = commands.Basic.Properties()
        found = header.ContentHeader(body_size=length, properties=properties)
    elif kind == FRAME_METHOD and payload[:4] == DELIVER:
        found = _deliver(payload[4:])
    if found is None:
        return data, None, None
    log.warning("A message has properties that cannot be read: it is taken without")
    return data[end + 1 :], channel_id, found


def _deliver(arguments: bytes) -> commands.Basic.Deliver:
    """Without the names of the exchange and of the routing key."""
    end = 1 + arguments[0]
    (tag,) = struct.unpack_from(">Q", arguments, end)
    redelivered = bool(arguments[end + 8] & 1)
    consumer = arguments[1:end].decode()  # our own
    return commands.Basic.Deliver(consumer, tag, redelivered)
