"""What a line of the log looks like."""

import logging
import re
import time
from collections.abc import Mapping
from typing import Any

# What a caller or a target sends must not be able to forge a line.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Named(str):
    """What a line says, with names for what is put in it.

    Attributes:
        event: what the line is about, in a word.
        names: of the arguments, in order.
    """

    event: str
    names: tuple[str, ...]

    def __new__(cls, event: str, text: str, *names: str) -> "Named":
        """
        Args:
            event: the same.
            text: the line, as logging's `msg`.
            names: the same.
        """
        made = super().__new__(cls, text)
        made.event, made.names = event, names
        return made


class OneLine(logging.Formatter):
    """UTC, one line a message. For one thread: the time is kept between lines."""

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._time = ""

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info or record.exc_text or record.stack_info:
            return super().format(record)
        return self._line(record, record.getMessage())

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return self._line(record, record.message)

    def usesTime(self) -> bool:  # noqa: N802
        """No: the time of day is ours."""
        return False

    def _line(self, record: logging.LogRecord, text: str) -> str:
        second = int(record.created)
        if second != self._second:  # most lines come in the same one as the last
            self._time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        if not text.isprintable():  # it may be just a tab, or of another language
            text = _UNSAFE.sub(_escaped, text)
        milliseconds = int(record.created * 1000) % 1000
        return f"{self._time}.{milliseconds:03d}Z {record.levelname} {text}"


class Record(logging.LogRecord):
    """Made in a sixth of the time: nothing is looked up that no line of ours shows."""

    def __init__(
        self,
        name: str,
        level: int,
        pathname: str,
        lineno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        sinfo: str | None = None,
    ) -> None:
        self.name = name
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.msg = msg
        if args and len(args) == 1 and args[0] and isinstance(args[0], Mapping):
            args = args[0]  # as in logging: for `%(name)s`
        self.args = args
        self.exc_info = exc_info
        self.created = time.time()


# All else that a record has, of none in particular.
for _name, _value in vars(
    logging.LogRecord("", logging.NOTSET, "", 0, "", None, None)
).items():
    setattr(Record, _name, _value)


def warning(text: str, formatter: type[logging.Formatter] = OneLine) -> str:
    """A line about the log itself, as it stands in the log; from any thread.

    Args:
        text: what is wrong with it.
        formatter: that of the log.
    """
    fields = {"levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
    return f"{formatter().format(logging.makeLogRecord(fields))}\n"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
