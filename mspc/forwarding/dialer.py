"""Opens connections to targets, under the network rules.

The rules are checked on the very address that is dialled: a name is resolved once, so
that no second answer of its DNS server can slip past the check.
"""

import ipaddress
import socket
from typing import Any

import gevent
from gevent.resolver.thread import Resolver
from gevent.threadpool import ThreadPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
)

from mspc.calls.networks import NetworkRules
from mspc.errors import MspcError

# getaddrinfo cannot be interrupted: a dead DNS server keeps a thread for 5 to 40 s. In
# gevent's own pool, ten such lookups would stop every other one.
RESOLVER_THREADS = 32


class AddressDenied(MspcError):
    """Every address of the target is in a network that must not be called."""


class Dialer:
    """Resolves, checks, connects."""

    def __init__(self, rules: NetworkRules) -> None:
        self._rules = rules
        self._resolver = Resolver(gevent.get_hub())
        self._resolver.pool = ThreadPool(RESOLVER_THREADS)
        self._lookups: dict[tuple[str, int], gevent.Greenlet[..., Any]] = {}

    def dial(self, connection: HTTPConnection) -> socket.socket:
        """A connected socket for `connection`.

        Raises:
            AddressDenied: no address of the host may be dialled.
            urllib3.exceptions.HTTPError: the host has no address, or none answers.
        """
        host, port = connection._dns_host, connection.port
        failure: OSError | None = None
        for family, kind, protocol, _, address in self._allowed(connection, host, port):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in connection.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(connection.timeout)
                sock.connect(address)
                return sock
            except OSError as exc:
                sock.close()
                failure = exc
            except BaseException:  # the deadline of the whole attempt
                sock.close()
                raise
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(connection, "timed out") from failure
        raise NewConnectionError(connection, str(failure)) from failure

    def _allowed(
        self, connection: HTTPConnection, host: str, port: int
    ) -> list[tuple[Any, ...]]:
        try:
            addresses = self._resolve(host, port)
        except OSError as exc:
            raise NameResolutionError(host, connection, exc) from exc  # type: ignore[arg-type]
        allowed = [one for one in addresses if not self._rules.denies(one[4][0])]
        if not allowed:
            listed = ", ".join(sorted({one[4][0] for one in addresses}))
            raise AddressDenied(f"{listed} is in FORWARD_DENY_NETWORKS")
        return allowed

    def _resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return self._look_up_once(host, port)
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        return [(family, socket.SOCK_STREAM, 0, "", (host, port))]

    def _look_up_once(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """One lookup of a name at a time, for all who wait for it.

        A deadline ends the wait, not the lookup: if each attempt began one of its own,
        the retries of a few names without an answer would take every thread.
        """
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = gevent.spawn(self._look_up, host, port)
            self._lookups[host, port] = lookup
        found = lookup.get()
        if isinstance(found, OSError):
            raise found
        return list(found)

    def _look_up(self, host: str, port: int) -> Any:
        try:
            return self._resolver.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except OSError as exc:
            return exc
        finally:
            del self._lookups[host, port]
