"""What a line of the log looks like."""

import logging
import re
import time

# What a caller or a target sends must not be able to forge a line.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class OneLine(logging.Formatter):
    """UTC, one line a message. For one thread: the time is kept between lines."""

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._time = ""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        second = int(record.created)
        if second != self._second:  # most lines come in the same one as the last
            self._time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        milliseconds = int(record.msecs)
        text = _UNSAFE.sub(_escaped, record.message)
        return f"{self._time}.{milliseconds:03d}Z {record.levelname} {text}"

    def usesTime(self) -> bool:  # noqa: N802
        """No: the time of day is ours."""
        return False


def warning(text: str) -> str:
    """A line about the log itself, as it stands in the log; from any thread."""
    fields = {"levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
    return f"{OneLine().format(logging.makeLogRecord(fields))}\n"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
