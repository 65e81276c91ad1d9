"""Bulk jobs: what was planned, each call once, also when the process dies."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import gevent
import pytest
from msgspec import structs

from mspc.calls.words import DEAD, GONE, QUEUED, SUCCEEDED, WAITING
from mspc.errors import JournalUnavailable, NotPossible, QueueFailed
from mspc.journal.base import EVERYTHING, Filter, Page, View
from mspc.journal.events import Accepted, Attempted, Decided
from mspc.queues.base import Queue
from mspc.steering.base import Action, Job, Plan
from mspc.steering.chunks import CHUNK, PASS_CHUNK, PASS_SECONDS
from mspc.steering.earlier import KEPT_JOBS
from mspc.steering.jobs import AGAIN_SECONDS
from mspc.steering.operator import Operator
from mspc.steering.reach import Reach, Reached
from tests.support.waiting import eventually
from tests.unit.steering.world import NOW, URL, World

OTHER = "http://other.test:8080"


class Killed(BaseException):
    """The process is gone."""


def killed() -> None:
    raise Killed


def ids(count: int, prefix: str = "d") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def ended(operator: Operator, job: Job) -> Job:
    """The job when nothing happens any more."""
    gevent.idle()
    found = operator.job(job.id)
    assert found is not None
    return found


def counts(job: Job) -> tuple[str, int, int, int]:
    return job.status, job.matched, job.done, job.failed


def targets(world: World, kind: str) -> list[str]:
    world.journal.flush()
    decided = world.journal.decided
    return [one for each in decided if each.kind == kind for one in each.targets]


@pytest.mark.parametrize("state", [DEAD, WAITING])
def test_what_takes_off_while_its_chunk_is_done_again_was_reached(
    world: World, state: str
) -> None:
    """It was made due before the crash, and its journal was not told."""
    world.journal.add("1", state=state)
    world.queue.add("1", state=QUEUED)
    flies = iter([False, True])
    reach = Reach(
        cast(Queue, world.queue), cast(View, world.journal), lambda _: next(flies)
    )
    assert reach.act_again("retry", ["1"], NOW).done == 1
    assert world.queue.revived() == []


def test_what_was_made_due_before_a_crash_and_is_not_made_yet_was_reached(
    world: World,
) -> None:
    world.journal.add("1", state=WAITING)
    world.queue.add("1", state=QUEUED)
    reach = Reach(
        cast(Queue, world.queue),
        cast(View, world.journal),
        world.in_flight.__contains__,
    )
    assert reach.act_again("retry", ["1"], NOW) == Reached(1, ["1"])


def test_a_plan_counts_what_the_action_is_for_and_changes_nothing(world: World) -> None:
    world.add(*ids(30), state=DEAD)
    world.add(*ids(20, "w"), state=WAITING)
    world.add(*ids(10, "q"), state=QUEUED)
    world.journal.add("done", state=SUCCEEDED)
    world.journal.looked_at = 7
    operator = world.operator()
    assert operator.plan("retry", EVERYTHING).matched == 50
    assert operator.plan("cancel", EVERYTHING).matched == 30
    newest = ["d29", "d28", "d27", "d26", "d25"]
    assert operator.plan("delete", EVERYTHING) == Plan(30, False, newest)
    assert operator.plan("delete", Filter(destination=OTHER)) == Plan(0, False, [])
    assert operator.plan("cancel", Filter(frozenset({DEAD}))) == Plan(0, False, [])
    assert world.queue.asked == []
    assert world.journal.decided == []


@pytest.mark.parametrize(("there", "more"), [(10_000, False), (10_001, True)])
def test_a_plan_counts_to_ten_thousand(world: World, there: int, more: bool) -> None:
    world.journal.add(*ids(there), state=DEAD)
    plan = world.operator().plan("delete", EVERYTHING)
    assert (plan.matched, plan.more, len(plan.sample)) == (10_000, more, 5)


def test_a_plan_for_a_page_looks_at_some_calls_only(world: World) -> None:
    world.journal.add("oldest", state=DEAD)
    world.journal.add(*ids(50), state=SUCCEEDED)
    world.journal.add("newest", state=DEAD)
    world.journal.looked_at = 5
    operator = world.operator()
    newest = Plan(1, True, ["newest"])
    assert operator.plan("delete", EVERYTHING, soon=True) == newest
    both = Plan(2, False, ["newest", "oldest"])
    assert operator.plan("delete", EVERYTHING) == both


def test_a_plan_says_what_rabbitmq_cannot(world: World) -> None:
    world.add(*ids(3), state=DEAD)
    world.add(*ids(2, "w"), state=WAITING)
    world.queue.looks_up = False
    operator = world.operator()
    assert operator.plan("retry", EVERYTHING).matched == 3
    with pytest.raises(NotPossible) as refused:
        operator.plan("retry", Filter(frozenset({WAITING})))
    assert refused.value.code == "waits_in_rabbitmq"


def test_of_some_calls_those_are_named_that_an_action_is_for(world: World) -> None:
    for number, state in enumerate((DEAD, WAITING, QUEUED, SUCCEEDED)):
        world.add(f"c{number}", state=state)
    operator, asked = world.operator(), ["c3", "c2", "c1", "c0", "nobody knows it"]
    assert operator.named("retry", asked) == ["c1", "c0"]
    assert operator.named("cancel", asked) == ["c2", "c1"]
    assert operator.named("delete", asked) == ["c0"]
    assert operator.named("delete", ["nobody knows it"]) == []
    world.queue.looks_up = False
    assert operator.named("retry", asked) == ["c0"]
    with pytest.raises(NotPossible, match="cannot be looked up"):
        operator.named("retry", ["c1"])


def test_a_thousand_of_five_thousand_dead_letters_go_again(world: World) -> None:
    for number in range(5000):
        world.add(f"d{number}", state=DEAD, url=OTHER if number % 5 else URL)
    wanted = Filter(destination=URL)
    with world.steered() as operator:
        assert operator.plan("retry", wanted).matched == 1000
        job = operator.begin("retry", wanted, "admin", reason="it is mended")
        assert counts(job) == ("running", 0, 0, 0)
        job = ended(operator, job)
    assert counts(job) == ("done", 1000, 1000, 0)
    assert (job.who, job.reason, job.started_at) == ("admin", "it is mended", NOW)
    expected = {f"d{number}" for number in range(0, 5000, 5)}
    assert Counter(world.queue.revived()) == dict.fromkeys(expected, 1)
    assert {one for one, is_ in world.queue.there.items() if is_ == QUEUED} == expected
    assert sorted(targets(world, "retried")) == sorted(expected)
    chunk = next(one for one in world.journal.decided if one.kind == "retried")
    assert (chunk.who, chunk.reason) == ("admin", "it is mended")
    assert chunk.details == {"job": job.id}


def test_a_retry_is_as_fast_as_it_may_be(world: World) -> None:
    world.add(*ids(101), state=DEAD)
    with world.steered() as operator:
        job = ended(operator, operator.begin("retry", EVERYTHING, "admin"))
        assert world.waits == [1.0, 1.0]
        assert job.finished_at == NOW + 2
        world.waits.clear()
        world.add(*ids(3, "slow"), state=DEAD)
        slow = operator.begin("retry", EVERYTHING, "admin", limit=3, per_second=0.5)
        ended(operator, slow)
        assert world.waits == [2.0, 2.0]


def test_what_is_not_looked_up_goes_in_large_portions(world: World) -> None:
    """Each of them is a pass through all dead letters."""
    world.add(*ids(PASS_CHUNK + 100), state=DEAD)
    world.queue.looks_up = False
    with world.steered() as operator:
        ended(operator, operator.begin("retry", EVERYTHING, "admin", per_second=50))
        assert world.waits == [PASS_SECONDS, PASS_SECONDS]
        world.waits.clear()
        world.add(*ids(PASS_CHUNK + 100, "more"), state=DEAD)
        ended(operator, operator.begin("retry", EVERYTHING, "admin", per_second=500))
        assert world.waits == [1.0]


@pytest.mark.parametrize(
    ("action", "kind", "state"),
    [("cancel", "cancelled", QUEUED), ("delete", "deleted", DEAD)],
)
def test_cancelling_and_deleting_take_no_time(
    world: World, action: Action, kind: str, state: str
) -> None:
    many = ids(2 * CHUNK + 1)
    world.add(*many, state=state)
    world.add("done", state=SUCCEEDED)
    with world.steered() as operator:
        job = ended(operator, operator.begin(action, EVERYTHING, "admin"))
    assert counts(job) == ("done", 201, 201, 0)
    assert world.waits == []
    assert list(world.queue.there) == ["done"]
    assert sorted(targets(world, kind)) == sorted(many)


def test_a_job_does_no_more_than_its_limit(world: World) -> None:
    world.add(*ids(300), state=DEAD)
    with world.steered() as operator:
        begun = operator.begin("delete", EVERYTHING, "admin", limit=130)
        assert counts(ended(operator, begun)) == ("done", 130, 130, 0)
    assert len(world.queue.there) == 170


@pytest.mark.parametrize("before", [None, NOW + 60])
def test_what_comes_after_its_begin_is_none_of_a_job_s(
    world: World, before: float | None
) -> None:
    world.add("old", state=DEAD)
    with world.steered() as operator:
        begun = operator.begin("retry", Filter(created_before=before), "admin")
        world.journal.add("new", state=DEAD, at=NOW + 1)
        world.queue.add("new", state=DEAD)
        assert ended(operator, begun).matched == 1
    assert world.queue.there == {"old": QUEUED, "new": DEAD}


def test_a_job_is_for_no_later_calls_than_it_says(world: World) -> None:
    world.journal.add("older", state=DEAD, at=NOW - 60)
    world.journal.add("newer", state=DEAD, at=NOW - 30)
    world.queue.add("older", "newer", state=DEAD)
    with world.steered() as operator:
        wanted = Filter(created_before=NOW - 45)
        ended(operator, operator.begin("delete", wanted, "admin"))
    assert world.queue.there == {"newer": DEAD}


def test_a_job_by_ids_does_what_fits(world: World) -> None:
    world.add("dead", state=DEAD)
    world.add("waits", state=WAITING)
    world.add("done", state=SUCCEEDED)
    world.add("flies", state=WAITING)
    world.in_flight.add("flies")
    wanted = ["dead", "dead", "waits", "done", "nobody", "flies"]
    with world.steered() as operator:
        job = ended(operator, operator.begin("retry", wanted, "admin"))
    assert counts(job) == ("done", 5, 2, 3)
    assert sorted(targets(world, "retried")) == ["dead", "waits"]


def test_a_job_that_nothing_fits_is_done(world: World) -> None:
    world.add("1", state=DEAD)
    wanted = Filter(frozenset({DEAD}))
    with world.steered() as operator:
        job = ended(operator, operator.begin("cancel", wanted, "admin"))
    assert counts(job) == ("done", 0, 0, 0)
    assert world.queue.there == {"1": DEAD}


def test_jobs_run_one_after_another(world: World) -> None:
    world.add(*ids(60), state=DEAD)
    world.add(*ids(60, "q"), state=QUEUED)
    with world.steered() as operator:
        first = operator.begin("retry", EVERYTHING, "admin")
        second = operator.begin("cancel", Filter(destination=URL), "admin")
        assert [job.id for job in operator.jobs()] == [second.id, first.id]
        assert ended(operator, first).status == "done"
        assert ended(operator, second).status == "done"
    verbs = [verb for verb, _ in world.queue.asked]
    assert verbs == ["revive", "revive", "withdraw", "withdraw"]


def test_a_queue_that_is_away_fails_no_job(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It had done the chunk, and its answer got lost: each call goes once."""
    world.add(*ids(150), state=DEAD)
    world.queue.failures = 3
    with world.steered() as operator:
        job = ended(
            operator, operator.begin("retry", EVERYTHING, "admin", per_second=100.0)
        )
    assert counts(job) == ("done", 150, 150, 0)
    assert world.waits == [1.0, 1.0, 1.0, 1.0]
    assert Counter(targets(world, "retried")) == dict.fromkeys(ids(150), 1)
    assert caplog.text.count("waits and tries again: The broker is away.") == 1


def test_a_chunk_is_decided_when_it_is_begun(world: World) -> None:
    """A call may be dead again before the last one of its chunk is reached."""
    world.add("1", "2", state=DEAD)
    world.queue.failures = 2

    def take_time() -> None:
        world.clock.now += 3

    world.queue.after_verb = take_time
    with world.steered() as operator:
        job = ended(operator, operator.begin("retry", EVERYTHING, "admin"))
    assert job.finished_at == NOW + 11
    world.journal.flush()
    [chunk] = [one for one in world.journal.decided if one.kind == "retried"]
    assert chunk.at == NOW


def test_what_has_succeeded_since_a_lost_answer_stays_so(world: World) -> None:
    world.add("1", "2", state=DEAD)
    world.queue.failures = 1
    world.while_waiting = lambda: world.journal.add("1", state=SUCCEEDED)
    with world.steered() as operator:
        job = ended(operator, operator.begin("retry", EVERYTHING, "admin"))
    assert counts(job) == ("done", 2, 2, 0)
    assert targets(world, "retried") == ["2"]


def test_a_journal_that_is_away_fails_no_job(world: World) -> None:
    world.add(*ids(150), state=QUEUED)

    def mend() -> None:
        world.journal.away = None

    def leave() -> None:
        world.journal.away = JournalUnavailable("its disk is away")
        world.queue.before_verb = lambda: None
        world.while_waiting = mend

    world.queue.before_verb = leave
    with world.steered() as operator:
        job = ended(operator, operator.begin("cancel", EVERYTHING, "admin"))
    assert counts(job) == ("done", 150, 150, 0)
    assert sorted(targets(world, "cancelled")) == sorted(ids(150))


@pytest.mark.parametrize("verbs", [1, 2, 5, 19, 20])
@pytest.mark.parametrize("by_ids", [False, True])
@pytest.mark.parametrize("done_before", [False, True])
def test_a_job_goes_on_after_a_kill_and_each_call_goes_once(
    world: World, verbs: int, by_ids: bool, done_before: bool
) -> None:
    """Killed right before a chunk is done, or right after it; the journal has lost what
    was not yet in its file.
    """
    world.add(*ids(5000), state=DEAD)
    wanted = list(reversed(ids(5000)))[:1000] if by_ids else EVERYTHING
    chunks = itertools.count(1)

    def die() -> None:
        if next(chunks) == verbs:
            raise Killed

    hook = "after_verb" if done_before else "before_verb"
    setattr(world.queue, hook, die)
    operator = world.restored()
    job = operator.begin("retry", wanted, "admin")
    with pytest.raises(Killed):
        operator._jobs.work_off()
    world.journal.lose()
    with world.steered() as again:
        job = ended(again, job)
        assert counts(job) == ("done", 1000, 1000, 0)
    assert sorted(targets(world, "retried")) == sorted(ids(5000)[-1000:])
    queued = [one for one, state in world.queue.there.items() if state == QUEUED]
    assert queued == ids(5000)[-1000:]


def test_what_was_done_before_a_kill_counts_and_is_not_done_again(
    world: World,
) -> None:
    """Calls of the chunk that was cut short are made again before the job goes on."""
    world.add(*ids(300), state=DEAD)
    world.queue.after_verb = killed
    operator = world.restored()
    job = operator.begin("retry", EVERYTHING, "admin", limit=150, per_second=100)
    with pytest.raises(Killed):
        operator._jobs.work_off()
    world.journal.lose()
    world.clock.now += 5
    for one, state in (("d299", SUCCEEDED), ("d298", WAITING), ("d297", DEAD)):
        seen = world.journal.rows[one]
        told = Accepted(one, NOW, "POST", URL, URL)
        last = Attempted(told, 1, world.clock.now)
        world.journal.rows[one] = structs.replace(seen, state=state, last=last)
    world.in_flight.add("d296")
    world.queue.there["d297"] = DEAD
    world.queue.after_verb = lambda: None
    with world.steered() as again:
        assert again.busy() == set(ids(300)[200:])
        assert counts(ended(again, job)) == ("done", 150, 150, 0)
        assert again.busy() == set()
    queued = [one for one, state in world.queue.there.items() if state == QUEUED]
    assert queued == [one for one in ids(300)[150:] if one != "d297"]
    assert Counter(world.queue.revived())["d297"] == 1
    made = {"d299", "d298", "d297", "d296"}
    assert sorted(targets(world, "retried")) == sorted(set(ids(300)[150:]) - made)
    first = next(one for one in world.journal.decided if one.kind == "retried")
    assert first.at == NOW  # what has failed since then counts more


@pytest.mark.parametrize(("action", "state"), [("delete", DEAD), ("cancel", QUEUED)])
def test_what_is_gone_since_a_kill_counts(
    world: World, action: Action, state: str
) -> None:
    world.add(*ids(10), state=state)
    world.queue.after_verb = killed
    operator = world.restored()
    job = operator.begin(action, EVERYTHING, "admin")
    with pytest.raises(Killed):
        operator._jobs.work_off()
    world.journal.lose()
    world.queue.after_verb = lambda: None
    del world.journal.rows["d3"]  # deleted, or forgotten
    world.journal.add("d4", state=GONE)
    world.journal.add("d5", state=SUCCEEDED)
    with world.steered() as again:
        assert counts(ended(again, job)) == ("done", 10, 9, 1)


def test_a_chunk_that_was_done_is_not_taken_up_again(world: World) -> None:
    world.add(*ids(150), state=DEAD)
    operator = world.restored()
    operator.start()
    world.while_waiting = operator._jobs.stop
    job = operator.begin("retry", EVERYTHING, "admin", per_second=100)
    assert counts(ended(operator, job)) == ("running", 100, 100, 0)
    operator.stop()
    again = world.operator()
    again._restore()
    assert again.busy() == set()


def test_nothing_is_done_that_is_not_written_down_before(world: World) -> None:
    world.add(*ids(3), state=DEAD)
    operator = world.restored()
    job = operator.begin("delete", EVERYTHING, "admin")
    world.journal.full = True

    def mend() -> None:
        assert world.queue.asked == []
        world.journal.full = False

    world.while_waiting = mend
    operator._jobs.work_off()
    assert counts(ended(operator, job)) == ("done", 3, 3, 0)


def test_what_a_job_is_about_is_known_when_what_was_before_is(world: World) -> None:
    world.journal.away = JournalUnavailable("its disk is away")
    operator = world.operator()
    operator._restore()
    with pytest.raises(JournalUnavailable):
        operator.busy()
    world.journal.away = None
    operator._restore()
    assert operator.busy() == set()


def test_no_job_is_begun_before_what_was_before_is_known(world: World) -> None:
    """It would be found in the journal then, and taken for one that was cut short."""
    world.add("1", state=DEAD)
    world.journal.away = JournalUnavailable("its disk is away")
    operator = world.restored()
    world.journal.away = None
    with pytest.raises(JournalUnavailable, match="not known yet"):
        operator.begin("delete", EVERYTHING, "admin")
    assert world.journal.decided == []


def test_a_job_that_is_stopped_while_its_instance_starts_stays_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere, and after the journal was asked which jobs there are."""
    world.add(*ids(3), state=DEAD)
    job = world.restored("here").begin("delete", EVERYTHING, "admin")
    elsewhere = world.restored("there")
    decisions, again = world.journal.decisions, world.operator("here")
    world.journal.listen(again._jobs.apply)

    def stopped_then(
        target: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> Sequence[Decided]:
        found = decisions(target, kinds, limit)
        if kinds == ("bulk",) and not target:
            monkeypatch.setattr(world.journal, "decisions", decisions)
            elsewhere.stop_job(job.id, "admin")
        return found

    monkeypatch.setattr(world.journal, "decisions", stopped_then)
    again._jobs.restore()
    again._jobs.work_off()
    assert counts(ended(again, job)) == ("stopped", 0, 0, 0)
    assert list(world.queue.there) == ids(3)


def test_a_damaged_dead_letter_stays_one_after_a_failure(world: World) -> None:
    world.add(*ids(3), state=DEAD)
    world.queue.damaged.add("d1")
    operator = world.restored()
    job = operator.begin("retry", EVERYTHING, "admin")
    world.queue.failures = 1
    operator._jobs.work_off()
    assert counts(ended(operator, job)) == ("done", 3, 2, 1)
    assert world.journal.state("d1") == DEAD


@pytest.mark.parametrize(
    ("action", "state", "kind"),
    [("cancel", QUEUED, "cancelled"), ("delete", DEAD, "deleted")],
)
def test_what_a_job_that_is_stopped_was_doing_is_written_down(
    world: World, action: Action, state: str, kind: str
) -> None:
    """Also when the process dies before it was: else a cancelled call that is gone
    would count as made.
    """
    world.add(*ids(150), state=state)
    operator = world.restored()
    job = operator.begin(action, EVERYTHING, "admin")

    def stopped_and_killed() -> None:
        operator.stop_job(job.id, "admin")
        raise Killed

    world.queue.after_verb = stopped_and_killed
    with pytest.raises(Killed):
        operator._jobs.work_off()
    world.journal.lose()
    world.queue.after_verb = lambda: None
    again = world.restored()
    assert again.busy() == set(ids(150)[-100:])
    again._jobs.work_off()
    assert again.busy() == set()
    world.journal.flush()
    assert set(targets(world, kind)) == set(ids(150)[-100:])
    assert counts(ended(again, job)) == ("stopped", 100, 100, 0)
    asked = len(world.queue.asked)
    world.restored()._jobs.work_off()  # and that is its end
    assert len(world.queue.asked) == asked


def test_a_job_that_is_stopped_ends_its_chunk_when_the_queue_is_back(
    world: World,
) -> None:
    world.add(*ids(3), state=QUEUED)
    operator = world.restored()
    job = operator.begin("cancel", EVERYTHING, "admin")
    world.queue.failures = 3
    world.while_waiting = lambda: operator.stop_job(job.id, "admin")
    operator._jobs.work_off()
    assert world.waits == [1.0] * 3
    world.journal.flush()
    assert sorted(targets(world, "cancelled")) == ids(3)
    assert counts(ended(operator, job)) == ("stopped", 3, 3, 0)


def test_a_job_whose_calls_are_forgotten_has_failed(world: World) -> None:
    """Too much was decided since."""
    world.add(*ids(3), state=DEAD)
    job = world.restored().begin("delete", ids(3), "admin")
    (begun,) = world.journal.decided
    later = {name: one for name, one in begun.details.items() if name != "ids"}
    world.journal.decided[0] = structs.replace(begun, details=later)
    again = world.restored()
    again._jobs.work_off()
    assert counts(ended(again, job)) == ("failed", 0, 0, 0)
    world.journal.flush()
    assert world.journal.decided[-1].details["status"] == "failed"


def test_how_far_a_job_of_another_instance_is_is_not_forgotten_at_a_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came farther after the journal was asked."""
    world.add(*ids(3), state=DEAD)
    elsewhere = world.restored("there")
    world.restored("here").begin("delete", [], "admin")
    job = elsewhere.begin("delete", EVERYTHING, "admin")
    decisions, again = world.journal.decisions, world.operator("here")
    world.journal.listen(again._jobs.apply)

    def done_then(
        target: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> Sequence[Decided]:
        if kinds == ("chunk",):
            monkeypatch.setattr(world.journal, "decisions", decisions)
            elsewhere._jobs.work_off()
            world.journal.flush()
        return decisions(target, kinds, limit)

    monkeypatch.setattr(world.journal, "decisions", done_then)
    again._jobs.restore()
    assert counts(ended(again, job)) == ("done", 3, 3, 0)


def test_a_cancelling_job_goes_on_after_a_kill_and_leaves_what_is_lent(
    world: World,
) -> None:
    world.add(*ids(150), state=QUEUED)
    world.queue.lent.add("d149")

    def die() -> None:
        raise Killed

    world.queue.after_verb = die
    operator = world.restored()
    job = operator.begin("cancel", EVERYTHING, "admin")
    with pytest.raises(Killed):
        operator._jobs.work_off()
    world.journal.lose()
    world.queue.after_verb = lambda: None
    with world.steered() as again:
        assert counts(ended(again, job)) == ("done", 150, 149, 1)
    assert list(world.queue.there) == ["d149"]
    assert world.journal.state("d149") == QUEUED
    assert world.journal.state("d148") == GONE


def test_stopping_the_process_is_no_end_of_a_job(world: World) -> None:
    world.add(*ids(200), state=DEAD)
    operator = world.restored()
    operator.start()
    world.while_waiting = operator._jobs.stop
    job = operator.begin("retry", EVERYTHING, "admin")
    assert counts(ended(operator, job)) == ("running", 50, 50, 0)
    operator.stop()
    operator.stop()
    world.while_waiting = lambda: None
    with world.steered() as again:
        assert counts(ended(again, job)) == ("done", 200, 200, 0)
    assert Counter(world.queue.revived()) == dict.fromkeys(ids(200), 1)


def test_a_job_is_stopped_and_stays_stopped(world: World) -> None:
    world.add(*ids(200), state=DEAD)
    with world.steered() as operator:
        job = operator.begin("retry", EVERYTHING, "admin")
        waiting = operator.begin("delete", EVERYTHING, "admin")
        stopped = operator.stop_job(waiting.id, "admin")
        assert stopped is not None
        assert stopped.status == "stopped"
        world.while_waiting = lambda: operator.stop_job(job.id, "admin")
        job = ended(operator, job)
        assert counts(job) == ("stopped", 50, 50, 0)
        assert job.finished_at is not None
        assert counts(ended(operator, waiting)) == ("stopped", 0, 0, 0)
        assert operator.stop_job(job.id, "admin") == job
        assert operator.stop_job("nobody's", "admin") is None
    with world.steered() as again:
        assert ended(again, job) == job
    assert len(world.queue.revived()) == 50


def test_a_job_keeps_its_pace_when_another_one_is_stopped(world: World) -> None:
    world.add(*ids(200), state=DEAD)
    with world.steered() as operator:
        job = operator.begin("retry", EVERYTHING, "admin")
        waiting = operator.begin("delete", EVERYTHING, "admin")
        world.while_waiting = lambda: operator.stop_job(waiting.id, "admin")
        assert counts(ended(operator, job)) == ("done", 200, 200, 0)
    assert world.waits == [1.0] * 3
    assert world.cut_short == [False] * 3


def test_a_job_that_is_stopped_ends_after_what_it_does(world: World) -> None:
    world.add(*ids(200), state=DEAD)
    with world.steered() as operator:
        job = operator.begin("delete", EVERYTHING, "admin")
        world.queue.before_verb = lambda: operator.stop_job(job.id, "admin")
        job = ended(operator, job)
        assert counts(job) == ("stopped", 100, 100, 0)
    assert len(world.queue.there) == 100
    with world.steered() as again:
        assert again.jobs() == [job]


def test_jobs_are_seen_and_stopped_by_other_instances(world: World) -> None:
    world.add(*ids(200), state=DEAD)
    here, there = world.operator("here"), world.operator("there")
    here.start()
    there.start()
    begun = here.begin("retry", EVERYTHING, "admin")
    assert there.job(begun.id) == begun
    world.while_waiting = lambda: there.stop_job(begun.id, "admin")
    job = ended(here, begun)
    assert counts(job) == ("stopped", 50, 50, 0)
    world.journal.flush()
    assert there.job(begun.id) == job
    here.stop()
    there.stop()
    with world.steered("there") as again:
        assert again.jobs() == [job]


def test_another_instance_does_not_take_a_job_over(world: World) -> None:
    world.add("1", state=DEAD)
    job = world.restored("here").begin("retry", EVERYTHING, "admin")
    with world.steered("there") as there:
        assert ended(there, job).status == "running"
    assert world.queue.asked == []


def test_a_job_that_meets_a_bug_is_failed_and_the_next_one_runs(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.add("1", state=DEAD)
    world.queue.before_verb = lambda: 1 // 0
    with world.steered() as operator:
        first = operator.begin("delete", EVERYTHING, "admin")
        assert counts(ended(operator, first)) == ("failed", 0, 0, 0)
        world.queue.before_verb = lambda: None
        second = operator.begin("delete", EVERYTHING, "admin")
        assert counts(ended(operator, second)) == ("done", 1, 1, 0)
    assert f"job {first.id} failed" in caplog.text


def test_a_job_whose_store_has_failed_goes_on_after_the_restart(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.add(*ids(3), state=DEAD)

    def fail() -> None:
        raise QueueFailed("queue.db failed: disk I/O error")

    world.queue.before_verb = fail
    with world.steered() as operator:
        job = operator.begin("retry", EVERYTHING, "admin")
        assert counts(ended(operator, job)) == ("running", 0, 0, 0)
    world.queue.before_verb = lambda: None
    with world.steered() as again:
        assert counts(ended(again, job)) == ("done", 3, 3, 0)
    assert "Traceback" not in caplog.text


def test_a_job_that_may_be_lost_is_not_begun(world: World) -> None:
    world.add("1", state=DEAD)
    world.journal.full = True
    with world.steered() as operator:
        with pytest.raises(JournalUnavailable, match="Try again"):
            operator.begin("delete", EVERYTHING, "admin")
        gevent.idle()
        assert operator.jobs() == []
    assert world.queue.there == {"1": DEAD}


def test_a_job_that_was_refused_is_not_begun_by_a_restart(world: World) -> None:
    """The journal has taken it down, too late to say so."""
    world.add("1", state=DEAD)
    operator = world.restored()
    world.journal.away = JournalUnavailable("its disk is slow")
    with pytest.raises(JournalUnavailable):
        operator.begin("delete", EVERYTHING, "admin")
    world.journal.away = None
    with world.steered() as again:
        gevent.idle()
        (job,) = again.jobs()
        assert counts(job) == ("stopped", 0, 0, 0)
    assert world.queue.there == {"1": DEAD}


@pytest.mark.parametrize("asked", range(4))
def test_a_journal_that_is_away_at_a_restart_ends_no_job(
    world: World, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    """Whichever of the questions it is that has no answer."""
    world.add(*ids(5), state=DEAD)
    jobs = [world.restored().begin("delete", [one], "admin") for one in ids(2)]
    decisions, numbers = world.journal.decisions, itertools.count()

    def away_once(
        target: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> Sequence[Decided]:
        if next(numbers) == asked:
            raise JournalUnavailable("its disk is slow")
        return decisions(target, kinds, limit)

    again = world.operator()
    monkeypatch.setattr(world.journal, "decisions", away_once)
    with pytest.raises(JournalUnavailable):
        again._jobs.restore()
    assert again.jobs() == []
    again._jobs.restore()
    again._jobs.work_off()
    assert [counts(ended(again, job)) for job in jobs] == [("done", 1, 1, 0)] * 2
    assert sorted(world.queue.there) == ids(5)[2:]


def test_jobs_that_are_to_go_on_are_never_forgotten(world: World) -> None:
    world.add("1", state=DEAD)
    operator = world.restored()
    operator.begin("delete", ["1"], "admin")
    for _ in range(KEPT_JOBS + 1):
        world.clock.now += 1
        last = operator.begin("delete", [], "admin")
    operator.stop_job(last.id, "admin")  # else nobody looks farther than for the last
    with world.steered() as again:
        eventually(lambda: all(job.status != "running" for job in again.jobs()))
    assert world.queue.there == {}


def test_what_is_decided_is_later_than_what_was_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that died while the page was read is on it, and the journal would not
    believe that it was deleted before.
    """
    world.add("1", state=DEAD)
    calls = world.journal.calls

    def slow(*asked: Any) -> Page:
        world.clock.now += 3
        return calls(*asked)

    monkeypatch.setattr(world.journal, "calls", slow)
    with world.steered() as operator:
        ended(operator, operator.begin("delete", EVERYTHING, "admin"))
    world.journal.flush()
    (deleted,) = [one for one in world.journal.decided if one.kind == "deleted"]
    assert deleted.at == NOW + 3


def test_the_last_thousand_jobs_are_remembered(world: World) -> None:
    operator = world.restored()
    begun = []
    for _ in range(KEPT_JOBS + 5):
        begun.append(operator.begin("delete", [], "admin").id)
        world.clock.now += 1
        operator._jobs.work_off()
    newest = begun[:4:-1]
    assert [job.id for job in operator.jobs()] == newest
    with world.steered() as again:
        assert [job.id for job in again.jobs()] == newest
        assert again.job(begun[0]) is None


def test_what_another_version_has_written_is_no_job(world: World) -> None:
    world.restored().begin("delete", [], "admin")
    [decided] = world.journal.decided
    with world.steered() as operator:
        world.journal.take(
            structs.replace(decided, details={"id": "2"}, targets=("2",))
        )
        world.journal.take(
            structs.replace(decided, details={"filter": 3}, targets=("3",))
        )
        assert len(operator.jobs()) == 1


def test_a_chunk_is_done_when_the_journal_has_what_became_of_it(world: World) -> None:
    """Else a call that was deleted would stay a dead letter there."""
    world.add(*ids(3), state=DEAD)
    operator = world.restored()
    job = operator.begin("delete", EVERYTHING, "admin")

    def fill() -> None:
        world.journal.full = True

    def make_room() -> None:
        assert operator.busy() == set(ids(3))
        world.journal.full = False

    world.queue.after_verb, world.while_waiting = fill, make_room
    operator._jobs.work_off()
    assert world.waits == [AGAIN_SECONDS]
    assert sorted(targets(world, "deleted")) == ids(3)
    assert counts(ended(operator, job)) == ("done", 3, 3, 0)
    assert not operator.busy()


@pytest.mark.parametrize("by_ids", [False, True])
def test_a_new_journal_is_told_what_is_to_be_done(world: World, by_ids: bool) -> None:
    world.add(*ids(3), state=DEAD)
    operator = world.restored()
    operator.begin("delete", ids(3) if by_ids else EVERYTHING, "admin")
    world.journal.flush()
    world.journal.decided.clear()
    operator.remind()
    again = world.restored()
    again._jobs.work_off()
    assert sorted(targets(world, "deleted")) == ids(3)
