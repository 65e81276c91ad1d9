"""Bodies and answers for people."""

import pytest
from msgspec.structs import replace

from mspc.pages.bodies import MOST_PRETTY_CHARACTERS, pretty, shown_body
from tests.support.operators import SEEN


def test_json_is_broken_into_lines_and_stays_what_it_is() -> None:
    text = '{"price":1.10,"n":123456789012345678901234567890,"price":2}'
    shown = pretty(text)
    assert shown.count("\n") == 4
    assert "".join(shown.split()) == text


@pytest.mark.parametrize(
    "text",
    [
        *("no JSON", '{"cut": "he', "[" * 5000, '{"a": 1} {"b": 2}', ""),
        f'["{"x" * MOST_PRETTY_CHARACTERS}"]',
        "[" * 900 + "0," * 7000 + "0" + "]" * 900,  # 14 MB, if it were indented
    ],
)
def test_what_cannot_be_or_would_be_too_long_is_left_as_it_is(text: str) -> None:
    assert pretty(text) == text


@pytest.mark.parametrize(
    ("body", "size", "shown", "told"),
    [
        (b"", 0, "", "It has no body."),
        (b"", 7, "", "Its body has 7 bytes; JOURNAL_BODY_BYTES keeps nothing of it."),
        (b"[1]", 3, "[\n  1\n]", "Body, 3 bytes"),
        ("ž".encode()[:1], 2, "", "Body, the first 1 of 2 bytes"),
        (b"\xff\x00", 2, "ff 00", "Body, 2 bytes, no text: in hexadecimal"),
    ],
)
def test_a_body(body: bytes, size: int, shown: str, told: str) -> None:
    assert shown_body(replace(SEEN, body=body, body_bytes=size)) == (shown, told)
