"""Asking mspc over HTTP: one question, one connection, one answer."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from mspc import __version__
from mspc.client.door import Door
from mspc.client.failures import (
    Failure,
    NotAllowed,
    NotFound,
    NotReachable,
    SaidNo,
)
from mspc.settings.certificates import trusting

# A delete of many dead letters on RabbitMQ looks at all of them.
TIMEOUT_SECONDS = 60.0

Query = Mapping[str, object]


class Connection:
    """An mspc, as its operators' door shows it."""

    def __init__(self, door: Door, timeout: float = TIMEOUT_SECONDS) -> None:
        self.door = door
        self._timeout = timeout

    def get(self, path: str, query: Query | None = None) -> Any:
        return self.ask("GET", path, query)

    def ask(
        self, method: str, path: str, query: Query | None = None, body: object = None
    ) -> Any:
        """What is answered, read from its JSON; None when there is nothing in it.

        Args:
            method: upper case.
            path: below the door's, percent-encoded, `/v1/stats` for example.
            query: what is None or empty is left out; a list gives several.
            body: is sent as JSON.

        Raises:
            Failure: it was not done; which one says why.
        """
        content = None if body is None else json.dumps(body).encode()
        return self._read(method, path, query, content)

    def send(self, path: str, content: bytes) -> Any:
        """POST with a body that is JSON already; the rest is as for ask()."""
        return self._read("POST", path, None, content)

    def text(self, path: str, query: Query | None = None) -> str:
        """What is answered, where that is text."""
        with self._answer("GET", path, query, None) as answer:
            return answer.read().decode(errors="replace")

    def lines(self, path: str, query: Query | None = None) -> Iterator[bytes]:
        """The lines of a long answer, as they come; raises when it ends early."""
        with self._answer("GET", path, query, None) as answer:
            yield from answer

    def _read(
        self, method: str, path: str, query: Query | None, content: bytes | None
    ) -> Any:
        with self._answer(method, path, query, content) as answer:
            text = answer.read()
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise self._stranger(answer.status) from None

    @contextmanager
    def _answer(
        self, method: str, path: str, query: Query | None, content: bytes | None
    ) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(self.door.url)
        place: dict[str, Any] = {
            "host": parts.hostname or "",
            "port": parts.port,
            "timeout": self._timeout,
        }
        if parts.scheme == "https":
            # As mspc itself: Python's own trust differs between its versions.
            context = trusting(None)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                **place, context=context
            )
        else:
            connection = http.client.HTTPConnection(**place)
        try:
            connection.request(
                method,
                f"{parts.path}{path}{_query(query or {})}",
                content,
                {
                    "Authorization": f"Bearer {self.door.key}",
                    "Accept": "application/json",
                    "User-Agent": f"mspc/{__version__}",
                    **({"Content-Type": "application/json"} if content else {}),
                },
            )
            answer = connection.getresponse()
            if answer.status >= 300:
                raise self._refused(answer.status, answer.read())
            yield answer
        except ssl.SSLError as exc:
            told = exc.reason or str(exc)
            if "WRONG_VERSION_NUMBER" in told or "RECORD_LAYER" in told.upper():
                told = "it does not speak TLS. Is MSPC_URL to begin with http://?"
            raise NotReachable(f"{self.door.url} gives no answer: {told}") from exc
        except OSError as exc:
            raise NotReachable(
                f"{self.door.url} gives no answer: {exc.strerror or exc}. Does mspc run"
                " there? MSPC_URL says where its operators' door is."
            ) from exc
        except http.client.HTTPException as exc:
            why = str(exc)[:100] or type(exc).__name__
            raise NotReachable(
                f"{self.door.url} did not answer to the end, or not in HTTP: {why!r}."
            ) from exc
        finally:
            connection.close()

    def _refused(self, status: int, body: bytes) -> Failure:
        try:
            answer = json.loads(body)
            told, code = str(answer["message"]), answer.get("code")
        except (ValueError, KeyError, TypeError, AttributeError):
            return self._stranger(status)
        if status == 401:
            return NotAllowed(
                f"{told}: it does not take the key from {self.door.source}. The key is"
                " ADMIN_KEY or READ_KEY of the settings of that mspc, or what it has"
                " written into admin.key in its DATA_DIR."
            )
        if status == 403:
            return NotAllowed(told)
        if code == "not_found":  # the path: the calls' port has no more than a few
            return self._stranger(status)
        return NotFound(told) if status == 404 else SaidNo(told)

    def _stranger(self, status: int) -> NotReachable:
        return NotReachable(
            f"{self.door.url} answers {status}, but not as mspc does: MSPC_URL must be"
            " the address of its operators' door."
        )


def _query(query: Query) -> str:
    given = {name: value for name, value in query.items() if value not in (None, "")}
    text = urlencode(given, doseq=True)
    return f"?{text}" if text else ""
