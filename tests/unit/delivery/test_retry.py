"""What follows an attempt."""

import pytest

from mspc.calls.call import Outcome, Request
from mspc.delivery.retry import Ack, DeadLetter, Decision, Requeue, RetryPolicy

POLICY = RetryPolicy(delay=5.0)


def decide(outcome: Outcome, *, requeue: bool = True) -> Decision:
    request = Request("http", "service.test", 80, "/", requeue=requeue)
    return POLICY.decide(request, outcome)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
@pytest.mark.parametrize("requeue", [True, False])
def test_any_2xx_is_success(status: int, requeue: bool) -> None:
    assert decide(Outcome(status), requeue=requeue) == Ack()


@pytest.mark.parametrize("status", [101, 199, 300, 301, 400, 404, 410, 429, 500, 599])
def test_any_other_status_is_made_again(status: int) -> None:
    assert decide(Outcome(status)) == Requeue(5.0)


def test_no_answer_is_made_again() -> None:
    assert decide(Outcome(error="no connection")) == Requeue(5.0)


def test_the_delay_does_not_depend_on_the_attempt() -> None:
    policy = RetryPolicy(delay=0.0)
    request = Request("http", "service.test", 80, "/")
    decisions = {policy.decide(request, Outcome(500)) for _ in range(3)}
    assert decisions == {Requeue(0.0)}


def test_a_failure_that_shall_not_be_repeated_is_a_dead_letter() -> None:
    decision = decide(Outcome(503), requeue=False)
    assert decision == DeadLetter("failed, and requeue is false: 503")


@pytest.mark.parametrize("requeue", [True, False])
def test_a_call_that_cannot_be_sent_is_a_dead_letter(requeue: bool) -> None:
    outcome = Outcome(error="a denied address", permanent=True)
    decision = decide(outcome, requeue=requeue)
    assert decision == DeadLetter("cannot be sent: a denied address")
