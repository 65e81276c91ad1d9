"""A client of the operators' door."""

import http.client
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Failed

TIMEOUT_SECONDS = 60.0
# Less than HTTP_KEEP_ALIVE_SECONDS is by default.
_KEPT_SECONDS = 60.0


class KeptConnection(http.client.HTTPConnection):
    """Opened anew when it was idle for so long that mspc may have closed it."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._used_at = time.monotonic()

    def request(self, *asked: Any, **more: Any) -> None:
        if time.monotonic() > self._used_at + _KEPT_SECONDS:
            self.close()
        super().request(*asked, **more)
        self._used_at = time.monotonic()


class Door:
    """One kept connection, with the key that mspc has made. A context manager."""

    def __init__(self, port: int, data: Path) -> None:
        self._port = port
        self._key = data / "admin.key"
        self._client = KeptConnection(port)

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> tuple[Any, float]:
        """The JSON of an answer, and how long it took to come, milliseconds.

        Raises:
            Failed: the door does not answer, or not with 200.
        """
        try:
            headers = {"Authorization": f"Bearer {self._key.read_text().strip()}"}
            started = time.monotonic()
            self._client.request("GET", path, headers=headers)
            answer = self._client.getresponse()
            content = answer.read()
            took = (time.monotonic() - started) * 1000
        except (OSError, http.client.HTTPException) as exc:
            where = f"the operators' door at port {self._port}"
            raise Failed(f"{where} does not answer GET {path}: {exc!r}") from exc
        if answer.status != http.client.OK:
            said = content.decode(errors="replace")[:300]
            raise Failed(f"GET {path} was answered {answer.status}: {said}")
        return json.loads(content), took
