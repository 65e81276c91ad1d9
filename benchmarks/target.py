"""The service that is called: haproxy, which answers and counts."""

import socket
import time
from pathlib import Path

from benchmarks.processes import Child, Failed, find, wait_until
from tests.support.children import free_port

START_SECONDS = 10.0
# A target that gets nothing for so long will get nothing more.
SILENT_SECONDS = 60.0
_TOTAL = "req_tot"
# What it answers below the path of the same name.
BROKEN = (404, 410, 422, 500, 503)

_CONFIGURATION = """\
global
    nbthread 1
    maxconn 4000
    stats socket {socket} mode 600
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
frontend target
    bind 127.0.0.1:{port}
{broken}
    http-request return status 200 content-type application/json string "{{}}"
"""
_BROKEN = """\
    http-request return status {status} content-type application/json \
string '{{"error": "no such receiver"}}' if {{ path_beg /{status}/ }}"""


class Target:
    """Started by `start()`; keeps connections alive."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.port = free_port()
        self._directory = directory
        self._socket = directory / "stats"
        self._child: Child | None = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.base}/notification"

    def start(self) -> None:
        file = self._directory / "haproxy.cfg"
        broken = "\n".join(_BROKEN.format(status=status) for status in BROKEN)
        file.write_text(
            _CONFIGURATION.format(socket=self._socket, port=self.port, broken=broken)
        )
        command = [find("haproxy") or "haproxy", "-db", "-f", str(file)]
        self._child = Child(command, self._directory / "haproxy.log")
        wait_until(self._answers, START_SECONDS, "haproxy answers")

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def count(self) -> int:
        """Requests so far."""
        titles, frontend = self._show_stat().splitlines()[:2]
        return int(frontend.split(",")[titles.lstrip("# ").split(",").index(_TOTAL)])

    def wait_for(self, total: int, step: float = 0.005) -> float:
        """Waits until `total` requests have come; when that was, Unix seconds."""
        count, changed = self.count(), time.time()
        while count < total:
            time.sleep(step)
            now = time.time()
            before, count = count, self.count()
            if count > before:
                changed = now
            elif now - changed > SILENT_SECONDS:
                raise Failed(f"the target got {count} of {total} calls, then no more")
        return time.time()

    def _answers(self) -> bool:
        if self._child is not None:
            self._child.check()
        try:
            self._show_stat()
        except OSError:
            return False
        return True

    def _show_stat(self) -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self._socket))
            client.sendall(b"show stat\n")
            parts = []
            while part := client.recv(65_536):
                parts.append(part)
        return b"".join(parts).decode()
