"""The service under test: a process that may end only when it was asked to."""

import os
import signal
from pathlib import Path

from tests.support.process import MspcProcess


class Service(MspcProcess):
    """A process of mspc that may end only when a row has asked for it.

    Attributes:
        may_end: set it before mspc ends by itself and is meant to (a crash point).
        unexpected: the ends that nobody asked for.
    """

    may_end = False

    def __init__(
        self, directory: Path, settings: dict[str, str], prefix: tuple[str, ...] = ()
    ) -> None:
        super().__init__(directory, settings, prefix=prefix)
        self.unexpected: list[str] = []
        self._asked = True

    def start(self) -> None:
        self.look()
        super().start()
        self._asked = False

    def signal(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGABRT):
            self._asked = True
        super().signal(number)

    def look(self) -> None:
        """Notes an end that nobody asked for."""
        if not (self._asked or self.may_end or self.running):
            self._asked = True
            self.unexpected.append(f"mspc ended by itself, exit code {self.wait()}")

    def rss(self) -> int:
        """Resident memory, bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """Seconds of a processor that it has used, in user mode and in the kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """Open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))
