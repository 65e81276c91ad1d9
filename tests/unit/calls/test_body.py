"""XML: checked piece by piece, so that a large document does not hold up others."""

from contextlib import suppress

import gevent
import pytest

from mspc.calls.body import (
    MOST_ATTRIBUTES,
    XML,
    XML_PIECE_BYTES,
    BodyRefused,
    read_body,
)
from tests.support.beside import somebody_beside


def document(size: int, content: str = "<b c='1'>é</b>") -> str:
    return f"<a>{content * (size // len(content))}</a>"


def element(attributes: int, name: str = "b", value: str = "") -> str:
    given = " ".join(f"n{n}='{value}'" for n in range(attributes))
    return f"<{name} {given}/>"


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("more", [-8, -7, -1, 0, 1])
def test_pieces_make_no_difference(size: int, more: int) -> None:
    text = f"<a>{'x' * (size * XML_PIECE_BYTES + more)}</a>"
    assert read_body(text) == (text.encode(), XML)
    with pytest.raises(BodyRefused, match="as XML it is wrong"):
        read_body(f"{text}<a>")


@pytest.mark.parametrize("shift", range(4))
def test_a_character_may_lie_across_two_pieces(shift: int) -> None:
    text = f"<a>{'x' * shift}{'🐎' * XML_PIECE_BYTES}</a>"
    assert read_body(text)[0] == text.encode()


def test_a_fault_behind_the_first_piece_has_its_place() -> None:
    text = "<a>\n" + "<b/>\n" * XML_PIECE_BYTES + "<c></a>"
    with pytest.raises(BodyRefused) as caught:
        read_body(text)
    line = XML_PIECE_BYTES + 2
    assert f"mismatched tag at line {line}, column 6." in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        document(1_000_000),
        "<a>" * 333_333,
        document(1_000_000, element(100)),
        document(1_000_000, f"<b>{'b' * XML_PIECE_BYTES}</b>"),
        document(1_000_000, "&lt;"),
    ],
    ids=["elements", "deep", "attributes", "texts", "references"],
)
def test_others_have_their_turn_while_a_large_document_is_checked(text: str) -> None:
    with somebody_beside() as other, suppress(BodyRefused):
        read_body(text)
    assert other.turns >= len(text) // XML_PIECE_BYTES - 1


def test_a_small_document_waits_for_nobody() -> None:
    other = gevent.spawn(pytest.fail, "somebody else had a turn")
    read_body(document(XML_PIECE_BYTES - 100, "x"))
    other.kill()


@pytest.mark.parametrize("before", ["", "<!-- ' -->", "x" * (XML_PIECE_BYTES - 5)])
@pytest.mark.parametrize("value", ["", "1", ">", '"'])
def test_an_element_has_so_many_attributes_at_most(before: str, value: str) -> None:
    """They are looked at together, and nobody else has a turn meanwhile."""
    most = f"<a>{before}{element(MOST_ATTRIBUTES, value=value)}</a>"
    assert read_body(most)[1] == XML
    more = f"<a>{before}{element(MOST_ATTRIBUTES + 1, value=value)}</a>"
    with pytest.raises(BodyRefused, match="an element of more than 10,000 attributes"):
        read_body(more)


@pytest.mark.parametrize("name", ["!--", "![CDATA[", "?b"])
def test_what_has_no_attributes_may_look_like_it(name: str) -> None:
    end = {"!--": "-->", "![CDATA[": "]]>", "?b": "?>"}[name]
    inside = " n=''" * (MOST_ATTRIBUTES + 1)
    assert read_body(f"<a><{name}{inside} {end}</a>")[1] == XML


@pytest.mark.parametrize("size", [300_000, 900_000])
def test_an_attribute_may_be_long(size: int) -> None:
    assert read_body(f"<a n='{'x' * size}'/>")[1] == XML
