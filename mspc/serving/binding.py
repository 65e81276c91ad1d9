"""The sockets of a port: one for each address that the host's name has."""

import errno
import logging
import socket

from mspc.errors import ConfigError

log = logging.getLogger(__name__)

BACKLOG = 1024  # connections that wait to be accepted; the kernel may allow fewer
FREE_PORT_ATTEMPTS = 20  # for port 0: what is free on one address may not be on another

_ERRORS = {
    errno.EADDRINUSE: "{setting}: {port} is in use{where}: stop what listens on it, or"
    " choose another port.",
    errno.EACCES: "{setting}: {port} is not for this user: choose one above 1023.",
}
_OTHER_ERROR = "{host_setting}: {host} cannot be listened on: {reason}."
_HOW_TO = {
    "ADMIN_PORT": " ADMIN_PORT in env.yml or in the environment sets it for each"
    " instance; ADMIN: 0 does without the operators' door."
}
# The machine has no such address, though a file or a name server knows one: ::1 in
# /etc/hosts where IPv6 is switched off.
_NOT_HERE = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))


def bound_sockets(setting: str, host: str, port: int) -> list[socket.socket]:
    """Listens on every address of `host` that this machine has.

    Args:
        setting: where `port` comes from, for the errors.
        host: an address, or a name with one or several.
        port: 0 for one that the system chooses, the same on every address.

    Raises:
        ConfigError: one of the addresses cannot be listened on, or there is none.
    """
    addresses = _addresses(setting, host)
    for attempt in range(1, FREE_PORT_ATTEMPTS + 1):
        try:
            return _bind(setting, host, port, addresses)
        except _InUseError:
            if port or attempt == FREE_PORT_ATTEMPTS:
                raise
    raise AssertionError("the last attempt has returned or raised")


class _InUseError(ConfigError):
    """Something listens on the port already."""


def _host_setting(setting: str) -> str:
    return "ADMIN_HOST" if setting == "ADMIN_PORT" else "HTTP_HOST"


def _addresses(setting: str, host: str) -> dict[str, socket.AddressFamily]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as exc:
        told = f"{_host_setting(setting)}: {host} is unknown ({exc.strerror})."
        raise ConfigError(told) from exc
    # A hosts file may have one twice.
    return {str(address[0]): family for family, _, _, _, address in found}


def _bind(
    setting: str, host: str, port: int, addresses: dict[str, socket.AddressFamily]
) -> list[socket.socket]:
    bound: list[socket.socket] = []
    missing: list[ConfigError] = []
    several = len(addresses) > 1
    try:
        for address, family in addresses.items():
            try:
                sock = _listening(family, address, port, several)
            except OSError as exc:
                error = _error(exc, setting, host, port, address)
                if exc.errno not in _NOT_HERE:
                    raise error from exc
                missing.append(error)
            else:
                bound.append(sock)
                port = sock.getsockname()[1]
        if not bound:
            raise missing[0]
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    for error in missing:
        log.info("%s The other addresses are listened on.", error)
    return bound


def _listening(
    family: socket.AddressFamily, address: str, port: int, several: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Linux hands this on to accepted sockets; without it an answer on a kept
        # connection may wait 40 ms for the client's acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if several and family == socket.AF_INET6:  # `::` would take 0.0.0.0's port
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _error(
    exc: OSError, setting: str, host: str, port: int, address: str
) -> ConfigError:
    # getaddrinfo() gives an address as it is; a name, or another spelling, is told.
    told = _ERRORS.get(exc.errno or 0, _OTHER_ERROR).format(
        setting=setting,
        host_setting=_host_setting(setting),
        port=port,
        where="" if address == host else f" on {address}",
        host=host if address == host else f"{host} ({address})",
        reason=exc.strerror,
    )
    if exc.errno == errno.EADDRINUSE:
        return _InUseError(told + _HOW_TO.get(setting, ""))
    return ConfigError(told)
