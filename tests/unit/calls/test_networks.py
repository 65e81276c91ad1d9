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
