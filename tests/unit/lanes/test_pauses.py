"""Which time does not make a call older."""

from mspc.lanes.pauses import REMEMBERED_PAUSES, Pauses


def paused(*spans: tuple[float, float]) -> Pauses:
    pauses = Pauses()
    for begin, end in spans:
        pauses.begin(begin)
        pauses.end(end)
    return pauses


def test_only_the_time_since_counts() -> None:
    pauses = paused((10, 20), (30, 40))
    assert pauses.seconds(0, 100) == 20
    assert pauses.seconds(15, 100) == 15
    assert pauses.seconds(20, 30) == 0
    assert pauses.seconds(35, 36) == 1
    assert pauses.seconds(50, 100) == 0


def test_one_that_goes_on_counts_until_now() -> None:
    pauses = paused((10, 20))
    pauses.begin(50)
    assert pauses.seconds(0, 50) == 10
    assert pauses.seconds(0, 60) == 20
    pauses.begin(55)  # once more: it goes on
    assert pauses.seconds(0, 60) == 20
    pauses.end(70)
    assert pauses.seconds(0, 100) == 30
    pauses.end(90)  # once more: it is over
    assert pauses.seconds(0, 100) == 30


def test_one_may_have_begun_before_somebody_says_so() -> None:
    """It was decided before the process was started."""
    pauses = Pauses()
    pauses.begin(50)
    pauses.begin(20)
    assert pauses.seconds(0, 60) == 40


def test_nothing_counts_twice() -> None:
    pauses = paused((10, 20))
    pauses.begin(15)
    assert pauses.seconds(0, 30) == 20


def test_a_clock_that_was_set_back_makes_no_pause_negative() -> None:
    pauses = paused((10, 5))
    assert pauses.seconds(0, 100) == 0
    pauses.begin(50)
    assert pauses.seconds(0, 40) == 0


def test_many_are_remembered_as_a_few_and_no_call_gets_older_by_it() -> None:
    spans = [(10.0 * n, 10.0 * n + n % 7 + 1) for n in range(100)]
    pauses = paused(*spans)
    exact = [
        sum(max(0.0, end - max(begin, since)) for begin, end in spans)
        for since in range(1000)
    ]
    found = [pauses.seconds(since, 1000) for since in range(1000)]
    assert found[0] == exact[0]
    assert all(one >= other for one, other in zip(found, exact, strict=True))
    latest = 1000 - 10 * (REMEMBERED_PAUSES - 1)
    assert found[latest:] == exact[latest:]
