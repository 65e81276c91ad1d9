"""A checker that cannot fail is worthless: each kind of fault is found."""

from tests.faults.checker import Hit, Outcome, Sent, check

DELAY = 5.0


def sent(call_id: str, outcome: Outcome = "ok", status: int = 202) -> Sent:
    return Sent(call_id, outcome, status, at=0.0, seconds=0.01)


def hit(call_id: str, at: float = 1.0, status: int = 200, correct: bool = True) -> Hit:
    return Hit(call_id, at, correct, status, ended=at + 0.01)


def test_what_went_in_came_out() -> None:
    verdict = check([sent("a"), sent("b")], [hit("a"), hit("b")], DELAY)

    assert verdict.problems(0) == []
    assert (verdict.accepted, verdict.attempts, verdict.duplicated) == (2, 2, 0)


def test_a_call_never_seen_is_lost() -> None:
    verdict = check([sent("a"), sent("b")], [hit("a")], DELAY)

    assert verdict.lost == ("b",)
    assert verdict.problems(0) == ["1 lost: b"]


def test_a_call_that_only_failed_is_lost() -> None:
    assert check([sent("a")], [hit("a", status=500)], DELAY).lost == ("a",)


def test_a_loss_may_be_forgiven() -> None:
    calls = [sent("a"), sent("b"), sent("c")]

    verdict = check(calls, [hit("c")], DELAY, forgiven={"a", "c"})

    assert (verdict.lost, verdict.forgiven) == (("b",), 1)


def test_an_unknown_or_failed_call_is_not_lost() -> None:
    calls = [sent("a", "unknown", 503), sent("b", "unknown", 0), sent("c", "fail", 400)]

    verdict = check(calls, [], DELAY)

    assert verdict.problems(0) == []
    assert (verdict.unknown, verdict.unavailable, verdict.failed) == (2, 1, 1)


def test_a_call_never_sent_or_never_accepted_is_unexpected() -> None:
    verdict = check([sent("a", "fail", 400)], [hit("a"), hit("b")], DELAY)

    assert verdict.unexpected == ("a", "b")
    assert verdict.problems(0) == ["2 unexpected: a, b"]


def test_an_unknown_call_that_was_seen_is_recovered() -> None:
    verdict = check([sent("a", "unknown", 0)], [hit("a")], DELAY)

    assert verdict.recovered == 1
    assert verdict.problems(0) == []


def test_an_attempt_after_a_success_is_a_duplicate() -> None:
    seen = [hit("a", 1), hit("a", 2), hit("a", 3, status=500)]

    verdict = check([sent("a")], seen, DELAY)

    assert verdict.duplicated == 2
    assert verdict.problems(2) == []
    assert verdict.problems(1) == ["2 duplicates, bound 1: a"]


def test_an_attempt_after_a_failure_is_a_retry() -> None:
    seen = [hit("a", 1, status=500), hit("a", 7, status=0), hit("a", 13)]

    verdict = check([sent("a")], seen, DELAY)

    assert verdict.duplicated == 0
    assert verdict.problems(0) == []


def test_another_content_is_corrupted_even_if_another_attempt_was_right() -> None:
    seen = [hit("a", 1, status=500, correct=False), hit("a", 7)]

    verdict = check([sent("a")], seen, DELAY)

    assert verdict.corrupted == ("a",)
    assert verdict.problems(0) == ["1 corrupted: a"]


def test_an_attempt_before_the_delay_is_early() -> None:
    seen = [hit("a", 1, status=500), hit("a", 1.01 + DELAY - 0.06)]

    verdict = check([sent("a")], seen, DELAY)

    assert verdict.problems(0) == ["1 early: a after 4.940 s"]


def test_a_timer_may_ring_50_ms_early() -> None:
    seen = [hit("a", 1, status=500), hit("a", 1.01 + DELAY - 0.04)]

    assert check([sent("a")], seen, DELAY).problems(0) == []


def test_a_redelivery_after_a_fault_is_not_early_but_after_another_one_is() -> None:
    seen = [hit("a", 1, status=0), hit("a", 3)]

    during = check([sent("a")], seen, DELAY, [(2.0, 2.0)])
    long_before = check([sent("a")], seen, DELAY, [(0.1, 0.5)])

    assert (during.excused, during.early) == (1, ())
    assert len(long_before.early) == 1
