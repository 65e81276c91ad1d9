"""The log: standard output always, a file when asked for; neither ever stops a call."""

import logging
import sys
import time
from logging.handlers import WatchedFileHandler

from mspc.config import LogConfig

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s"
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S"

# What a caller or a target sends must not be able to forge a line.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROL |= {
    code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0xD800, 0xE000))
}


class OneLine(logging.Formatter):
    """UTC, one line a message."""

    converter = time.gmtime  # type: ignore[assignment]

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return super().formatMessage(record).translate(_CONTROL)


class LogFile(WatchedFileHandler):
    """A file that may be rotated from outside, and may fail."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self._failing = False
        self._problem: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        failing, self._failing = self._failing, False
        try:
            super().emit(record)
        except (OSError, ValueError):  # from looking whether the file was rotated
            self.handleError(record)
        if self._failing and not failing:
            text = f"LOG_FILE: {self.baseFilename} cannot be written: {self._problem}\n"
            sys.stderr.write(text)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Remembers what failed: it is told once, and the next line is tried again."""
        self._failing = True
        self._problem = sys.exc_info()[1]


def set_up(config: LogConfig) -> None:
    """Points the root logger at the places that `config` names."""
    logging.raiseExceptions = False  # a closed standard output harms nobody
    root = logging.getLogger()
    root.setLevel(config.level.upper())
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if config.file is not None:
        try:
            config.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            sys.stderr.write(f"LOG_FILE: {config.file.parent}: {exc.strerror}\n")
        handlers.append(LogFile(str(config.file)))
    for handler in handlers:
        handler.setFormatter(OneLine(FORMAT, DATE_FORMAT))
    root.handlers = handlers
    # The queue and the consumers report each change of state themselves, once, without
    # a traceback.
    logging.getLogger("amqpstorm").setLevel(logging.CRITICAL)
    logging.getLogger("pamqp").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
