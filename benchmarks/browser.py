"""Somebody's browser: logs in at the operators' door, and asks for its pages."""

import http.client
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.door import KeptConnection
from benchmarks.processes import Failed

_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of a request.

    Attributes:
        text: of the page; empty when it leads elsewhere.
        to: where it leads, from the page that was asked for.
        took: until all of it had come, milliseconds.
    """

    text: str
    to: str
    took: float


class Browser:
    """One kept connection. A context manager: logged in inside."""

    def __init__(self, port: int, data: Path) -> None:
        """`data`: the DATA_DIR of mspc, which has the key."""
        self._port = port
        self._key = data / "admin.key"
        self._client = KeptConnection(port)
        self._cookie = ""

    def __enter__(self) -> "Browser":
        self.post("/login", {"key": self._key.read_text().strip()})
        if not self._cookie:
            raise Failed(f"the pages at port {self._port} gave no cookie")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> Shown:
        """As somebody comes to a page.

        Raises:
            Failed: there is no such page, or no answer.
        """
        return self._ask("GET", path, None)

    def refresh(self, path: str) -> Shown:
        """The same, as the script of an open page asks."""
        return self._ask("GET", path, None, refresh=True)

    def post(self, path: str, fields: dict[str, str]) -> Shown:
        """The same, with the fields of a form."""
        return self._ask("POST", path, urlencode(fields))

    def _ask(
        self, method: str, path: str, form: str | None, *, refresh: bool = False
    ) -> Shown:
        headers = {"Cookie": self._cookie} if self._cookie else {}
        if refresh:
            headers["X-Refresh"] = "1"
        if form is not None:
            headers["Content-Type"] = _FORM
        started = time.monotonic()
        try:
            self._client.request(method, path, form, headers)
            answer = self._client.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            told = f"{method} {path} at port {self._port} was not answered: {exc!r}"
            raise Failed(told) from exc
        took = (time.monotonic() - started) * 1000
        text = content.decode(errors="replace")
        if answer.status not in (http.client.OK, http.client.SEE_OTHER):
            raise Failed(f"{method} {path} was answered {answer.status}: {text[-300:]}")
        self._cookie = (answer.getheader("Set-Cookie") or self._cookie).split(";")[0]
        to = answer.getheader("Location") or ""
        if to.startswith(("login", "../login", "../../login")):
            raise Failed(f"{method} {path} wants somebody to log in")
        return Shown(text, to, took)
