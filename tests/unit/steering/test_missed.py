"""What the journal lost in a crash is told again."""

from collections.abc import Callable, Iterator
from typing import cast

import pytest
from gevent.event import Event

from mspc.calls.accepted import Accepted as Remembered
from mspc.calls.call import Call, Outcome, first_call_id
from mspc.calls.networks import NetworkRules
from mspc.calls.requests import Requests
from mspc.errors import JournalUnavailable, QueueFailed, QueueUnavailable
from mspc.journal.events import Accepted, Attempted, Decided, attempted
from mspc.queues.base import Kept
from mspc.steering.ended import Ended
from mspc.steering.missed import (
    AGAIN_SECONDS,
    BEFORE_SECONDS,
    FIRST_STEPS,
    MAKE_UP_AGAIN_SECONDS,
    REST_SECONDS,
    RESTS,
    Missed,
)
from tests.support.memory import MemoryQueue
from tests.support.recorded import Recorded
from tests.support.waiting import eventually

NOW = 1_800_000_000.0
PAYLOAD = b'{"url": "http://service.test/x", "body": "12345"}'


def call(at: float, payload: bytes = PAYLOAD) -> Call:
    return Call(payload, f"{first_call_id(at)[:-1]}1", at)


class Journal(Recorded):
    """Lacks what its world says."""

    def __init__(self, world: "World") -> None:
        super().__init__(body_bytes=3)
        self._world = world
        self.to_make_up = world.to_make_up

    def last_at(self) -> float:
        return self._world.last_at()

    def cut_off(self) -> bool:
        return self._world.cut_off

    def knows_nothing(self) -> None:
        self._world.began_anew.append(len(self._world.completed))

    def completed(self) -> None:
        self._world.completed.append(len(self._world.looked))


class World:
    """
    Attributes:
        waited: for how many seconds, each time.
        ticks: seconds that pass from one look at the timer to the next.
        looked: what was given to whoever tells of calls that ended.
        finished: with what it was asked to go on with what was begun.
        failures: what that raises, as long as there are some.
        completed: how often that was, when nothing was missing any more.
        doubted: since when open calls were told to have ended perhaps.
        to_make_up: set when something of after the start is missing.
        began_anew: how often it was noted that the journal is a new one, before what.
        reminded: how often it was told of what is in force, each time.
    """

    def __init__(
        self, *calls: Call, last_at: float = NOW, cut_off: bool = False
    ) -> None:
        self.queue = MemoryQueue()
        self.queue.start(lambda failure: None)
        for one in calls:
            self.queue.put(one)
        self.to_make_up = Event()
        self.journal = Journal(self)
        self.waited: list[float] = []
        self.after_wait: Callable[[], object] = lambda: None
        self.last_at: Callable[[], float] = lambda: last_at
        self.cut_off = cut_off
        self.looked: list[tuple[float, float]] = []
        self.finished: list[float] = []
        self.failures: list[QueueUnavailable] = []
        self.completed: list[int] = []
        self.doubted: list[float | None] = []
        self.reminded: list[int] = []
        self.began_anew: list[int] = []
        self.now, self.ticks = 0.0, 0.0
        self.missed = Missed(
            self.queue,
            self.journal,
            Requests(NetworkRules(), Remembered()).read,
            cast(Ended, self),
            self,
            "here",
            self.wait,
            lambda: NOW + 9,
            self.tick,
        )

    def tick(self) -> float:
        self.now += self.ticks
        return self.now

    def tell(self, before: float, last_at: float) -> Iterator[None]:
        self.looked.append((before, last_at))
        yield

    def finish(self, last_at: float) -> Iterator[None]:
        assert not self.completed
        self.finished.append(last_at)
        if self.failures:
            raise self.failures.pop()
        yield

    def remind(self) -> None:
        self.reminded.append(len(self.looked))

    def doubt(self, since: float | None) -> None:
        self.doubted.append(since)

    def died(self, about: Accepted, dead: Kept) -> Attempted | None:
        return attempted(
            about, dead.attempts, NOW, Outcome(), "dead", reason=dead.reason
        )

    def wait(self, event: Event, seconds: float) -> None:
        self.waited.append(seconds)
        self.after_wait()

    @property
    def told(self) -> list[str]:
        return [
            event.id for event in self.journal.events if isinstance(event, Accepted)
        ]


def test_what_came_after_the_last_event_is_told() -> None:
    old, recent = call(NOW - BEFORE_SECONDS - 1), call(NOW - BEFORE_SECONDS + 1)
    world = World(old, recent)
    world.missed.run()
    (event,) = world.journal.events
    assert isinstance(event, Accepted)
    assert (event.id, event.at) == (recent.id, recent.accepted_at)
    assert event.destination == "http://service.test:80"
    assert (event.body, event.body_bytes) == (b"123", 5)
    assert world.waited == [REST_SECONDS]


def test_a_dead_letter_that_nobody_told_of_is_told() -> None:
    """Not one that has died since the start: that is told of by whoever buries it."""
    world = World(cut_off=True)
    before = NOW - BEFORE_SECONDS
    for number, died_at in enumerate((before - 1, before + 1, NOW + 10)):
        world.queue.store.bury(call(NOW - 100 - number), f"max_attempts: {number}")
        world.queue.store.died_at[-1] = died_at
    world.missed.start()
    eventually(lambda: world.completed)
    deaths = [one for one in world.journal.events if isinstance(one, Attempted)]
    assert [one.reason for one in deaths] == ["max_attempts: 1"]
    assert world.told == [call(NOW - 101).id, call(NOW - 102).id]


def test_it_takes_a_small_part_of_the_time_when_it_is_not_done_soon() -> None:
    world = World(cut_off=True)
    world.ticks = 2.0

    def tell(before: float, last_at: float) -> Iterator[None]:
        yield from [None] * (FIRST_STEPS + 2)

    world.tell = tell  # type: ignore[method-assign]
    world.missed.run()
    long = RESTS * world.ticks
    assert world.waited[: FIRST_STEPS + 2] == [REST_SECONDS] * FIRST_STEPS + [long] * 2


def test_a_new_journal_is_told_all() -> None:
    calls = [call(NOW - 1000 * number) for number in range(3)]
    world = World(*calls, last_at=0.0)
    world.missed.run()
    assert set(world.told) == {one.id for one in calls}
    assert world.looked == [(NOW + 9, 0.0)]  # and how often each was attempted
    assert (world.began_anew, world.completed) == ([0], [1])


def test_what_begins_anew_later_has_happened_all_the_same() -> None:
    """Else what becomes of it is older, until then, and all that follows, too."""
    later = call(NOW + 3600)
    world = World(later, last_at=0.0)
    world.missed.run()
    (event,) = world.journal.events
    assert isinstance(event, Accepted)
    assert (event.id, event.at, event.due) == (later.id, NOW + 9, NOW + 3600)


def test_what_is_no_call_is_left_to_its_attempt() -> None:
    broken, good = call(NOW, b"none"), call(NOW + 1)
    world = World(broken, good)
    world.missed.run()
    assert world.told == [good.id]


def test_it_comes_again_when_something_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And says so once, not every second."""
    caplog.set_level("INFO")
    world = World(call(NOW))
    journal, queue = JournalUnavailable("it is away"), QueueUnavailable("it is too")
    failures = iter([journal, journal, queue])

    def last_at() -> float:
        for failure in failures:
            raise failure
        return NOW

    world.last_at = last_at
    world.missed.run()
    assert len(world.told) == 1
    assert world.waited == [*3 * [AGAIN_SECONDS], REST_SECONDS]
    told = "The journal is completed later: "
    assert caplog.messages == [told + "it is away", told + "it is too"]


def test_a_store_that_has_failed_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    """The service stops with it, and the rest is told after the next start."""
    world = World(call(NOW), cut_off=True)

    def recent(since: float) -> Iterator[list[tuple[Call, Kept | None]]]:
        yield [(call(NOW), None)]
        raise QueueFailed("queue.db failed: disk I/O error")

    world.queue.recent = recent  # type: ignore[method-assign]
    world.missed.run()
    assert len(world.told) == 1
    assert world.waited == [REST_SECONDS]
    assert world.completed == []
    assert caplog.text == ""


def test_of_a_crash_is_told_once() -> None:
    """However often what was begun cannot be finished yet."""
    world = World(cut_off=True)
    world.queue.looks_up = False
    world.failures = [QueueUnavailable("it is away"), QueueUnavailable("still")]
    world.missed.start()
    eventually(lambda: world.completed)
    (told,) = world.journal.events
    assert isinstance(told, Decided)
    assert world.finished == [NOW, NOW, NOW]


def test_a_stop_ends_it() -> None:
    world = World(call(NOW), call(NOW + 1))
    read: list[int] = []

    def recent(since: float) -> Iterator[list[tuple[Call, Kept | None]]]:
        for number in range(3):
            read.append(number)
            world.missed.stop()
            yield [(call(NOW), None)]

    world.queue.recent = recent  # type: ignore[method-assign]
    world.missed.run()
    assert read == [0]


def test_after_a_crash_it_is_asked_what_ended() -> None:
    world = World(call(NOW), cut_off=True)
    world.missed.start()
    eventually(lambda: world.completed)
    assert world.looked == [(NOW + 9, NOW)]
    assert world.finished == [NOW]
    assert len(world.told) == 1
    assert world.completed == [1]
    assert world.doubted == [NOW + 9, None]


def test_after_a_stop_nothing_has_ended_unnoticed() -> None:
    world = World(call(NOW))
    world.missed.run()
    assert world.looked == []
    assert world.finished == []
    assert world.completed == [0]
    assert world.doubted == []


def test_what_is_cut_short_is_not_complete() -> None:
    world = World(call(NOW), cut_off=True)
    world.after_wait = world.missed.stop
    world.missed.run()
    assert world.looked == []
    assert world.completed == []
    assert None not in world.doubted


@pytest.mark.parametrize("cut_off", [False, True])
def test_of_a_queue_that_cannot_be_asked_only_the_crash_is_told(cut_off: bool) -> None:
    world = World(call(NOW), cut_off=cut_off)
    world.queue.looks_up = False
    world.missed.start()
    eventually(lambda: world.completed)
    kinds = {
        (event.kind, event.at, event.who, event.targets)
        for event in world.journal.events
        if isinstance(event, Decided)
    }
    assert kinds == ({("crashed", NOW + 9, "mspc", ("here",))} if cut_off else set())
    assert world.looked == []
    assert world.told == []
    assert world.finished == ([NOW] if cut_off else [])


def test_what_is_missing_later_is_told_too_and_nothing_is_finished_again() -> None:
    world = World(call(NOW - 0.5))
    world.missed.start()
    eventually(lambda: world.completed)
    world.cut_off = True
    for number in (1, 2):
        world.to_make_up.set()
        eventually(lambda times=number: len(world.completed) > times)  # type: ignore[misc]
        assert not world.to_make_up.is_set()
        eventually(lambda: world.waited[-1] == MAKE_UP_AGAIN_SECONDS)
    world.missed.stop()
    assert world.looked == [(NOW + 9, NOW)] * 2
    assert world.reminded == [0, 1]
    assert not world.finished


def test_a_file_that_is_replaced_while_it_is_completed_is_told_what_is_in_force() -> (
    None
):
    world = World(call(NOW - 0.5))
    world.to_make_up.set()
    world.missed.run()
    assert world.reminded == [0]
    assert not world.to_make_up.is_set()


def test_what_is_missing_where_nothing_is_looked_up_is_read_at_the_next_start() -> None:
    world = World(cut_off=True)
    world.queue.looks_up = False
    world.missed.make_up()
    assert (world.reminded, world.journal.events, world.completed) == ([0], [], [])
