"""gevent.pywsgi alone, which reads a POST and answers 202: `... pywsgi PORT`."""

from gevent import monkey

monkey.patch_all()

import socket
import sys
from collections.abc import Iterable
from typing import Any

from gevent.pywsgi import WSGIServer

ANSWER = b'{"error": false, "message": "Accepted", "id": "%s"}' % (b"0" * 32)


def app(environ: dict[str, Any], respond: Any) -> Iterable[bytes]:
    environ["wsgi.input"].read()
    respond("202 Accepted", [("Content-Type", "application/json; charset=UTF-8")])
    return [ANSWER]


if __name__ == "__main__":
    listener = socket.socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen(1024)
    listener.setblocking(False)
    WSGIServer(listener, app, log=None).serve_forever()
