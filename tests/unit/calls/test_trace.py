"""W3C trace context: what is one, and how a payload says it."""

import json

import pytest

from mspc.calls.networks import NetworkRules
from mspc.calls.salvage import salvage
from mspc.calls.trace import LONGEST_STATE, Trace, kept_in, read_trace
from mspc.calls.validation import parse
from mspc.errors import InvalidProperties, NotAnObject

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "rojo=00f067aa0ba902b7,fw529a3039@dt=FfAd"
NETWORKS = NetworkRules()


@pytest.mark.parametrize(
    "parent",
    [
        PARENT,
        PARENT[:-2] + "00",
        "01" + PARENT[2:],
        # What a later version appends: 3.2.4
        "cc" + PARENT[2:] + "-what-the-future-will-be-like",
    ],
)
def test_a_traceparent(parent: str) -> None:
    assert read_trace(parent, "") == Trace(parent)


@pytest.mark.parametrize(
    "parent",
    [
        *("", "00", PARENT + "-", PARENT + "-more", PARENT[:-1], PARENT + "0"),
        *("ff" + PARENT[2:], PARENT.upper(), f" {PARENT}", f"{PARENT},{PARENT}"),
        *(PARENT.replace("b7ad6b7169203331", 16 * "0"), PARENT.replace("-", "_")),
        *(f"00-{32 * '0'}-b7ad6b7169203331-01", f"{PARENT}\n", f"01{PARENT[2:]}.x"),
        "01" + PARENT[2:] + "-" + 300 * "x",
    ],
)
def test_no_traceparent(parent: str) -> None:
    assert read_trace(parent, STATE) is None


@pytest.mark.parametrize(
    "state",
    [
        *("a=b", STATE, "a=1, b=2\t,,c=3", 'a="\\ x', "0a/b*c-d_e@f=!"),
        ",".join(f"k{n}=v" for n in range(32)),
        ", ".join(f"{n:a>256}={n:b>256}" for n in range(32)),
    ],
)
def test_a_tracestate(state: str) -> None:
    assert read_trace(PARENT, state) == Trace(PARENT, state)


@pytest.mark.parametrize(
    "state",
    [
        *("a", "=b", "a=", "A=b", "a=b=c", "a=1,a=2", ",", "a=ž", "a=1\r\nb=2"),
        *(f"{257 * 'a'}=b", f"a={257 * 'b'}", ",".join(f"k{n}=v" for n in range(33))),
        f"a=b{',' * LONGEST_STATE}",
    ],
)
def test_what_is_no_tracestate_takes_nothing_with_it(state: str) -> None:
    assert read_trace(PARENT, state) == Trace(PARENT)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"url":"http://s.test/"}',
        b'\xef\xbb\xbf \r\n\t{ "url" : "http://s.test/", "body": "{}" }\n',
    ],
)
def test_a_payload_says_it_and_is_the_same_else(payload: bytes) -> None:
    kept = kept_in(payload, Trace(PARENT, 'a="\\ x'))
    request = parse(kept, NETWORKS)
    assert request.policy.traceparent == PARENT
    assert request.policy.tracestate == 'a="\\ x'
    begin, end = payload.split(b"{", 1)
    assert kept.startswith(begin + b"{")
    assert kept.endswith(end)
    assert b"tracestate" not in kept_in(payload, Trace(PARENT))


def refused(**properties: object) -> tuple[str, ...]:
    with pytest.raises(InvalidProperties) as caught:
        parse(json.dumps({"url": "http://s.test/", **properties}).encode(), NETWORKS)
    return caught.value.problems


def test_a_property_of_another_form_is_refused() -> None:
    assert refused(traceparent="00-x") == (
        'traceparent must be a W3C traceparent, not "00-x".',
    )
    assert refused(traceparent=PARENT, tracestate=["a=b"]) == (
        "tracestate must be a W3C tracestate, not an array.",
    )
    assert refused(tracestate=STATE) == (
        "tracestate says nothing without a traceparent.",
    )


def test_what_breaks_another_rule_keeps_it() -> None:
    payload = kept_in(b'{"url": "http://s.test/", "nope": 1}', Trace(PARENT, STATE))
    request = salvage(payload, NETWORKS, NotAnObject("refused"))
    assert request.policy.traceparent == PARENT
    assert request.policy.tracestate == STATE
