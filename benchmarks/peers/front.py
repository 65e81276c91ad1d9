"""The front of every peer: `python -m benchmarks.peers.front MODULE`.

Falcon on gevent.pywsgi, one process, as mspc is. A call is answered 202 when MODULE's
`enqueue` has returned, and that returns when the call is stored.
"""

from gevent import monkey

monkey.patch_all()

import importlib
import json
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable
from typing import Any

import falcon
import gevent
from gevent.pywsgi import WSGIServer

from benchmarks.peers.work import log_to_stderr

log = logging.getLogger("front")

Enqueue = Callable[[str, dict[str, Any]], None]


class Calls:
    """POST /: the least validation that there can be."""

    def __init__(self, enqueue: Enqueue) -> None:
        self._enqueue = enqueue

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        try:
            call = json.loads(req.bounded_stream.read())
            url = call["url"]
        except (ValueError, TypeError, KeyError) as exc:
            raise falcon.HTTPBadRequest(description=str(exc)) from exc
        call_id = uuid.uuid4().hex
        self._enqueue(call_id, call)
        log.info("%s accepted %s %s", call_id, call.get("method"), url)
        resp.status = falcon.HTTP_202
        resp.media = {"error": False, "message": "Accepted", "id": call_id}


class Health:
    """GET /health/ready."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {"error": False, "message": "Ready"}


def serve(enqueue: Enqueue, port: int) -> None:
    """Until SIGTERM."""
    app = falcon.App()
    app.add_route("/", Calls(enqueue))
    app.add_route("/health/ready", Health())
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit it; without it kept connections wait 40 ms an answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    listener.setblocking(False)
    server = WSGIServer(listener, app, log=None)
    gevent.signal_handler(signal.SIGTERM, server.stop)
    server.serve_forever()


if __name__ == "__main__":
    log_to_stderr()
    serve(importlib.import_module(sys.argv[1]).enqueue, int(os.environ["BENCH_PORT"]))
