"""What the rest of mspc may ask of the journal, and what it answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from mspc.journal.events import Accepted, Attempted, Decided, Event


class Recorder(Protocol):
    """Where events go.

    Attributes:
        body_bytes: so much of a body an Accepted is to keep.
        on: whether anybody listens: nobody has to make an event that nobody reads.
    """

    body_bytes: int
    on: bool

    def record(self, event: Event) -> None:
        """Never waits, never raises; what there is no room for is dropped, counted."""


# In the place of a status: the last event of a call had neither one nor an error.
NEITHER = "none"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which calls; what is empty or None does not matter.

    Attributes:
        states: one of these; see calls/words.py. What is `in_flight` the journal does
            not know: who asks says it in `flying`.
        flying: ids of calls; those of them that are open are wanted, too, whatever
            `states` says.
        destination: exactly this one.
        url_prefix: what the URL begins with.
        method: upper case.
        label: one of its labels.
        reason: of its death.
        error: of its last attempt.
        status: of its last answer: "404", or "4xx"; NEITHER.
        created_after: Unix seconds, exclusive.
        created_before: the same.
        attempts_min: at least so many were made.
    """

    states: frozenset[str] = frozenset()
    destination: str = ""
    url_prefix: str = ""
    method: str = ""
    label: str = ""
    reason: str = ""
    error: str = ""
    status: str = ""
    created_after: float | None = None
    created_before: float | None = None
    attempts_min: int = 0
    flying: tuple[str, ...] = ()


EVERYTHING = Filter()


class Seen(Struct, frozen=True, gc=False):
    """A call, as the journal knows it. A page makes a thousand.

    Attributes:
        id: the call's.
        state: see calls/words.py; never `in_flight`.
        method, url, destination, labels: as in Accepted.
        created_at: Unix seconds.
        next_at: when its next attempt is due, Unix seconds; None when it is finished.
        attempts: how many were made.
        max_attempts: 0 when the call does not say.
        body_bytes: how long its body is.
        finished_at: Unix seconds; None when it is not.
        reason: of its death; of a cancelled one, why.
        last: its last attempt; None when there was none.
        headers, body: as in Accepted, when one call alone was asked for.
    """

    id: str
    state: str
    method: str
    url: str
    destination: str
    labels: tuple[str, ...]
    created_at: float
    next_at: float | None
    attempts: int
    max_attempts: int
    body_bytes: int
    finished_at: float | None
    reason: str
    last: Attempted | None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def accepted(self) -> Accepted:
        """What an event of it says of the call, without its headers and its body."""
        return Accepted(
            id=self.id,
            at=self.created_at,
            method=self.method,
            url=self.url,
            destination=self.destination,
            labels=self.labels,
            max_attempts=self.max_attempts,
            body_bytes=self.body_bytes,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Some calls, newest first.

    Attributes:
        calls: perhaps fewer than asked for: a page looks at a bounded number of rows.
        next: where the next page begins; None after the last one.
    """

    calls: Sequence[Seen]
    next: int | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many calls there are among those that were looked at.

    Attributes:
        calls: of the wanted ones.
        next: where counting goes on; None after the last call.
    """

    calls: int
    next: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters that have one cause.

    Attributes:
        count: how many.
        first_at, last_at: when the first and the last of them died, Unix seconds.
        latest_id: the last one.
        answer: the beginning of what the service answered to it.
    """

    reason: str
    status: int | None
    error: str
    destination: str
    count: int
    first_at: float
    last_at: float
    latest_id: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a destination was attempted, as far as this process has seen.

    Attributes:
        attempts, succeeded: in the last 5 minutes, the one that runs among them.
        attempts_hour, succeeded_hour: the same of the last 60.
    """

    attempts: int = 0
    succeeded: int = 0
    attempts_hour: int = 0
    succeeded_hour: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """How many calls there are, of one destination or of all.

    Attributes:
        states: by state.
        oldest_due: of the open ones, but for those that may have ended in a crash, Unix
            seconds; None when there is none.
        last: the last attempt; None when there was none.
        pace: of one destination.
    """

    states: dict[str, int] = field(default_factory=dict)
    oldest_due: float | None = None
    last: Attempted | None = None
    pace: Pace = Pace()


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened lately, minute by minute, the oldest first, 60 of them; or hour by
    hour, 24 of them.

    Attributes:
        accepted: calls.
        attempts: of them.
        succeeded: of these, answered 2xx.
        died: calls that became dead letters.
    """

    accepted: tuple[int, ...]
    attempts: tuple[int, ...]
    succeeded: tuple[int, ...]
    died: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """How things stand and how it goes, at one moment.

    Attributes:
        tally: of all calls.
        minutes: of the last hour, as far as this process has seen.
        hours: the same of the last 24 hours.
    """

    tally: Tally
    minutes: Rates
    hours: Rates


class View(Protocol):
    """What can be asked. Each answer includes what was recorded before the question.

    Every method may raise JournalUnavailable: it is off, or its file is away.
    """

    @property
    def scope(self) -> str:
        """`all` when it has the events of every instance, `instance` when only this
        one's.
        """

    @property
    def dropped(self) -> int:
        """How many events there was no room for since the start."""

    def call(self, call_id: str) -> Seen | None:
        """One call, with headers and body; None when the journal does not know it."""

    def attempts(self, call_id: str) -> Sequence[Attempted]:
        """Those that failed, and the last one; in order."""

    def calls(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> Page:
        """Calls, newest first.

        Args:
            wanted: which.
            after: Page.next of the page before.
            limit: how many at most.
        """

    def looks(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> Iterator[Page]:
        """The same calls, some at a time: the pages, one after the other, make one.

        Between them it rests, while other calls come and go, half as long as the look
        has taken and what was done with its calls.
        """

    def count(self, wanted: Filter, after: int | None = None) -> Count:
        """How many of the next thousands of calls are wanted, newest first.

        Args:
            wanted: which.
            after: Count.next of the count before.
        """

    def groups(self) -> Sequence[Group]:
        """Dead letters by cause, the most first."""

    def destinations(
        self, most: int | None = None, names: Sequence[str] = ()
    ) -> dict[str, Tally]:
        """Those with open or dead calls, or attempted in the last hour, by name. Of all
        of them, it takes long.

        Args:
            most: so many at most, those with the most open calls, then those that were
                attempted last; None for all.
            names: and these, if they have any.
        """

    def tally(self) -> Tally:
        """Of all calls. Takes no time."""

    def summary(self) -> Summary:
        """That, and how it goes. Takes no time."""

    def decisions(
        self, target: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> Sequence[Decided]:
        """What was decided, newest first; of one target, or of all.

        Args:
            target: see Decided; empty for all.
            kinds: of these; without any, of all but `chunk`.
            limit: how many at most.
        """
