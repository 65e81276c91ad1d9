"""Which addresses calls may be made to."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Link-local, where the large clouds answer with a machine's credentials, and the
# metadata addresses that are not link-local: AWS over IPv6, Alibaba, Oracle.
DEFAULT_DENIED = (
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::254/128",
    "100.100.100.200/32",
    "192.0.0.192/32",
)

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def parse_network(text: str) -> Network:
    """Reads a CIDR, `10.0.0.0/8`, or a single address.

    Raises:
        ValueError: it is neither.
    """
    return ipaddress.ip_network(text.strip(), strict=False)


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """Denied networks, and the allowed ones that are exceptions to them."""

    deny: tuple[Network, ...] = tuple(map(parse_network, DEFAULT_DENIED))
    allow: tuple[Network, ...] = ()

    def denies(self, address: str) -> bool:
        """Whether `address`, an IP address in text, must not be dialled.

        An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4) counts as both, so
        that a rule cannot be evaded by another spelling.
        """
        spellings = tuple(_spellings(address))
        if any(one in network for one in spellings for network in self.allow):
            return False
        return any(one in network for one in spellings for network in self.deny)


def _spellings(address: str) -> Iterator[Address]:
    ip = ipaddress.ip_address(address.split("%")[0])
    yield ip
    if isinstance(ip, ipaddress.IPv4Address):
        return
    if ip.ipv4_mapped:
        yield ip.ipv4_mapped
    if ip.sixtofour:
        yield ip.sixtofour
    if ip in _NAT64:
        yield ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
