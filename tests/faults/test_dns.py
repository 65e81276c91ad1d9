"""The stub DNS server answers as the names say."""

import socket
import struct

import pytest

from tests.faults.dns import DENIED, HERE, StubDns

A, AAAA, IN = 1, 28, 1
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def query(name: str, record: int = A) -> bytes:
    labels = (bytes([len(label)]) + label.encode() for label in name.split("."))
    question = b"".join(labels) + b"\0" + struct.pack(">HH", record, IN)
    return struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + question


def read(asked: bytes, reply: bytes | None) -> tuple[int, str | None]:
    """The code of an answer, and its address."""
    assert reply is not None
    number, flags, questions, answers, *_ = struct.unpack_from(">HHHHHH", reply)
    assert (number, flags >> 15, questions) == (0x1234, 1, 1)
    assert reply[12 : len(asked)] == asked[12:]
    address = socket.inet_ntoa(reply[-4:]) if answers else None
    assert len(reply) == len(asked) + 16 * answers
    return flags & 0xF, address


@pytest.mark.parametrize(
    ("name", "code", "address", "healed"),
    [
        ("a.good.test", NOERROR, HERE, HERE),
        ("A.GOOD.TEST", NOERROR, HERE, HERE),
        ("a.nxdomain.test", NXDOMAIN, None, HERE),
        ("a.servfail.test", SERVFAIL, None, HERE),
        ("a.denied.test", NOERROR, DENIED, DENIED),
        ("elsewhere.example", NXDOMAIN, None, HERE),
        ("a.unheard-of.test", NXDOMAIN, None, HERE),
        ("good", NXDOMAIN, None, HERE),
    ],
)
def test_a_name_is_answered_by_its_kind(
    name: str, code: int, address: str | None, healed: str
) -> None:
    dns = StubDns()
    asked = query(name)
    assert read(asked, dns.reply(asked)) == (code, address)
    dns.healed = True
    assert read(asked, dns.reply(asked)) == (NOERROR, healed)


def test_the_second_answer_is_another_one() -> None:
    dns = StubDns()
    asked = query("a.rebinding.test")
    assert [read(asked, dns.reply(asked))[1] for _ in range(3)] == [
        HERE,
        DENIED,
        DENIED,
    ]


def test_ipv6_has_no_addresses_and_is_no_lookup() -> None:
    dns = StubDns()
    asked = query("a.rebinding.test", AAAA)
    assert read(asked, dns.reply(asked)) == (NOERROR, None)
    assert not +dns.asked


def test_silence() -> None:
    dns = StubDns()
    assert dns.reply(query("a.silent.test")) is None
    assert dns.asked["a.silent.test"] == 1
    dns.healed = True
    assert dns.reply(query("a.silent.test")) is not None


@pytest.mark.parametrize(
    "junk", [b"", b"x" * 11, query("a.good.test")[:-3], b"\xff" * 40]
)
def test_what_is_no_query_is_not_answered(junk: bytes) -> None:
    assert StubDns().reply(junk) is None


def test_other_names_as_told() -> None:
    asked = query("elsewhere.example")
    assert read(asked, StubDns("denied").reply(asked)) == (NOERROR, DENIED)
