"""Which addresses are this machine's own."""

import errno
import ipaddress
import socket

_FOREIGN = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV))


def is_own_name(host: str) -> bool:
    """Whether `host` means this machine whoever resolves it: RFC 6761 6.3."""
    name = host.removesuffix(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def is_own_address(address: str) -> bool:
    """Whether whoever connects to `address` reaches this machine.

    The kernel says it: it lets nobody bind another's. Nothing is sent. With the sysctl
    ip_nonlocal_bind it lets everybody; then every address counts as our own.

    Args:
        address: an IP address in text, perhaps with a zone.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_loopback or ip.is_unspecified:  # the latter is taken for the former
        return True
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((str(ip), 0))
    except OSError as exc:
        return exc.errno not in _FOREIGN
    return True
