"""Asking a WSGI application, as mspc's own server does."""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Any,
    method: str,
    target: str,
    body: bytes | io.RawIOBase = b"",
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> Answer:
    """The answer to a request; of its headers, `Host` must be among those given.

    Args:
        app: the application.
        method: the method.
        target: path and query.
        body: the content.
        headers: the request's.
        more: what else the server says, REMOTE_ADDR for example.
    """
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": target,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8010",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body) if isinstance(body, bytes) else body,
        "wsgi.errors": io.StringIO(),
        **(more or {}),
    }
    if isinstance(body, bytes) and body:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    head: list[Any] = []

    def respond(status: str, lines: Iterable[tuple[str, str]], *_: object) -> None:
        head.extend([status, {name.lower(): value for name, value in lines}])

    chunks = app(environ, respond)
    content = b"".join(chunks)
    status, lower_cased = head
    return Answer(int(status[:3]), lower_cased, content)
