"""The log: standard output always, a file when asked for; neither ever stops a call."""

import logging
import os
import re
import sys
import time
from contextlib import suppress

from mspc.settings.config import LogConfig

# How long a file that was moved may still be written to.
LOOK_AGAIN_SECONDS = 0.5
# What a caller or a target sends must not be able to forge a line.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class OneLine(logging.Formatter):
    """UTC, one line a message."""

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


class LogFile:
    """A file that may be rotated from outside, and may fail."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._looked_at = 0.0
        self._descriptor = -1
        self._place: tuple[int, int] | None = None
        self._failing = False

    def write(self, line: str) -> None:
        """Never raises: what fails is told once, and the next line is tried again."""
        failing, self._failing = self._failing, False
        try:
            self._reopen_if_moved()
            _write_all(self._descriptor, line.encode(errors="replace"))
        except OSError as exc:
            self._failing = True
            if not failing:
                told = f"LOG_FILE: {self._path} cannot be written: {exc}\n"
                sys.stderr.write(told)

    def close(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor, self._place = -1, None

    def _reopen_if_moved(self) -> None:
        now = time.monotonic()
        if self._place is not None and now - self._looked_at < LOOK_AGAIN_SECONDS:
            return
        self._looked_at = now
        if self._place is not None and _place_of(self._path) == self._place:
            return
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o666)
        self._place = _place_of(self._descriptor)


class Log(logging.Handler):
    """Writes each line to standard output and to the file."""

    def __init__(self, file: LogFile | None) -> None:
        super().__init__()
        self.setFormatter(OneLine())
        self._stdout = sys.stdout
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n"
        except Exception:  # noqa: BLE001 - a wrong message is no reason to fail a call
            self.handleError(record)
            return
        if self._file is not None:
            self._file.write(line)
        with suppress(OSError, ValueError):  # a closed standard output harms nobody
            self._stdout.write(line)
            self._stdout.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


def set_up(config: LogConfig) -> None:
    """Points the root logger at the places that `config` names."""
    logging.raiseExceptions = False
    _leave_out_what_is_not_shown()
    root = logging.getLogger()
    root.setLevel(config.level.upper())
    file = None
    if config.file is not None:
        try:
            config.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            sys.stderr.write(f"LOG_FILE: {config.file.parent}: {exc.strerror}\n")
        file = LogFile(str(config.file))
    root.handlers = [Log(file)]
    # The queue and the consumers report each change of state themselves, once, without
    # a traceback.
    logging.getLogger("amqpstorm").setLevel(logging.CRITICAL)
    logging.getLogger("pamqp").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def _leave_out_what_is_not_shown() -> None:
    # As logging's own documentation advises ("Optimization"): looking for the caller
    # and the thread of each record costs more than writing its line.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _place_of(file: str | int) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
