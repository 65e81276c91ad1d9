"""What instances tell each other, of whatever version they are."""

import json
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mspc.journal.events import Accepted, Attempted, Decided, Decision, Event, Kind
from mspc.journal.wire import decode, encode

CALL = Accepted(
    "0" * 32, 1.5, "POST", "http://a/b", "http://a:80", ("x",), 2.5, 3, body=b"\xff"
)
ATTEMPT = Attempted(CALL, 1, 2.0, status=500, error="bad_status", decision="retry")
PAUSE = Decided("paused", 3.0, "admin", ("http://a:80",), "", {"until": None}, "1" * 32)

texts = st.text(st.characters(exclude_categories=["Cs"]))
times = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.integers(0, 2**53)
calls = st.builds(
    Accepted,
    id=texts,
    at=times,
    method=texts,
    url=texts,
    destination=texts,
    labels=st.lists(texts).map(tuple),
    due=times,
    max_attempts=numbers,
    headers=st.lists(st.tuples(texts, texts)).map(tuple),
    body_bytes=numbers,
    body=st.binary(),
)
attempts = st.builds(
    Attempted,
    call=calls,
    number=numbers,
    at=times,
    seconds=times,
    status=st.none() | numbers,
    error=texts,
    text=texts,
    answer=texts,
    decision=st.sampled_from(typing.get_args(Decision)),
    next_at=st.none() | times,
    reason=texts,
)
details = st.recursive(
    st.none() | st.booleans() | numbers | times | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)
decisions = st.builds(
    Decided,
    kind=st.sampled_from(typing.get_args(Kind)),
    at=times,
    who=texts,
    targets=st.lists(texts).map(tuple),
    reason=texts,
    details=st.dictionaries(texts, details),
    id=texts,
)


@given(st.lists(calls | attempts | decisions, max_size=3))
def test_what_is_written_is_read(events: list[Event]) -> None:
    assert decode(encode(events)) == events


@given(st.binary() | details.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_nothing(data: bytes) -> None:
    assert decode(data) == []


@given(st.data())
def test_what_is_damaged_in_between_spoils_nothing_else(data: st.DataObject) -> None:
    batch = json.loads(encode([CALL, ATTEMPT, PAUSE]))
    damaged = batch[1]
    name = data.draw(st.sampled_from(sorted(damaged)))
    damaged[name] = data.draw(details)
    read = decode(json.dumps(batch).encode())
    assert (read[0], read[-1]) == (CALL, PAUSE)


@pytest.mark.parametrize("text", ["\ud83d", "a\udc00b"])
def test_half_a_surrogate_pair_is_replaced(text: str) -> None:
    whole = text.encode(errors="replace").decode()
    call = replace(CALL, url=text, labels=(text,), headers=((text, text),))
    replaced = replace(CALL, url=whole, labels=(whole,), headers=((whole, whole),))
    events: list[Event] = [
        PAUSE,
        replace(ATTEMPT, call=call, answer=text),
        replace(PAUSE, details={text: [text]}),
    ]
    assert decode(encode(events)) == [
        PAUSE,
        replace(ATTEMPT, call=replaced, answer=whole),
        replace(PAUSE, details={whole: [whole]}),
    ]


def test_what_cannot_be_written_is_left_out() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    events: list[Event] = [
        replace(PAUSE, details={"no JSON": object()}),
        CALL,
        replace(PAUSE, details={"deep": deep}),
    ]
    assert decode(encode(events)) == [CALL]


def test_what_a_newer_version_adds_is_passed_over() -> None:
    batch = json.loads(encode([CALL, ATTEMPT]))
    batch[0]["new"] = batch[1]["new"] = batch[1]["c"]["new"] = {"field": 1}
    batch.insert(1, {"k": "a2", "i": "another kind"})
    assert decode(json.dumps(batch).encode()) == [CALL, ATTEMPT]


def test_what_an_older_version_left_out_has_its_default() -> None:
    data = b'[{"k": "a1", "i": "1", "t": 2, "m": "GET", "u": "u", "d": "d"}]'
    assert decode(data) == [Accepted("1", 2.0, "GET", "u", "d")]


def test_a_decision_of_an_unknown_kind_is_passed_over() -> None:
    batch = json.loads(encode([PAUSE, PAUSE]))
    batch[0]["o"] = "painted"
    assert decode(json.dumps(batch).encode()) == [PAUSE]


def test_the_names_on_the_wire_stay() -> None:
    """Instances of several versions read them."""
    assert encode([ATTEMPT, PAUSE]).decode() == (
        f'[{{"k":"t1","c":{{"k":"a1","i":"{CALL.id}","t":1.5,"m":"POST","u":"http://a/b",'
        '"d":"http://a:80","l":["x"],"w":2.5,"x":3,"b":"/w=="},"n":1,"t":2.0,'
        '"r":500,"e":"bad_status","d":"retry"},{"k":"d1","o":"paused","t":3.0,'
        f'"w":"admin","c":["http://a:80"],"v":{{"until":null}},"i":"{PAUSE.id}"}}]'
    )
