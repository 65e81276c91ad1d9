"""What becomes of a call, whatever the order in which one hears of it."""

from itertools import permutations

import pytest
from msgspec.structs import replace

from mspc.calls.words import DEAD, GONE, QUEUED, SUCCEEDED, WAITING
from mspc.journal.applying import Batch
from mspc.journal.events import Accepted, Event
from mspc.journal.folding import Row
from tests.support.happened import NOW, accepted, decided, died, failed, succeeded

CALL = accepted()


def fold(*events: Event) -> Row:
    batch = Batch(find=lambda _: [])
    batch.fold(events)
    (row,) = batch.rows
    return row


def shown(row: Row) -> tuple[object, ...]:
    state = row.state, row.due, row.attempts, row.finished_at, row.reason
    return *state, row.status, row.error


def test_an_accepted_call_is_queued_or_waits_until_it_asks_to_be_made() -> None:
    assert shown(fold(CALL)) == (QUEUED, NOW, 0, None, "", None, "")
    later = Accepted(CALL.id, NOW, "GET", "http://a/", "http://a:80", due=NOW + 9)
    assert shown(fold(later))[:2] == (WAITING, NOW + 9)


def test_a_failed_attempt_lets_it_wait_until_the_next() -> None:
    row = fold(CALL, failed(CALL, 3))
    assert shown(row) == (WAITING, NOW + 61, 3, None, "", 503, "bad_status")


def test_a_dead_letter_that_is_accepted_anew_can_still_be_told_to_be_made_again() -> (
    None
):
    """After a crash the queue tells of it before the decision is written down."""
    before = CALL, died(CALL, 7), replace(CALL, at=NOW + 6)
    assert fold(*before).state == DEAD
    assert fold(*before, decided("retried", CALL.id)).state == QUEUED


def test_a_success_ends_it() -> None:
    row = fold(CALL, succeeded(CALL))
    assert shown(row) == (SUCCEEDED, None, 1, NOW + 1.25, "", 204, "")


def test_a_dead_letter_has_its_cause() -> None:
    row = fold(CALL, died(CALL, 2))
    assert row.cause is not None
    assert (row.cause.reason, row.cause.status) == ("permanent", 404)
    assert (row.state, row.due, row.finished_at) == (DEAD, None, NOW + 1.25)


def test_the_order_in_which_attempts_are_heard_of_makes_no_difference() -> None:
    attempts = failed(CALL, 1, 1), failed(CALL, 2, 70), died(CALL, 3, 140)
    events: list[Event] = [CALL, *attempts]
    expected = shown(fold(*events))
    for order in permutations(events):
        row = fold(*order)
        assert shown(row) == expected
        assert {one.number for one in row.failed} == {1, 2, 3}


def test_what_is_heard_twice_makes_no_difference() -> None:
    events = CALL, failed(CALL), decided("retried", CALL.id), died(CALL, 2, 9)
    assert shown(fold(*events, *events)) == shown(fold(*events))
    assert fold(*events, *events).attempted == fold(*events).attempted == 2


def test_an_attempt_is_all_that_it_takes_to_know_a_call() -> None:
    row = fold(failed(CALL))
    assert row.call == CALL
    assert row.state == WAITING


def test_what_a_first_attempt_did_not_say_is_added_when_it_is_heard_of() -> None:
    bare = Accepted(CALL.id, NOW, "POST", CALL.url, CALL.destination)
    assert fold(failed(bare), CALL).call == CALL
    assert fold(failed(CALL), bare).call == CALL


@pytest.mark.parametrize("later", [failed(CALL, 2, 99), died(CALL, 2, 99)])
def test_nothing_undoes_a_success(later: Event) -> None:
    for events in ((succeeded(CALL), later), (later, succeeded(CALL))):
        assert fold(CALL, *events).state == SUCCEEDED


def test_an_open_call_is_cancelled() -> None:
    row = fold(CALL, failed(CALL), decided("cancelled", CALL.id))
    assert (row.state, row.due, row.reason) == (GONE, None, "why")
    assert row.finished_at == NOW + 5


def test_an_attempt_in_flight_does_not_bring_a_cancelled_call_back() -> None:
    cancelled = decided("cancelled", CALL.id)
    attempt = failed(CALL, 1, 20)
    for events in ((cancelled, attempt), (attempt, cancelled)):
        row = fold(CALL, *events)
        assert (row.state, row.due, row.attempts) == (GONE, None, 1)


def test_an_attempt_in_flight_may_succeed_although_it_was_cancelled() -> None:
    row = fold(CALL, decided("cancelled", CALL.id), succeeded(CALL, 1, 20))
    assert row.state == SUCCEEDED


@pytest.mark.parametrize("end", [succeeded(CALL), died(CALL)])
def test_a_finished_call_is_not_cancelled(end: Event) -> None:
    before = fold(CALL, end).state
    assert fold(CALL, end, decided("cancelled", CALL.id)).state == before


def test_a_dead_letter_begins_again_from_its_first_attempt() -> None:
    row = fold(CALL, died(CALL, 7), decided("retried", CALL.id))
    assert shown(row)[:5] == (QUEUED, NOW + 5, 0, None, "")
    assert row.cause is None


def test_a_waiting_call_that_is_retried_is_due_and_keeps_its_attempts() -> None:
    row = fold(CALL, failed(CALL, 7), decided("retried", CALL.id))
    assert shown(row)[:3] == (WAITING, NOW + 5, 7)


def test_what_is_retried_later_waits_until_then() -> None:
    later = replace(decided("retried", CALL.id), details={"delay": 600})
    row = fold(CALL, died(CALL, 7), later)
    assert shown(row)[:5] == (WAITING, NOW + 605, 0, None, "")
    assert shown(fold(CALL, failed(CALL, 7), later))[:3] == (WAITING, NOW + 605, 7)
    foreign = replace(later, details={"delay": "soon"})
    assert fold(CALL, died(CALL, 7), foreign).due == NOW + 5


def test_an_attempt_from_before_it_was_retried_does_not_count() -> None:
    row = fold(CALL, died(CALL, 7), decided("retried", CALL.id), died(CALL, 7))
    assert (row.state, row.attempts) == (QUEUED, 0)


def test_what_was_decided_before_an_attempt_does_not_count() -> None:
    row = fold(CALL, died(CALL, 7, after=20), decided("retried", CALL.id))
    assert (row.state, row.attempts) == (DEAD, 7)
    row = fold(CALL, died(CALL, 7, after=20), decided("deleted", CALL.id))
    assert row.state == DEAD


def test_a_deleted_dead_letter_is_gone() -> None:
    deleted = decided("deleted", CALL.id)
    orders: list[list[Event]] = [
        [died(CALL), deleted],
        [failed(CALL), deleted, died(CALL)],
    ]
    for events in orders:
        row = fold(CALL, *events)
        assert (row.state, row.reason, row.cause) == (GONE, "deleted", None)


def test_a_call_that_dies_without_an_attempt_keeps_the_number_of_those_made() -> None:
    assert fold(CALL, failed(CALL, 4), died(CALL, 0, after=90)).attempts == 4


def test_a_decision_about_nobody_changes_nobody() -> None:
    batch = Batch(find=lambda _: [])
    batch.fold([decided("cancelled", CALL.id), decided("paused", CALL.destination)])
    assert not list(batch.rows)
