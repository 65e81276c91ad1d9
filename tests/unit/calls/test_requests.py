"""A stored call is read once, by whoever needs it first."""

import pytest
from msgspec.structs import replace

from mspc.calls.accepted import Accepted
from mspc.calls.call import Call, Outcome
from mspc.calls.networks import NetworkRules
from mspc.calls.requests import UNREADABLE, Requests
from mspc.errors import BadRequest

CALL = Call(b'{"url": "https://[2001:db8::1]/a", "method": "POST"}')
LANE = "https://[2001:db8::1]:443"


@pytest.fixture
def accepted() -> Accepted:
    return Accepted()


@pytest.fixture
def requests(accepted: Accepted) -> Requests:
    return Requests(NetworkRules(), accepted)


def test_whom_a_call_goes_to_is_read_with_the_call(
    requests: Requests, accepted: Accepted
) -> None:
    assert requests.lane_of(CALL) == LANE
    known = accepted.look(CALL)
    assert known is not None
    assert known.lane == LANE
    assert requests.take(CALL).lane == LANE
    assert accepted.look(CALL) is None, "it is needed once"


def test_what_was_remembered_is_not_that_of_another_with_its_id(
    requests: Requests,
) -> None:
    requests.lane_of(CALL)
    other = replace(CALL, payload=b'{"url": "http://other.test/"}')
    assert requests.lane_of(other) == "http://other.test:80"


@pytest.mark.parametrize("payload", [b"", b"no call", b'{"url": 7}', b"\xff" * 10])
def test_what_is_no_call_has_a_lane_of_its_own(
    requests: Requests, payload: bytes
) -> None:
    call = Call(payload)
    assert requests.lane_of(call) == UNREADABLE
    with pytest.raises(BadRequest):
        requests.take(call)


def test_what_can_be_sent_has_the_lane_of_where_it_is_sent(requests: Requests) -> None:
    assert requests.lane_of(Call(b'{"url": " http://a.test/ ", "x": 1}')) == (
        "http://a.test:80"
    )


@pytest.mark.parametrize(
    ("outcome", "reachable"),
    [
        (Outcome(200), True),
        (Outcome(404), True),
        (Outcome(500), True),
        (Outcome(301, "a redirect"), True),
        *[(Outcome(status), False) for status in (429, 502, 503, 504)],
        (Outcome(error="no answer within 60 s"), False),
        (Outcome(error="cannot be sent", permanent=True), None),
    ],
)
def test_which_outcomes_are_a_sign_of_life(
    outcome: Outcome, reachable: bool | None
) -> None:
    assert outcome.reachable is reachable
