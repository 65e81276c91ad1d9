"""Opens connections to targets, under the network rules.

The rules are checked on the very address that is dialled: a name is resolved once, so
that no second answer of its DNS server can slip past the check.
"""

import ipaddress
import socket
from collections.abc import Iterable

from urllib3.connection import HTTPConnection

from mspc.calls.networks import NetworkRules
from mspc.errors import MspcError
from mspc.forwarding.names import Names, Place
from mspc.forwarding.racing import Race, in_order

REMEMBERED_HOSTS = 4096


class AddressDenied(MspcError):
    """No address of the target may be called: networks, or our operators' door."""


class Dialer:
    """Resolves, checks, connects."""

    def __init__(self, rules: NetworkRules, names: Names | None = None) -> None:
        self._rules = rules
        self._names = names or Names()
        # Of hosts with several: what worked last is tried first.
        self._worked: dict[tuple[str, int], Place] = {}

    def dial(self, connection: HTTPConnection) -> socket.socket:
        """A connected socket for `connection`.

        The lookup of its name, and the connection to any of its addresses, may take
        the timeout of `connection` each.

        Raises:
            AddressDenied: no address of the host may be dialled.
            NoConnection: the host has no address, or none answers in time.
        """
        host, port = connection._dns_host, connection.port
        timeout: float = connection.timeout  # type: ignore[assignment]
        places = self._allowed(host, port, timeout)
        several = len(places) > 1
        if several:
            places = in_order(places, self._worked.get((host, port)))
        sock, place = Race(places, timeout, connection.socket_options or ()).run()
        sock.settimeout(timeout)  # of TLS, which comes next
        if several:
            self._remember(host, port, place)
        return sock

    def _allowed(self, host: str, port: int, timeout: float) -> list[Place]:
        places = [
            (family, (address[0], port, *address[2:]))
            for family, address in self._places(host, timeout)
        ]
        allowed = [place for place in places if not self._rules.denies(place[1][0])]
        if not allowed:
            raise AddressDenied(f"{_listed(places)} is in FORWARD_DENY_NETWORKS")
        if port != self._rules.own_port:
            return allowed
        others = [
            place for place in allowed if not self._rules.is_own_door(place[1][0], port)
        ]
        if not others:
            raise AddressDenied(
                f"port {port} of {_listed(allowed)} is mspc's own operators' door"
            )
        return others

    def _places(self, host: str, timeout: float) -> tuple[Place, ...]:
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return self._names.places(host, timeout)
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        return ((family, (host, 0)),)

    def _remember(self, host: str, port: int, place: Place) -> None:
        self._worked.pop((host, port), None)
        self._worked[host, port] = place
        if len(self._worked) > REMEMBERED_HOSTS:
            del self._worked[next(iter(self._worked))]


def _listed(places: Iterable[Place]) -> str:
    return ", ".join(sorted({address[0] for _, address in places}))
