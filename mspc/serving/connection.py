"""One inbound connection: strict requests in, answers out, nothing waits for ever.

pywsgi runs the application and writes what it answers. Everything a client sends is
read by request.py instead, because pywsgi reads leniently and waits without limit.
"""

import logging
import math
import socket
import ssl
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import unquote

from gevent.pywsgi import WSGIHandler, WSGIServer

from mspc.api.answers import MEDIA_TYPE, error_body
from mspc.process.greenlets import give_way
from mspc.process.sockets import send_all
from mspc.serving.lingering import DRAINING_SECONDS
from mspc.serving.request import TURN, Body, BrokenBody, Refused, RequestHead, read_head
from mspc.serving.room import Share
from mspc.serving.traffic import Traffic

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = logging.getLogger(__name__)

CLOSED = b"Connection: close\r\n"
MAX_SKIPPED = 65_536  # bytes of an unread body that are worth a kept connection


class ClientConnection(WSGIHandler):
    """Serves one client until either side closes.

    Attributes:
        deadline: when to give up what is being waited for, by the monotonic clock.
        waiting: nothing has come yet of a next request.
    """

    def __init__(
        self, sock: Any, address: Any, server: WSGIServer, traffic: Traffic
    ) -> None:
        super().__init__(sock, address, server)
        self.deadline = math.inf
        self.waiting = True
        self._opened = monotonic()
        self._client = str(address[0])
        self._traffic = traffic
        self._limits = traffic.limits
        self._served = 0
        self._gone = False  # the client, as far as we have noticed
        self._ended = False  # by us, before a request had begun to come
        self._unread = False  # a part of the last request
        self._lingers = False
        self._body_deadline = 0.0  # 0 until the application reads
        self._expects_100 = False
        self._share = Share(traffic.room)

    def handle(self) -> None:
        """Returns when the connection is closed; never raises."""
        self._traffic.open.add(self)
        try:
            if self._shake_hands():
                while self.handle_one_request():
                    self._served += 1
                if self._unread:
                    self._linger()
        except OSError as exc:
            log.debug("%s: the connection broke: %s", self._client, exc)
        except Exception:
            log.exception("%s: the connection failed", self._client)
        finally:
            self._close()
            self._traffic.open.discard(self)

    def drain(self) -> None:
        """Ends the connection unless a request has begun to come.

        One that lies unread in the kernel has: it is served when all of it has come.
        """
        if self.waiting and not self._has_come():
            self._ended = True
            self._shut(socket.SHUT_RD)
        if self._lingers:
            self.deadline = min(self.deadline, monotonic() + DRAINING_SECONDS)

    @property
    def idle(self) -> bool:
        """Whether it is kept for a next request, of which nothing has come, or was
        opened a while ago, and nothing has come at all.
        """
        if not self.waiting:
            return False
        return self._served > 0 or monotonic() - self._opened > self._limits.unused

    def cut(self) -> None:
        """Makes whatever waits for the client fail at once."""
        log.debug("%s: cut off", self._client)
        self.deadline = math.inf
        self._shut(socket.SHUT_RDWR)

    def _has_come(self) -> bool:
        """Whether something lies unread in the kernel."""
        try:
            peeked = self._kernels().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return False
        return bool(peeked)

    def _kernels(self) -> Any:
        # gevent's own would take the TLS layer from the greenlet that waits in it.
        return cast("Any", self.socket)._sock

    def _shut(self, how: int) -> None:
        with suppress(OSError):
            self._kernels().shutdown(how)

    def _shake_hands(self) -> bool:
        if not isinstance(self.socket, ssl.SSLSocket):
            return True
        self.deadline = monotonic() + self._limits.handshake
        if self._traffic.draining:
            self.drain()
        try:
            self.socket.do_handshake()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            log.debug("%s: hung up during the TLS handshake", self._client)
        except ssl.SSLError as exc:  # plain HTTP, or it does not trust our certificate
            log.info("%s: the TLS handshake failed: %s", self._client, exc.reason)
        else:
            return True
        return False

    # ---- a request

    def handle_one_request(self) -> Literal[True] | None:
        """Returns True when the client may send another request."""
        if not self._await_request():
            return None
        try:
            head = read_head(self.rfile)
        except Refused as exc:
            status, message = exc.args
            log.info("%s: refused: %s", self._client, message)
            self._answer(status, message)
            return None
        self.command = head.method
        self.request_version = head.version
        self.close_connection = not head.keeps_alive
        self.environ = self._environment(head)
        self.application = self.server.application
        self.handle_one_response()
        return None if self.close_connection else True

    def _await_request(self) -> bool:
        """False when the client has hung up instead."""
        if self._served % TURN == TURN - 1:
            give_way()  # requests that were sent ahead are read without waiting
        self.waiting = True
        if self._traffic.draining:
            self.drain()
        limit = self._limits.idle if self._served else self._limits.headers
        self.deadline = monotonic() + limit
        # What has come since we ended it may be a part: no answer would be right.
        if not self.rfile.peek(1) or self._ended:
            return False
        self.waiting = False
        if self._served:
            self.deadline = monotonic() + self._limits.headers
        return True

    def _environment(self, head: RequestHead) -> "WSGIEnvironment":
        expected = head.headers.get("HTTP_EXPECT", "").lower()
        self._expects_100 = expected == "100-continue" and head.version != "HTTP/1.0"
        self._body_deadline = 0.0
        self._body = Body(
            self.rfile,
            head.length,
            self._share.take,
            self._before_reading,
            self._after_reading,
        )
        path, _, query = head.path.partition("?")
        env = self.server.get_environ()
        env["REQUEST_METHOD"] = head.method
        env["REQUEST_URI"] = head.path
        env["PATH_INFO"] = unquote(path, "latin-1") if "%" in path else path
        env["QUERY_STRING"] = query
        env["SERVER_PROTOCOL"] = head.version
        env["REMOTE_ADDR"] = self._client
        env["REMOTE_PORT"] = str(self.client_address[1])
        env["wsgi.input"] = self._body
        env["wsgi.input_terminated"] = True
        env.update(head.headers)
        return env

    def _before_reading(self) -> None:
        if self._expects_100:
            self._expects_100 = False
            if not self.headers_sent:
                self._sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._body_deadline:
            self._body_deadline = monotonic() + self._limits.body
        self.deadline = self._body_deadline

    def _after_reading(self) -> None:
        self.deadline = math.inf

    # ---- its answer

    def handle_one_response(self) -> None:
        self.status = self.result = None
        self.headers_sent = self.response_use_chunked = False
        self.deadline = math.inf  # storing a call takes as long as it takes
        try:
            self.run_application()
            while self._body.unread and not self.close_connection:
                self._body.read(16_384)
        except Exception as exc:
            self.close_connection = True
            if isinstance(exc, BrokenBody) or (self._gone and isinstance(exc, OSError)):
                log.debug("%s: the request broke: %s", self._client, exc)
                self._fail("400 Bad Request", "The body could not be read.")
            else:
                log.exception("The application failed on %s", self.command)
                message = "Internal error; nothing is promised."
                self._fail("500 Internal Server Error", message)
        finally:
            self._share.give_back()
        self._unread = bool(self._body.unread)

    def finalize_headers(self) -> None:
        """Decides whether the connection ends after this answer, and says so."""
        super().finalize_headers()
        unread = self._body.unread
        if unread > (0 if self._expects_100 else MAX_SKIPPED) or self._traffic.draining:
            self.close_connection = True
        headers = cast("list[Any]", self.response_headers)
        old = self.request_version == "HTTP/1.0"
        if old and b"content-length" not in {h[0].lower() for h in headers}:
            self.close_connection = True  # no other end would be seen
        if self.close_connection or old:
            headers[:] = [h for h in headers if h[0].lower() != b"connection"]

    def _write_with_headers(self, data: bytes) -> None:
        """As pywsgi's, but head and data leave in one packet."""
        self.headers_sent = True
        self.finalize_headers()
        head = b"HTTP/1.1 %b\r\n" % cast("bytes", self.status)
        for header in cast("list[Any]", self.response_headers):
            head += b"%b: %b\r\n" % header
        head += (CLOSED if self.close_connection else self._traffic.kept) + b"\r\n"
        if self.response_use_chunked:
            self._sendall(head)
            cast("Any", self)._write(data)
        else:
            self._sendall(head + data)

    def _fail(self, status: str, message: str) -> None:
        if not (self._gone or self.headers_sent):
            self._answer(status, message)

    def _answer(self, status: str, message: str) -> None:
        """Answers in place of the application; the connection ends after it."""
        self._unread = self.close_connection = True
        body = error_body(status, message)
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._sendall(head.encode() + body)

    def _sendall(self, data: bytes) -> None:
        self.deadline = monotonic() + self._limits.send
        try:
            send_all(self.socket, data)
        except OSError:
            self._gone = True
            raise
        finally:
            self.deadline = math.inf
        self.response_length += len(data)

    # ---- its end

    def _linger(self) -> None:
        """Lets the client read the answer while it still sends its request.

        Closing while something is unread resets the connection, and the answer may be
        lost with it: RFC 9112 9.6.
        """
        if self._gone or self._lingers:
            return
        seconds = self._limits.linger
        if self._traffic.draining:
            seconds = min(seconds, DRAINING_SECONDS)
        self._lingers = True
        self.deadline = monotonic() + seconds
        self._traffic.lingering.read_on(self.socket)

    def _close(self) -> None:
        try:
            # For the same reason; this does not wait. Who sent more than was asked for
            # has still to read the last answer.
            if self._kernels().recv(16_384) and self.close_connection:
                self._linger()
        except OSError:
            pass
        except Exception:
            log.exception("%s: the connection failed", self._client)
        self.rfile.close()
        self.socket.close()
        self.__dict__.pop("environ", None)  # a cycle: its wsgi.input knows us
        self.__dict__.pop("_body", None)
