"""One outbound connection: dialled by us, writes what it is told, reads within bounds.

urllib3 keeps the pools and speaks HTTP; what it would do otherwise is replaced here.
"""

import http.client
import io
import socket
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from mspc import crash
from mspc.dialer import Dialer

# What is read off the wire for one answer at most: interim answers, head, body and
# trailers. http.client reads the first and the last for as long as there are any, and
# gevent switches only when there is nothing to read, so a fast target that never ends
# would stop every other greenlet and hold off the deadline.
WIRE_BYTES = 262_144


class TargetHeaders(dict[str, Any]):
    """Headers that bring the request target along.

    urllib3 writes the target as a browser would, `%C3` for `%c3` and `%5B` for `[`: a
    service that checks a signature over the URL it was called with would refuse it.
    """

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def copy(self) -> "TargetHeaders":  # urllib3 makes one
        again = TargetHeaders(self.target)
        again.update(self)
        return again


class _Bounded(io.RawIOBase):
    """A socket's file that ends with an error after WIRE_BYTES."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._left = WIRE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise http.client.HTTPException(f"more than {WIRE_BYTES} bytes")
        count: int | None = self._raw.readinto(buffer)
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach()))


def pool_classes(dialer: Dialer) -> dict[str, type[HTTPConnectionPool]]:
    """What urllib3's PoolManager takes as its `pool_classes_by_scheme`."""

    class Ours:
        response_class: Any = _Answer

        def request(self, *args: Any, **more: Any) -> None:
            super().request(args[0], more["headers"].target, **more)  # type: ignore[misc]
            crash.at("request_sent")

        def _new_conn(self: Any) -> socket.socket:
            return dialer.dial(self)

    class Plain(Ours, HTTPConnection):
        pass

    class OverTls(Ours, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = OverTls

    return {"http": PlainPool, "https": TlsPool}
