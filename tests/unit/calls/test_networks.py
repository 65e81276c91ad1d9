"""Which addresses calls may be made to."""

import pytest

from mspc.calls.networks import NetworkRules, parse_network


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "192.0.0.192",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_link_local_and_metadata_are_denied_in_every_spelling(address: str) -> None:
    assert NetworkRules().denies(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "::1", "8.8.8.8", "2001:db8::1", "fd00::1"]
)
def test_internal_services_are_what_mspc_is_for(address: str) -> None:
    assert not NetworkRules().denies(address)


LOOPBACK = NetworkRules(deny=tuple(map(parse_network, ("127.0.0.0/8", "::1"))))
METADATA = NetworkRules()


@pytest.mark.parametrize(
    ("rules", "address"),
    [
        # What the kernel takes for another address when it connects.
        (LOOPBACK, "0.0.0.0"),
        (LOOPBACK, "::"),
        (LOOPBACK, "::%lo"),
        (LOOPBACK, "::ffff:0.0.0.0"),
        (LOOPBACK, "::ffff:127.1.2.3"),
        # What a gateway finds inside another address.
        (LOOPBACK, "64:ff9b::0.0.0.0"),
        (METADATA, "::169.254.169.254"),  # IPv4-compatible
        (METADATA, "::ffff:0:169.254.169.254"),  # IPv4-translated
        (METADATA, "64:ff9b:1::169.254.169.254"),  # local NAT64, prefix of 96 bits
        (METADATA, "64:ff9b:1:a9fe:a9:fe00::"),  # of 48
        (METADATA, "64:ff9b:1:a9:fe:a9fe::"),  # of 56
        (METADATA, "64:ff9b:1:7:a9:fea9:fe00:0"),  # of 64
        (METADATA, "2002:a9fe:a9fe:1:2:3:4:5"),  # 6to4
        (METADATA, "2001:0:a9fe:a9fe::1"),  # Teredo: the server
        (METADATA, "2001:0:808:808::5601:5601"),  # and the client, inverted
        (METADATA, "2001:db8::5efe:169.254.169.254"),  # ISATAP
        (METADATA, "2001:db8::200:5efe:169.254.169.254"),
    ],
)
def test_an_address_is_judged_as_what_it_reaches(
    rules: NetworkRules, address: str
) -> None:
    assert rules.denies(address)
    assert rules.denies(address)  # also when it is remembered


@pytest.mark.parametrize(
    "address",
    [
        *("::8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b:1::8.8.8.8"),
        *("2002:808:808::1", "2001:0:808:808::f7f7:f7f7", "2001:db8::5efe:8.8.8.8"),
        *("0.0.0.0", "::", "::1"),
    ],
)
def test_an_address_that_reaches_another_one_is_not_denied_for_that(
    address: str,
) -> None:
    rules = NetworkRules(
        deny=tuple(map(parse_network, ("0.0.0.1/32", "10.0.0.0/8", "169.254.0.0/16")))
    )
    assert not rules.denies(address)


def test_a_rule_may_name_the_unspecified_address_itself() -> None:
    rules = NetworkRules(deny=(parse_network("0.0.0.0/8"), parse_network("::")))
    assert rules.denies("0.0.0.0")
    assert rules.denies("0.1.2.3")
    assert rules.denies("::")
    assert not rules.denies("127.0.0.1")


@pytest.mark.parametrize(
    "address", ["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1"]
)
def test_an_exception_for_ipv6_is_none_for_the_ipv4_address_inside(
    address: str,
) -> None:
    rules = NetworkRules(
        deny=(parse_network("10.0.0.0/8"),), allow=(parse_network("::/0"),)
    )
    assert rules.denies(address)


def test_an_exception_for_ipv4_is_none_for_an_address_around_it() -> None:
    allow = (parse_network("10.1.0.0/16"),)
    assert NetworkRules(allow=allow).denies("fe80::5efe:10.1.0.1")


def test_an_exception_holds_behind_nat64_where_ipv6_is_all_there_is() -> None:
    every = (parse_network("0.0.0.0/0"), parse_network("::/0"))
    rules = NetworkRules(deny=every, allow=(parse_network("203.0.113.0/24"),))
    assert not rules.denies("64:ff9b::203.0.113.7")
    assert rules.denies("64:ff9b::203.0.114.7")


def test_a_network_of_mapped_addresses_is_that_of_the_ipv4_ones() -> None:
    assert parse_network("::ffff:10.0.0.0/104") == parse_network("10.0.0.0/8")
    assert NetworkRules(deny=(parse_network("::ffff:127.0.0.1"),)).denies("127.0.0.1")


def test_an_allowed_network_is_an_exception_to_a_denied_one() -> None:
    rules = NetworkRules(
        deny=(parse_network("10.0.0.0/8"),), allow=(parse_network("10.1.0.0/16"),)
    )

    assert rules.denies("10.2.0.1")
    assert not rules.denies("10.1.0.1")
    assert not rules.denies("::ffff:10.1.0.1")


def test_without_rules_nothing_is_denied() -> None:
    assert not NetworkRules(deny=()).denies("169.254.169.254")


def test_a_network_may_be_an_address_or_have_host_bits() -> None:
    assert parse_network(" 10.1.2.3 ") == parse_network("10.1.2.3/32")
    assert parse_network("10.1.2.3/8") == parse_network("10.0.0.0/8")


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "host", "1.2.3"])
def test_anything_else_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear"):
        parse_network(text)


OWN = NetworkRules(own_port=8010)
# Of no machine: RFC 5737, RFC 3849.
FOREIGN = ("192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.1.2", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"),
        *("::ffff:0.0.0.0", "::%lo"),
    ],
)
def test_our_own_door_in_every_spelling(address: str) -> None:
    assert OWN.is_own_door(address, 8010)
    assert not OWN.is_own_door(address, 8011)
    assert not NetworkRules().is_own_door(address, 8010)


@pytest.mark.parametrize("address", FOREIGN)
def test_the_same_port_of_another_machine(address: str) -> None:
    assert not OWN.is_own_door(address, 8010)


def test_an_exception_for_loopback_is_none_for_our_own_door() -> None:
    rules = NetworkRules(allow=(parse_network("127.0.0.0/8"),), own_port=8010)
    assert rules.is_own_door("127.0.0.1", 8010)
