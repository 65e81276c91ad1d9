"""XML: checked piece by piece, so that a large document does not hold up others."""

from contextlib import suppress

import gevent
import pytest

from mspc.calls.body import XML, XML_PIECE_BYTES, BodyRefused, read_body
from tests.support.beside import somebody_beside


def document(size: int, content: str = "<b c='1'>é</b>") -> str:
    return f"<a>{content * (size // len(content))}</a>"


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
        "<a {}/>".format(" ".join(map("a{}='1'".format, range(90_000)))),
        document(1_000_000, "&lt;"),
    ],
    ids=["elements", "deep", "attributes", "references"],
)
def test_others_have_their_turn_while_a_large_document_is_checked(text: str) -> None:
    with somebody_beside() as other, suppress(BodyRefused):
        read_body(text)
    assert other.turns >= len(text) // XML_PIECE_BYTES - 1


def test_a_small_document_waits_for_nobody() -> None:
    other = gevent.spawn(pytest.fail, "somebody else had a turn")
    read_body(document(XML_PIECE_BYTES - 100, "x"))
    other.kill()
