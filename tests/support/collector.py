"""A collector of spans: OTLP over HTTP, as OpenTelemetry's exporters speak it."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Span:
    """What was told of one.

    Attributes:
        trace: 32 hex digits.
        id: 16 of them.
        parent: the same; empty for a root.
        service: whose it is.
    """

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    attributes: dict[str, object]
    service: str


class Collector:
    """Takes spans at `url`; holds its answers back while it `hangs`."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._come = threading.Condition()
        self._answering = threading.Event()
        self._answering.set()
        self.requests = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner.requests += 1
                owner._answering.wait()
                length = int(self.headers["Content-Length"])
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                owner._take(self.rfile.read(length))
                body = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._answering.set()
        self._server.shutdown()
        self._server.server_close()

    def hang(self) -> None:
        """No request is answered from now on."""
        self._answering.clear()

    def go_on(self) -> None:
        self._answering.set()

    def wait_for(self, count: int, timeout: float = 15) -> list[Span]:
        """Waits until so many spans have come; all of them."""
        with self._come:
            enough = self._come.wait_for(lambda: len(self._spans) >= count, timeout)
            assert enough, f"{len(self._spans)} of {count} spans within {timeout} s"
            return list(self._spans)

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._come:
            for of_resource in request.resource_spans:
                service = _attributes(of_resource.resource)["service.name"]
                for scope in of_resource.scope_spans:
                    self._spans += [_span(one, str(service)) for one in scope.spans]
            self._come.notify_all()


def _span(one: Any, service: str) -> Span:
    ids = (one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex())
    return Span(*ids, one.name, one.kind, _attributes(one), service)


def _attributes(owner: Any) -> dict[str, object]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value"))
        for pair in owner.attributes
    }
