"""Which addresses calls may be made to.

A rule is about what an address reaches, not about how it is written: the kernel takes
some addresses for others, and gateways find IPv4 addresses inside IPv6 ones.
"""

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from mspc.calls.own_addresses import is_own_address

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
# Most calls go to a few addresses, and judging one anew takes 10 to 20 us.
REMEMBERED_ADDRESSES = 1000

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # RFC 4291 2.5.5.2
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_LAST_32_BITS = (
    _NAT64,
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 2.5.5.1
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765 2.1
)
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")  # RFC 5214 6.1
# Where a prefix of 48, 56 or 64 bits has an IPv4 address: around the ninth octet,
# RFC 6052 2.2.
_AROUND_THE_NINTH = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12))
_LOOPBACK: dict[int, Address] = {
    4: ipaddress.IPv4Address("127.0.0.1"),
    6: ipaddress.IPv6Address("::1"),
}


def parse_network(text: str) -> Network:
    """Reads a CIDR, `10.0.0.0/8`, or a single address.

    A network of IPv4-mapped addresses is the IPv4 network that it stands for.

    Raises:
        ValueError: it is neither.
    """
    network = ipaddress.ip_network(text.strip(), strict=False)
    if network.version == 6 and network.subnet_of(_MAPPED):
        inside = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((inside, network.prefixlen - 96))
    return network


@dataclass(frozen=True)
class NetworkRules:
    """Denied networks, and the allowed ones that are exceptions to them.

    Attributes:
        own_port: that of our operators' door, which no call may be made to whatever is
            allowed: it would be mspc's own, not its caller's. None without one.
    """

    deny: tuple[Network, ...] = tuple(map(parse_network, DEFAULT_DENIED))
    allow: tuple[Network, ...] = ()
    own_port: int | None = None

    def denies(self, address: str) -> bool:
        """Whether `address`, an IP address in text, must not be dialled.

        It is judged as what it reaches: 0.0.0.0 is 127.0.0.1. One with an IPv4 address
        inside that a gateway may find there (NAT64, 6to4, Teredo, ...) is denied when
        either of the two is; an exception for one of them is none for the other.
        """
        return self._remembered(address)

    def is_own_door(self, address: str, port: int) -> bool:
        """Whether whoever dials `port` of `address`, an IP address, knocks there."""
        return port == self.own_port and is_own_address(address)

    @cached_property
    def _remembered(self) -> Callable[[str], bool]:
        return lru_cache(maxsize=REMEMBERED_ADDRESSES)(self._judge)

    def _judge(self, address: str) -> bool:
        written = ipaddress.ip_address(address.partition("%")[0])
        reached = _reached(written)
        inside = [_reached(one) for one in _inside(reached)]
        if any(self._has(self.deny, one) and not self._allows(one) for one in inside):
            return True
        if self._allows(reached):
            return False
        # Where IPv6 is all there is, every IPv4 address is behind this prefix.
        if reached in _NAT64 and all(map(self._allows, inside)):
            return False
        return self._has(self.deny, written) or self._has(self.deny, reached)

    def _allows(self, address: Address) -> bool:
        return self._has(self.allow, address)

    @staticmethod
    def _has(networks: tuple[Network, ...], address: Address) -> bool:
        return any(address in network for network in networks)


def _reached(ip: Address) -> Address:
    """What the kernel takes `ip` for when it connects."""
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return _LOOPBACK[ip.version] if ip.is_unspecified else ip


def _inside(ip: Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that a gateway may read out of `ip`."""
    if isinstance(ip, ipaddress.IPv4Address) or ip == _LOOPBACK[6]:
        return
    octets = ip.packed
    if any(ip in network for network in _LAST_32_BITS):
        yield ipaddress.IPv4Address(octets[12:])
    if ip.sixtofour:
        yield ip.sixtofour
    yield from ip.teredo or ()  # its server, and its client
    if octets[8:12] in _ISATAP:
        yield ipaddress.IPv4Address(octets[12:])
    if ip in _LOCAL_NAT64:  # the length of its prefix is the gateway's secret
        yield ipaddress.IPv4Address(octets[12:])
        for places in _AROUND_THE_NINTH:
            if octets[places[0]]:  # else it is no address, but a part of the prefix
                yield ipaddress.IPv4Address(bytes(octets[place] for place in places))
