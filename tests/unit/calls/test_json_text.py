"""Checking JSON: as Python's decoder would, at a price that nobody else has to pay."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mspc.calls import json_text
from mspc.calls.body import BodyRefused, read_body
from mspc.calls.json_text import Malformed, TooDeep, check, read_object
from mspc.errors import NotAnObject

MIB = 1_048_576
LARGE = "x" * json_text.SMALL_BYTES  # makes a payload one that is not built


def refuse(name: str) -> None:
    raise ValueError(name)


python = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=refuse)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
pieces = st.sampled_from(
    [
        *'{}[],:"\\/ \t\r\n0123456789.+-eEdDcCuaftnN',
        *("true", "false", "null", "NaN", "Infinity", "-0", "1e5", '""', "{}", "[]"),
        *("\\u", "\\ud83d", "\\ude00", "\\uDC00", "\\\\", '\\"', "\\d", "\ufeff", "é"),
        *("\x00", "\x1f", "\x7f", "\x0b", "\u2028", "//", "'", "🐎", '"a":', '"d"'),
    ]
)
texts = st.one_of(
    st.text(st.characters(codec="utf-8")),
    st.lists(pieces, max_size=12).map("".join),
    st.lists(pieces, max_size=6).map(lambda parts: f'"{"".join(parts)}"'),
    json_values.map(json.dumps),
    st.tuples(json_values.map(json.dumps), st.integers(0, 99), pieces).map(
        lambda t: t[0][: t[1]] + t[2] + t[0][t[1] :]
    ),
)


@given(texts)
@example(r'"\ud800"')
@example(r'"\uD83D x \ude00"')
@example(r'["\ud83d\ude00", "\udead"]')
@example(r'"\\ud800"')
@example(r'"\d"')
@example("[d]")
@example('{"d": "\\ud800"')
def test_what_python_takes_is_taken_and_nothing_else(text: str) -> None:
    try:
        python.decode(text)
    except ValueError:
        with pytest.raises(Malformed):
            check(text.encode())
    else:
        check(text.encode())


@given(texts, st.booleans())
def test_a_fault_has_the_same_place_in_a_large_text(text: str, cheap: bool) -> None:
    try:
        python.decode(text)
    except ValueError:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_text, "is_cheap", lambda content: cheap)
            with pytest.raises(Malformed, match=r"."):
                check(text.encode())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("x", "invalid character at line 3, column 3"),
        ("é", "invalid character at line 3, column 3"),
        ('"é" x', "expected ',' or ']' at line 3, column 7"),
        ('"\x01"', "invalid character at line 3, column 4"),
        ('{"a" 1}', "expected ':' at line 3, column 8"),
        ("", "Input data was truncated at line 3, column 3"),
    ],
)
def test_a_fault_in_a_large_text_has_its_place(fault: str, expected: str) -> None:
    before = "[" + "[]," * json_text.FEW_VALUES + "\n\n  "
    with pytest.raises(Malformed) as caught:
        check((before + fault).encode())
    assert str(caught.value) == expected


def test_half_a_surrogate_pair_is_sent_as_it_was_given() -> None:
    """JSON.stringify("🐎".slice(0, 1)) is what careless clients send."""
    body = '{"text": "cut \\ud83d", "whole": "\\ud83d\\ude00"}'
    assert read_body(body) == (body.encode(), "application/json; charset=UTF-8")


# A payload, built and not built

payloads = st.one_of(
    texts,
    st.dictionaries(st.text(), json_values).map(json.dumps),
    st.lists(st.tuples(st.sampled_from(["a", "b", "\\u0061"]), texts), max_size=3).map(
        lambda pairs: "{" + ",".join(f'"{k}": {v}' for k, v in pairs) + "}"
    ),
)


def outcome(text: str) -> Any:
    try:
        return read_object(text.encode())
    except NotAnObject as exc:
        return str(exc)


@given(payloads)
@example('{"a": 1, "a": 1}')
@example('{"a": {"b": 1, "\\u0062": 2}}')
@example('{"a": "\\ud800"}')
@example('{"a": 1e400, "b": 007}')
def test_a_large_payload_is_read_as_a_small_one_is(text: str) -> None:
    expected = outcome(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "SMALL_BYTES", -1)
        found = outcome(text)
    assert found == expected
    assert repr(found) == repr(expected)  # 1 is not True


def large(members: str) -> bytes:
    return f'{{"x": "{LARGE}", {members}}}'.encode()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (large('"url": "a", "url": "b"'), 'The property "url" is given twice.'),
        (large('"headers": {"A": 1, "A": 1}'), 'The property "A" is given twice.'),
        (large('"url": NaN'), "The body is not JSON: "),
        (large('"url": "\\ud800" x'), "The body is not JSON: "),
        (b"[" + b"[]," * 5000 + b"[]]", "must be a JSON object, not an array."),
        (f'"{LARGE}"'.encode(), "must be a JSON object, not a string."),
        (b"9" * 10_000, "must be a JSON object, not a number."),
        (b" " * 10_000, "The body is empty; it must be a JSON object."),
        (b" " * 10_000 + b"true", "must be a JSON object, not true."),
        (
            large('"x": [' + "[]," * json_text.FEW_VALUES + "[]]"),
            'The property "x" is larger than any call needs.',
        ),
        (
            large('"headers": {"A": [' + "[]," * json_text.FEW_VALUES + "[]]}"),
            'The property "A" is larger than any call needs.',
        ),
        (
            large('"a": "\\ud800", "b": "' + "," * json_text.FEW_VALUES + '"'),
            "The body has half a surrogate pair",
        ),
    ],
)
def test_what_is_wrong_with_a_large_payload(payload: bytes, expected: str) -> None:
    with pytest.raises(NotAnObject) as caught:
        read_object(payload)
    assert expected in str(caught.value)


def test_many_headers_of_many_commas_are_read() -> None:
    headers = {f"X-{n}": "," * 100 for n in range(1000)}
    payload = json.dumps({"url": "http://a", "headers": headers}).encode()
    assert read_object(payload)["headers"] == headers


# What 1 MiB may cost. Bytes are counted, since a clock would count other people's work.

ATTACKS = {
    "empty arrays": "[" + "[]," * 349_000 + "[]]",
    "members": "{" + ",".join(f'"{n}":1' for n in range(100_000)) + "}",
    "halves of pairs": '"' + "\\ud800" * 174_000 + '"',
    "a fault at the end": "[" + "[]," * 349_000 + "x",
    "twice the same": "{" + '"a":1,' * 174_000 + '"a":1}',
    "deep": "[" * 524_000 + "]" * 524_000,
    "numbers": "[" + "1," * 524_000 + "1]",
    "half a pair at the end": "[" + "[]," * 349_000 + '"\\ud800"]',
}
FEW_BYTES = 6 * MIB  # the text itself and copies of it; built, it takes 22 MiB and more


def peak(read: Any, *refusals: type[Exception]) -> int:
    tracemalloc.start()
    try:
        read()
    except refusals:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


@pytest.mark.parametrize("name", ATTACKS)
def test_a_body_of_1_mib_is_not_built(name: str) -> None:
    text = ATTACKS[name]
    assert peak(lambda: read_body(text), BodyRefused) < FEW_BYTES


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(
    "form", ["{}", '{{"x": {}}}', '{{"headers": {}}}', '{{"headers": {{"x": {}}}}}']
)
def test_a_payload_of_1_mib_is_not_built(name: str, form: str) -> None:
    payload = form.format(ATTACKS[name]).encode()
    assert peak(lambda: read_object(payload), NotAnObject) < FEW_BYTES


def test_depth_is_no_traceback() -> None:
    with pytest.raises(TooDeep):
        check(b"[" * 100_000)
    with pytest.raises(TooDeep):
        check(b'["\\ud800", ' + b"[" * 100_000)
