"""An instance that looks healthy and takes no call."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.children import free_port

ANSWER = b'{"error": true, "message": "Not stored, send it again"}'


class RefusingInstance:
    """Reads each call to its end, then answers `status`, or hangs up when it is None.

    Attributes:
        calls: how many have come.
    """

    def __init__(self, status: int | None) -> None:
        self.port = free_port()
        self.calls = 0
        self._status = status
        instance = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                instance._answer(self, 200)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                instance.calls += 1
                instance._answer(self, instance._status)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def _answer(request: BaseHTTPRequestHandler, status: int | None) -> None:
        if status is None:
            request.close_connection = True
            return
        request.send_response(status)
        request.send_header("Content-Length", str(len(ANSWER)))
        request.send_header("Retry-After", "1")
        request.end_headers()
        request.wfile.write(ANSWER)
