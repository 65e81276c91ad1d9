"""An operators' door that answers what a test tells it to, on a real socket."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

KEY = "the-key-of-the-tests"


@dataclass(frozen=True)
class Asked:
    """A request as it came; `path` is still percent-encoded."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


class OperatorsDoor:
    """Serves until stop().

    Attributes:
        url: where.
        asked: the requests, in order.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[tuple[str, str], list[tuple[int, bytes]]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, *bodies: Any, status: int = 200) -> None:
        """In this order; the last one is for all that follow. Bytes go as they are."""
        self._answers[method, path] = [
            (status, one if isinstance(one, bytes) else json.dumps(one).encode())
            for one in bodies
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        door = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                parts = urlsplit(self.path)
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                door.asked.append(
                    Asked(
                        self.command,
                        parts.path,
                        parse_qs(parts.query),
                        {name.lower(): value for name, value in self.headers.items()},
                        json.loads(sent) if sent else None,
                    )
                )
                missing = {"error": True, "message": "Nothing.", "code": "not_found"}
                nothing = (404, json.dumps(missing).encode())
                answers = door._answers.get((self.command, parts.path), [nothing])
                status, body = answers.pop(0) if len(answers) > 1 else answers[0]
                if body.startswith(b"HTTP/"):
                    self.wfile.write(body)
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatorsDoor]:
    """Where the commands of this test go."""
    opened = OperatorsDoor()
    monkeypatch.setenv("MSPC_URL", opened.url)
    monkeypatch.setenv("MSPC_KEY", KEY)
    yield opened
    opened.stop()
