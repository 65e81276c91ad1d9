"""The log: standard output always, a file when asked for; neither ever stops a call."""

import io
import logging
import os
from functools import partial

from gevent.monkey import get_original

from mspc.process.lines import OneLine, Record, warning
from mspc.process.logfile import LogFile
from mspc.process.writer import Writer
from mspc.settings.config import LogConfig

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2
# Somebody who shares the pipe or the terminal with us made it non-blocking.
TAKES_NOTHING_SECONDS = 0.05

_sleep = get_original("time", "sleep")


class Log(logging.Handler):
    """Hands each line to those who write it."""

    def __init__(
        self, writers: tuple[Writer, ...], formatter: logging.Formatter
    ) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writers = writers

    def handle(self, record: logging.LogRecord) -> bool:
        """As logging's, without a lock and filters: whoever writes takes it at once."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n"
        except Exception:  # noqa: BLE001 - a wrong message is no reason to fail a call
            self.handleError(record)
            return
        for writer in self._writers:
            writer.put(line)

    @property
    def dropped(self) -> int:
        """Lines that were not written, of all who write."""
        return sum(writer.dropped for writer in self._writers)

    def flush(self) -> None:
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers = ()
        super().close()


class StandardError(io.TextIOBase):
    """What Python itself, or a library, has to say must not stop calls either."""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        _error.put(text)
        return len(text)


class _Descriptor:
    """Standard output, or standard error; it stays open when we end."""

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._number, data) :]
            except BlockingIOError:
                _sleep(TAKES_NOTHING_SECONDS)

    def close(self) -> None:
        pass


_error = Writer("standard error", _Descriptor(STANDARD_ERROR), lambda _: None)


def set_up(config: LogConfig) -> None:
    """Points the root logger at the places that `config` names."""
    logging.raiseExceptions = False
    _leave_out_what_is_not_shown()
    root = logging.getLogger()
    root.setLevel(config.level.upper())
    close()
    root.handlers = [_log(config)]
    logging.setLogRecordFactory(Record)
    # The queue and the consumers report each change of state themselves, once, without
    # a traceback.
    logging.getLogger("amqpstorm").setLevel(logging.CRITICAL)
    logging.getLogger("pamqp").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def flush() -> None:
    """Blocks until every line is written, but for no longer than it gets on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Log):
            handler.flush()
    _error.flush()


def lines_dropped() -> int:
    """Lines that were never written anywhere, since the start."""
    handlers = logging.getLogger().handlers
    return sum(one.dropped for one in handlers if isinstance(one, Log))


def close() -> None:
    """Writes what is left, as far as that can be done, and ends the threads."""
    flush()
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, Log):
            handler.close()
            root.removeHandler(handler)
    logging.setLogRecordFactory(logging.LogRecord)


def say(sentence: str) -> None:
    """A line on standard error, which may be a pipe that nobody reads."""
    _error.put(f"{sentence}\n")
    _error.flush()


def _log(config: LogConfig) -> Log:
    formatter = _formatter(config)
    line = partial(warning, formatter=formatter)
    output = _Descriptor(STANDARD_OUTPUT)
    if config.file is None:
        return Log((Writer("standard output", output, _tell, line),), formatter())
    sink = LogFile(str(config.file), config.max_bytes, config.kept, _tell)
    file = Writer(f"LOG_FILE: {config.file}", sink, _tell, line)

    def tell(text: str) -> None:
        file.put(line(text))

    return Log((file, Writer("standard output", output, tell, line)), formatter())


def _formatter(config: LogConfig) -> type[logging.Formatter]:
    if config.format == "text":
        return OneLine
    # Here: whoever wants text starts without it.
    from mspc.process.json_lines import JsonLine

    return JsonLine


def _tell(text: str) -> None:
    _error.put(f"{text}\n")


def _leave_out_what_is_not_shown() -> None:
    # As logging's own documentation advises ("Optimization"): looking for the caller
    # and the thread of each record costs more than writing its line.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
