"""The values that travel."""

import re

import pytest

from mspc.calls.call import LAST_ERROR_CHARACTERS, Call, Outcome, Request


def test_the_next_attempt_is_the_same_call_with_one_more_failure() -> None:
    call = Call(b"payload", id="a-call", accepted_at=1.5, attempts=2, last_error="500")
    again = call.next_attempt("refused")
    assert again == Call(b"payload", "a-call", 1.5, attempts=3, last_error="refused")


def test_the_next_attempt_leaves_the_call_as_it_was() -> None:
    call = Call(b"payload")
    call.next_attempt("refused")
    assert (call.attempts, call.last_error) == (0, "")


def test_calls_are_compared_by_what_every_queue_keeps() -> None:
    call = Call(b"payload", "a-call", 1.5, lane="http://one:80")
    again = Call(b"payload", "a-call", 1.5, lane="", waited=True, revived_at=2.0)
    assert call == again
    assert (call != again) is False
    assert hash(call) == hash(again)
    assert call != call.next_attempt("no")
    assert call != "a-call"


def test_a_long_error_is_cut() -> None:
    error = "x" * (LAST_ERROR_CHARACTERS + 1)
    assert Call(b"").next_attempt(error).last_error == error[:-1]


def test_every_call_has_an_id_of_its_own() -> None:
    ids = {Call(b"").id for _ in range(1000)}
    assert len(ids) == 1000
    # RFC 9562 5.7: the version, the variant, and all else is left to chance.
    assert all(
        re.fullmatch("[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", i) for i in ids
    )
    for place in {*range(13, 32)} - {16}:
        assert {one[place] for one in ids} == set("0123456789abcdef")
    assert {one[16] for one in ids} == set("89ab")


@pytest.mark.parametrize(
    ("request_", "url"),
    [
        (Request("http", "a.test", 80, "/"), "http://a.test/"),
        (Request("https", "a.test", 443, "/"), "https://a.test/"),
        (Request("http", "a.test", 443, "/"), "http://a.test:443/"),
        (Request("https", "a.test", 80, "/"), "https://a.test:80/"),
        (Request("http", "a.test", 8080, "/b?c=d"), "http://a.test:8080/b?c=d"),
        (Request("http", "a.test", 80, ""), "http://a.test"),
        (Request("http", "::1", 80, "/"), "http://[::1]/"),
        (Request("https", "2001:db8::1", 8443, "/b"), "https://[2001:db8::1]:8443/b"),
    ],
)
def test_the_url_for_people_to_read(request_: Request, url: str) -> None:
    assert request_.url == url


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome(200), "200"),
        (Outcome(302, "a redirect, not followed"), "302 (a redirect, not followed)"),
        (Outcome(error="no connection"), "no connection"),
    ],
)
def test_an_outcome_in_words(outcome: Outcome, text: str) -> None:
    assert str(outcome) == text


@pytest.mark.parametrize(
    ("status", "succeeded"),
    [(None, False), (199, False), (200, True), (299, True), (300, False), (500, False)],
)
def test_2xx_alone_is_success(status: int | None, succeeded: bool) -> None:
    assert Outcome(status).succeeded is succeeded


def test_success_is_a_matter_of_the_status_alone() -> None:
    assert Outcome(200, "the rest of the answer did not come").succeeded
