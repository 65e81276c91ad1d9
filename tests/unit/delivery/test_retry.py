"""What precedes and follows an attempt, with a clock and chances of the test's own."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from mspc.calls.call import Call, Outcome, Request
from mspc.calls.policy import USUAL, Backoff, Delays, Policy
from mspc.calls.words import (
    MAX_AGE,
    MAX_ATTEMPTS,
    NO_REQUEUE,
    NOT_SENDABLE,
    PERMANENT,
)
from mspc.delivery.retry import Ack, DeadLetter, Decision, Requeue, RetryPolicy

NOW = 1_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR
CALL = Call(b"{}", accepted_at=NOW)
FAILED = Outcome(503)


def rules(
    delays: Delays | None = None,
    *,
    now: float = NOW,
    chance: Callable[[], float] = lambda: 0.5,
    max_attempts: int = 0,
    max_age: float = 0.0,
    permanent: frozenset[str] = frozenset(),
) -> RetryPolicy:
    return RetryPolicy(
        delays or Delays(5.0), max_attempts, max_age, permanent, lambda: now, chance
    )


def request(own: Policy = USUAL, *, requeue: bool = True) -> Request:
    return Request("http", "service.test", 80, "/", requeue=requeue, policy=own)


def decide(
    outcome: Outcome, own: Policy = USUAL, *, requeue: bool = True, attempts: int = 0
) -> Decision:
    call = replace(CALL, attempts=attempts)
    return rules().decide(call, request(own, requeue=requeue), outcome)


def delays_of(policy: RetryPolicy, own: Policy = USUAL, count: int = 8) -> list[float]:
    found = []
    for attempts in range(count):
        call = replace(CALL, attempts=attempts)
        decision = policy.decide(call, request(own), FAILED)
        assert isinstance(decision, Requeue)
        found.append(decision.delay)
    return found


@pytest.mark.parametrize("status", [200, 202, 204, 299])
@pytest.mark.parametrize("requeue", [True, False])
def test_any_2xx_is_success(status: int, requeue: bool) -> None:
    assert decide(Outcome(status), requeue=requeue) == Ack()


@pytest.mark.parametrize("status", [101, 199, 300, 301, 400, 404, 410, 429, 500, 599])
def test_any_other_status_is_made_again(status: int) -> None:
    assert decide(Outcome(status)) == Requeue(5.0)


def test_no_answer_is_made_again() -> None:
    assert decide(Outcome(error="no connection")) == Requeue(5.0)


def test_a_failure_that_shall_not_be_repeated_is_a_dead_letter() -> None:
    decision = decide(Outcome(503), requeue=False)
    assert decision == DeadLetter("failed, and requeue is false: 503", NO_REQUEUE)


@pytest.mark.parametrize("requeue", [True, False])
def test_a_call_that_cannot_be_sent_is_a_dead_letter(requeue: bool) -> None:
    outcome = Outcome(error="a denied address", permanent=True)
    decision = decide(outcome, requeue=requeue)
    assert decision == DeadLetter("cannot be sent: a denied address", NOT_SENDABLE)


class TestDelays:
    def test_are_the_same_for_ever_unless_somebody_says_otherwise(self) -> None:
        assert delays_of(rules(Delays(0.25)), count=1500) == [0.25] * 1500

    def test_grow_by_the_factor_up_to_the_longest(self) -> None:
        policy = rules(Delays(5.0, factor=2.0, longest=60.0))
        assert delays_of(policy) == [5, 10, 20, 40, 60, 60, 60, 60]

    def test_that_grow_beyond_what_a_float_holds_are_the_longest(self) -> None:
        policy = rules(Delays(5.0, factor=100.0, longest=DAY))
        assert delays_of(policy, count=1000)[-1] == DAY

    def test_longer_than_the_longest_from_the_start_stay_as_they_are(self) -> None:
        """A setting of older versions, which knew no longest delay."""
        assert delays_of(rules(Delays(2 * HOUR))) == [2 * HOUR] * 8

    @pytest.mark.parametrize(("chance", "share"), [(0.0, 1.0), (0.5, 0.95)])
    def test_are_shortened_by_chance(self, chance: float, share: float) -> None:
        policy = rules(Delays(5.0, jitter=0.1), chance=lambda: chance)
        assert delays_of(policy, count=2) == [5.0 * share] * 2

    def test_of_a_call_come_first_one_by_one(self) -> None:
        policy = rules(Delays(5.0, factor=2.0))
        own = Policy(backoff=Backoff(initial=1.0, longest=3.0))
        assert delays_of(policy, own, 4) == [1, 2, 3, 3]
        own = Policy(backoff=Backoff(factor=1.0, jitter=1.0))
        assert delays_of(policy, own, 2) == [2.5, 2.5]

    def test_of_a_list_are_taken_in_turn_and_the_last_repeats(self) -> None:
        policy = rules(Delays(5.0, factor=2.0))
        own = Policy(backoff=Backoff(steps=(1.0, 60.0, HOUR)))
        assert delays_of(policy, own, 5) == [1, 60, HOUR, HOUR, HOUR]

    def test_of_a_list_are_shortened_by_chance_too(self) -> None:
        own = Policy(backoff=Backoff(steps=(10.0,)))
        policy = rules(Delays(5.0, jitter=0.2))
        assert delays_of(policy, own, 1) == [9.0]


class TestRetryAfter:
    @pytest.mark.parametrize(("asked", "given"), [(30, 30), (3, 5), (0, 5)])
    def test_lengthens_the_delay_and_never_shortens_it(
        self, asked: float, given: float
    ) -> None:
        assert decide(Outcome(429, retry_after=asked)) == Requeue(given)

    def test_is_bounded_by_the_longest_delay(self) -> None:
        assert decide(Outcome(503, retry_after=1e9)) == Requeue(HOUR)

    def test_is_spread_when_delays_are(self) -> None:
        policy = rules(Delays(5.0, jitter=0.2))
        outcome = Outcome(429, retry_after=100.0)
        decision = policy.decide(CALL, request(), outcome)
        assert isinstance(decision, Requeue)
        assert decision.delay == pytest.approx(110.0)

    def test_spread_is_bounded_too(self) -> None:
        policy = rules(Delays(5.0, jitter=0.2))
        outcome = Outcome(429, retry_after=1e9)
        assert policy.decide(CALL, request(), outcome) == Requeue(HOUR)


class TestMaxAttempts:
    def test_counts_the_first(self) -> None:
        own = Policy(max_attempts=3)
        assert decide(FAILED, own, attempts=1) == Requeue(5.0)
        told = "max_attempts: 3 failed, the last with 503"
        dead = DeadLetter(told, MAX_ATTEMPTS)
        assert decide(FAILED, own, attempts=2) == dead

    def test_of_the_settings_is_for_calls_that_say_nothing(self) -> None:
        policy = rules(max_attempts=2)
        call = replace(CALL, attempts=1)
        decision = policy.decide(call, request(), FAILED)
        assert isinstance(decision, DeadLetter)
        own = request(Policy(max_attempts=3))
        assert policy.decide(call, own, FAILED) == Requeue(5.0)

    def test_of_one_is_said_as_it_was_asked_for(self) -> None:
        decision = decide(FAILED, Policy(max_attempts=1), requeue=False)
        told = "max_attempts: 1 failed, the last with 503"
        assert decision == DeadLetter(told, MAX_ATTEMPTS)


class TestMaxAge:
    def test_ends_a_call_whose_next_attempt_would_come_too_late(self) -> None:
        own = request(Policy(max_age=60.0))
        assert rules(now=NOW + 55).decide(CALL, own, FAILED) == Requeue(5.0)
        told = "max_age: 60 s would be over, the last attempt gave 503"
        decision = rules(now=NOW + 56).decide(CALL, own, FAILED)
        assert decision == DeadLetter(told, MAX_AGE)

    def test_ends_one_that_was_never_attempted(self) -> None:
        """mspc was down for a day, or its service was."""
        own = Policy(max_age=60.0)
        assert rules(now=NOW + 60).before(CALL, own) is None
        told = "max_age: 60 s would be over, it was never attempted"
        assert rules(now=NOW + 61).before(CALL, own) == DeadLetter(told, MAX_AGE)

    def test_ends_one_that_has_waited_for_its_service(self) -> None:
        failed = CALL.next_attempt("503")
        told = "max_age: 60 s would be over, the last attempt gave 503"
        decision = rules(now=NOW + 61).before(failed, Policy(max_age=60.0))
        assert decision == DeadLetter(told, MAX_AGE)

    @pytest.mark.parametrize(
        "own",
        [Policy(delay=DAY, max_age=60.0), Policy(not_before=NOW + DAY, max_age=60.0)],
    )
    def test_begins_when_the_first_attempt_is_due(self, own: Policy) -> None:
        call = replace(CALL, waited=True)
        assert rules(now=NOW + DAY + 60).before(call, own) is None
        assert rules(now=NOW + DAY + 61).before(call, own) is not None

    @pytest.mark.parametrize("not_before", [0.0, NOW - DAY, NOW])
    def test_begins_at_once_when_not_before_is_over(self, not_before: float) -> None:
        """Or when a dead letter is made again: it was accepted then."""
        own = Policy(not_before=not_before, max_age=60.0)
        call = replace(CALL, waited=True)
        assert rules(now=NOW + 60).before(call, own) is None
        assert rules(now=NOW + 55).decide(call, request(own), FAILED) == Requeue(5.0)
        assert rules(now=NOW + 61).before(call, own) is not None

    def test_of_the_settings_is_for_calls_that_say_nothing(self) -> None:
        policy = rules(now=NOW + 61, max_age=60.0)
        assert isinstance(policy.before(CALL, USUAL), DeadLetter)
        assert policy.before(CALL, Policy(max_age=62.0)) is None

    def test_does_not_go_on_while_its_destination_is_paused(self) -> None:
        own = Policy(max_age=60.0)
        policy = rules(now=NOW + 100)
        assert policy.before(CALL, own, paused=40.0) is None
        assert policy.before(CALL, own, paused=39.0) is not None
        asked = request(own)
        assert policy.decide(CALL, asked, FAILED, paused=45.0) == Requeue(5.0)
        decision = policy.decide(CALL, asked, FAILED, paused=44.0)
        assert isinstance(decision, DeadLetter)
        assert decision.word == MAX_AGE

    def test_whichever_limit_comes_first_ends_it(self) -> None:
        own = request(Policy(max_age=60.0, max_attempts=2))
        failed = CALL.next_attempt("503")
        early = rules(now=NOW + 1).decide(failed, own, FAILED)
        told = "max_attempts: 2 failed, the last with 503"
        assert early == DeadLetter(told, MAX_ATTEMPTS)
        late = rules(now=NOW + 59).decide(CALL, own, FAILED)
        assert isinstance(late, DeadLetter)
        assert late.reason.startswith("max_age")

    def test_does_not_undo_a_success(self) -> None:
        own = request(Policy(max_age=60.0))
        assert rules(now=NOW + 61).decide(CALL, own, Outcome(200)) == Ack()


class TestFirstAttempt:
    def test_is_made_at_once_unless_somebody_says_otherwise(self) -> None:
        assert rules().before(CALL, USUAL) is None
        assert rules().before(CALL, Policy(labels=("a",))) is None

    @pytest.mark.parametrize("own", [Policy(delay=60.0), Policy(not_before=NOW + 60)])
    def test_waits_when_no_queue_has_let_it_wait(self, own: Policy) -> None:
        """It comes of another producer, of FAST_PUBLISH, or of the spool."""
        assert rules(now=NOW + 20).before(CALL, own) == Requeue(40.0)
        assert rules(now=NOW + 60).before(CALL, own) is None

    def test_waits_once_whatever_the_clock_says_then(self) -> None:
        """A clock that was set back must not have it wait for hours more."""
        waited = replace(CALL, waited=True)
        assert rules(now=NOW - HOUR).before(waited, Policy(delay=60.0)) is None
        failed = CALL.next_attempt("503")
        assert rules(now=NOW - HOUR).before(failed, Policy(delay=60.0)) is None


class TestPermanent:
    @pytest.mark.parametrize("status", [400, 404, 410, 499])
    def test_answers_end_it_at_once(self, status: int) -> None:
        own = Policy(permanent=frozenset(("4xx",)))
        decision = decide(Outcome(status), own)
        assert decision == DeadLetter(f"permanent: {status}", PERMANENT)

    def test_others_do_not(self) -> None:
        own = Policy(permanent=frozenset(("410", "5xx")))
        assert decide(Outcome(411), own) == Requeue(5.0)
        assert decide(Outcome(error="no answer"), own) == Requeue(5.0)

    def test_of_the_settings_are_for_calls_that_say_nothing(self) -> None:
        policy = rules(permanent=frozenset(("410",)))
        assert isinstance(policy.decide(CALL, request(), Outcome(410)), DeadLetter)
        none = request(Policy(permanent=frozenset()))
        assert policy.decide(CALL, none, Outcome(410)) == Requeue(5.0)


@pytest.mark.parametrize("delay", [9 * HOUR, 18 * HOUR])
def test_a_day_of_waiting(delay: float) -> None:
    """Each attempt a delay after the one before, until the day is over."""
    own = request(Policy(max_age=DAY, backoff=Backoff(steps=(delay,))))
    call, now, attempts = CALL, NOW, []
    while True:
        attempts.append((now - NOW) / HOUR)
        decision = rules(now=now).decide(call, own, FAILED)
        if not isinstance(decision, Requeue):
            break
        now += decision.delay
        call = call.next_attempt("503")
    assert attempts == [hour for hour in (0, 9, 18) if hour % (delay / HOUR) == 0]
    assert isinstance(decision, DeadLetter)
