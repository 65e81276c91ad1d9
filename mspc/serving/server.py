"""The listeners: plain HTTP, or HTTPS with a redirect to it; start, reload, drain."""

import errno
import logging
import ssl
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from mspc.api.answers import MEDIA_TYPE, error_body
from mspc.errors import ConfigError
from mspc.process.greenlets import Watched
from mspc.serving.binding import bound_sockets
from mspc.serving.certificate import load_context
from mspc.serving.connection import ClientConnection
from mspc.serving.limits import Limits
from mspc.serving.request import HOST
from mspc.serving.room import Room
from mspc.serving.traffic import Traffic
from mspc.settings.config import HttpConfig

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

# Seconds for which an idle connection is kept beyond what its client was told: a
# request that is sent at the last moment is still on its way.
KEEP_ALIVE_GRACE = 1.0
WARNING_INTERVAL = 60.0  # seconds between two lines that say the same of accepting
BAD = "400 Bad Request"
ELSEWHERE = "307 Temporary Redirect"
KILL_TIMEOUT = 1.0  # seconds for a request's `finally` when it is ended by force


class Ports(NamedTuple):
    """What is bound; None when there is no such listener."""

    http: int | None
    https: int | None


class Server:
    """Accepts requests for a WSGI application."""

    def __init__(
        self,
        config: HttpConfig,
        app: "WSGIApplication",
        limits: Limits | None = None,
        setting: str = "HTTP_PORT",
    ) -> None:
        """Binds nothing yet.

        Args:
            config: where, and how.
            app: what answers.
            limits: those of `config`, and otherwise the default, unless given.
            setting: where the port without TLS comes from, for the errors.
        """
        kept = config.keep_alive
        limits = limits or Limits(idle=kept + KEEP_ALIVE_GRACE)
        self._config = config
        self._app = app
        self._setting = setting
        lines = keep_alive_lines(min(kept, limits.idle))
        room = Room(limits.room, limits.crowded)
        self._traffic = Traffic(limits, lines, room)
        self._pool = Pool(limits.connections)
        self._http: list[Listener] = []
        self._https: list[Listener] = []
        self._told = float("-inf")
        self._reaper = Watched("reaper of slow connections", self._reap)

    @property
    def ports(self) -> Ports:
        """The ports after bind(), those chosen by the system for 0 included."""
        http, https = (
            listeners[0].server_port if listeners else None
            for listeners in (self._http, self._https)
        )
        return Ports(http, https)

    def bind(self) -> None:
        """Opens every port; who connects now waits until start().

        Raises:
            ConfigError: a port cannot be opened, or the certificate cannot be used.
        """
        config = self._config
        if not config.tls:
            self._http = self._listen(self._setting, config.port, self._app)
            return
        context = load_context(config.ssl_dir)
        self._https = self._listen("HTTPS_PORT", config.https_port, self._app, context)
        if config.redirect_to_tls:
            redirect = redirect_to(self.ports.https or config.https_port)
            self._http = self._listen("HTTP_PORT", config.port, redirect)

    def start(self) -> None:
        """Begins to accept; bind() comes first."""
        self._reaper.start()
        for listener in self._listeners():
            listener.start()
            log.info("Listening on %s", listener.url)

    def reload(self) -> None:
        """Takes the certificate from its files for connections yet to come."""
        if not self._https:
            log.info("There is no certificate to reload: TLS is off.")
            return
        try:
            context = load_context(self._config.ssl_dir)
        except ConfigError as exc:
            log.error("The certificate was not reloaded, the old one stays: %s", exc)
        else:
            for listener in self._https:
                listener.context = context
            log.info("The certificate in %s was reloaded.", self._config.ssl_dir)

    def stop(self, timeout: float) -> None:
        """Closes the ports at once, each connection after the request it is in.

        Args:
            timeout: seconds after which requests still unanswered are ended.
        """
        self._traffic.draining = True
        for listener in self._listeners():
            listener.close()
        for connection in tuple(self._traffic.open):
            connection.drain()
        if not self._pool.join(timeout):
            log.warning("Connections not finished in time: %d", len(self._pool))
            for connection in tuple(self._traffic.open):
                connection.cut()
            self._pool.kill(timeout=KILL_TIMEOUT)
        self._reaper.stop(0)  # the deadlines hold until the end

    def problem(self) -> str | None:
        """Why slow clients are not cut off at the moment; None when they are."""
        return self._reaper.problem()

    def _listeners(self) -> list["Listener"]:
        return [*self._https, *self._http]

    def _listen(
        self,
        setting: str,
        port: int,
        app: "WSGIApplication",
        context: ssl.SSLContext | None = None,
    ) -> list["Listener"]:
        try:
            sockets = bound_sockets(setting, self._config.host, port)
        except ConfigError:
            for listener in self._listeners():
                listener.close()
            raise
        return [
            Listener(sock, self._config.host, app, self._pool, self._traffic, context)
            for sock in sockets
        ]

    def _reap(self) -> None:
        period = min(1.0, self._traffic.limits.shortest / 4)
        while True:
            gevent.sleep(period if self._pool.free_count() else period / 10)
            now = monotonic()
            for connection in tuple(self._traffic.open):
                if connection.deadline < now:
                    connection.cut()
            if not self._pool.free_count():
                self._make_room()

    def _make_room(self) -> None:
        """Ends those connections that have been idle longest: others wait for them."""
        idle = [each for each in self._traffic.open if each.idle]
        idle.sort(key=lambda each: each.deadline)
        ended = idle[: max(1, self._traffic.limits.connections // 10)]
        if ended and monotonic() - self._told >= WARNING_INTERVAL:
            self._told = monotonic()
            log.info("All connections are taken: %d idle ones are ended", len(ended))
        for connection in ended:
            connection.drain()


class Listener(WSGIServer):
    """One port.

    Attributes:
        context: the certificate for new connections; None for plain HTTP.
    """

    def __init__(
        self,
        sock: Any,
        host: str,
        app: "WSGIApplication",
        pool: Pool,
        traffic: Traffic,
        context: ssl.SSLContext | None,
    ) -> None:
        scheme = "https" if context else "http"
        # Without SERVER_NAME, pywsgi would ask the DNS for it.
        environ = {"wsgi.url_scheme": scheme, "SERVER_NAME": host}
        super().__init__(sock, app, None, pool, None, log, environ=environ)
        self.context = context
        address, port = cast("Any", self.address)[:2]
        self.url = f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}"
        self._traffic = traffic
        self._pause = self.min_delay
        self._warned = float("-inf")

    def handle(self, sock: Any, address: Any) -> None:
        if self.context is not None:
            try:
                # The handshake comes later, under the connection's deadline.
                sock = self.context.wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
            except OSError as exc:
                log.debug("%s: hung up before the TLS handshake: %s", address[0], exc)
                return
        ClientConnection(sock, address, self, self._traffic).handle()

    def do_read(self) -> Any:
        """Accepts one connection; when that fails, the next one after a pause.

        gevent pauses as well, but prints a traceback for every attempt.
        """
        try:
            accepted = super().do_read()
        except OSError as exc:
            if self.is_fatal_error(exc):
                raise
            if exc.errno != errno.ECONNABORTED:  # not ours to heal by waiting
                self._back_off(exc)
            return None
        if accepted:
            self._pause = self.min_delay
        return accepted

    def _back_off(self, exc: OSError) -> None:
        now = monotonic()
        if now - self._warned >= WARNING_INTERVAL:
            self._warned = now
            log.warning("No connection can be accepted at the moment: %s", exc.strerror)
        self.stop_accepting()
        # stop_accepting() and close() know this timer under this name.
        self._timer = self.loop.timer(self._pause)
        self._timer.start(cast("Any", self)._start_accepting_if_started)
        self._pause = min(self.max_delay, self._pause * 2)


def keep_alive_lines(seconds: float) -> bytes:
    """What an answer says of a connection that is kept: RFC 9110 7.6.1, RFC 2068."""
    lines = b"Connection: keep-alive\r\n"
    if seconds < 1:  # 0 would mean: not at all
        return lines
    return lines + b"Keep-Alive: timeout=%d\r\n" % seconds


def redirect_to(https_port: int) -> "WSGIApplication":
    """An application that sends every request to the same place over HTTPS."""
    suffix = "" if https_port == 443 else f":{https_port}"

    def app(env: "WSGIEnvironment", respond: "StartResponse") -> Iterable[bytes]:
        host = HOST.fullmatch(env.get("HTTP_HOST", ""))
        headers = [("Content-Type", MEDIA_TYPE)]
        headers.append(("Connection", "close"))  # so that no body is waited for
        if host is None or not host[1]:
            status = BAD
            told = "The Host header is missing, so there is no HTTPS address."
        else:
            status, target = ELSEWHERE, env["REQUEST_URI"]
            url = f"https://{host[1]}{suffix}{target if target != '*' else '/'}"
            told = f"Only HTTPS is served: send the request to {url} instead."
            headers.append(("Location", url))
        body = error_body(status, told)
        respond(status, [*headers, ("Content-Length", str(len(body)))])
        return [] if env["REQUEST_METHOD"] == "HEAD" else [body]

    return app
