"""What a line of the log looks like with LOG_FORMAT json."""

import logging
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from mspc.process.lines import Named


class JsonLine(JsonFormatter):
    """One object a line, ASCII: `time`, `level`, `message`, the line as it would be.

    Lines about a call have an `event` too, and what is in them apart, as the caller of
    the log has named it. A traceback is in `exc_info`.
    """

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        at = datetime.fromtimestamp(record.created, UTC)
        log_data["time"] = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
        log_data["level"] = record.levelname
        log_data["message"] = record.message
        if isinstance(record.msg, Named) and isinstance(record.args, tuple):
            log_data["event"] = record.msg.event
            for name, value in zip(record.msg.names, record.args, strict=True):
                log_data[name] = _field(name, value)
        log_data.update(message_dict)


def _field(name: str, value: object) -> object:
    if name == "labels":  # ` [one, other]`, and none has a blank
        shown = str(value).strip(" []")
        return shown.split(", ") if shown else []
    if isinstance(value, float):
        return round(value, 3)
    return value if isinstance(value, int) else str(value)
