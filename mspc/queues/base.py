"""The queue contract. One suite, tests/contract, runs against every implementation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mspc.calls.call import Call
from mspc.errors import MspcError
from mspc.lanes.lane import Lane


class Delivery(Protocol):
    """One stored call, lent out to be attempted.

    Exactly one of ack, retry and bury settles it; settling a second time does nothing.
    A delivery that is never settled comes back: when the queue is closed and opened
    again, when the process dies, when the broker loses sight of us. So every failure
    gives a duplicate, never a loss.
    """

    @property
    def call(self) -> Call: ...

    @property
    def lane(self) -> Lane: ...

    @property
    def damage(self) -> str:
        """Why `call` is not what was stored, a sentence; empty when it is."""

    @property
    def alive(self) -> bool:
        """Whether settling it has an effect still; if not, the call comes again."""

    def ack(self) -> None:
        """Done: forget the call."""

    def retry(self, call: Call, delay: float) -> None:
        """Stores `call` durably, due in `delay` seconds, then lets this copy go.

        Raises:
            QueueUnavailable: the new copy could not be stored. This one is kept and
                comes back, not before `delay` seconds have passed.
        """

    def bury(self, call: Call, reason: str) -> None:
        """Stores `call` among the dead letters, with the time, then lets this copy go.

        Args:
            call: what is lent, after one more failed attempt if one was made.
            reason: why it is not attempted again.

        Raises:
            QueueUnavailable: as for retry.
        """


@dataclass(frozen=True, slots=True)
class Kept:
    """How a queue has a call.

    Attributes:
        attempts: how many were made.
        last_error: what the last of them gave.
        due: when the next one is, Unix seconds; 0 for as soon as it has its turn.
        died_at: Unix seconds; None for an open one.
        reason: why it is dead, a sentence; empty for an open one.
    """

    attempts: int
    last_error: str
    due: float = 0.0
    died_at: float | None = None
    reason: str = ""


class Queue(Protocol):
    """A durable queue of calls."""

    def start(self, on_failure: Callable[[MspcError], None]) -> None:
        """Opens the store; returns when calls can be put, or soon if a broker is away.

        Args:
            on_failure: called, at most once, when the queue cannot go on and somebody
                must look: ConfigError (the broker refuses our settings) or QueueFailed.

        Raises:
            ConfigError: the store cannot be opened as configured.
        """

    def put(self, call: Call, delay: float = 0.0) -> None:
        """Returns when the call survives a crash of this process and of the broker.

        Args:
            call: as it was accepted.
            delay: seconds until it is due. A queue may not know how to let a new call
                wait; then it is delivered at once, without Call.waited.

        Raises:
            QueueUnavailable: it could not be stored, or nobody knows.
        """

    def deliveries(self) -> Iterator[Delivery]:
        """Yields calls as they become due; reconnects by itself; ends on cancel().

        For one greenlet only. Only those come that the lanes admit; who has taken one
        says lanes.ended() when the attempt is over. Calls of a lane come roughly in the
        order of their due times; no order is promised. What a lane does not admit is
        set aside: it is in no other call's way, and its attempts are not counted.
        """

    def cancel(self) -> None:
        """Ends deliveries(). What is lent out can still be settled, until close()."""

    def close(self) -> None:
        """Flushes what was settled and lets the store go. May be called twice."""

    looks_up: bool
    """Whether it can find a call by its id, wherever it waits: see payloads()."""

    def withdraw(self, ids: Sequence[str]) -> list[str]:
        """Takes open calls out for good; those that are lent out stay.

        A queue that cannot look them up lets each of them go when it comes, as long as
        the process lives, see cancelled(): tell it again after a start. To it all
        are reached.

        Returns:
            The ids that were reached.

        Raises:
            QueueUnavailable: nothing was done, or nobody knows.
        """

    def cancelled(self, when: Mapping[str, float]) -> None:
        """Tells a queue that cannot look them up of calls that were withdrawn, here or
        elsewhere. Never waits.

        It lets each go when it comes, unless it was revived later than that: it had
        been in flight, died, and somebody makes it again, on another instance perhaps.

        Args:
            when: for each id, Unix seconds; the oldest first, which is forgotten first.
        """

    def hurry(self, ids: Sequence[str]) -> list[str]:
        """Makes calls that wait due now; reaches none where none can be looked up.

        Returns, raises: as for withdraw().
        """

    def postpone(self, ids: Sequence[str], delay: float) -> list[str]:
        """Makes calls that wait due in `delay` seconds, whether that is later or sooner
        than they were; reaches none where none can be looked up.

        Returns, raises: as for withdraw().
        """

    def revive(self, ids: Sequence[str], delay: float = 0.0) -> list[str]:
        """Dead letters become calls again, attempts 0; new copy first.

        They are due in `delay` seconds, and their age begins then: that is their
        Call.accepted_at.

        Returns, raises: as for withdraw(). Also raised after some were reached; asking
        again is safe: what is no dead letter any more is not reached.
        """

    def forget(self, ids: Sequence[str]) -> list[str]:
        """Deletes dead letters.

        Returns, raises: as for revive().
        """

    def payloads(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Ids, and what the client sent, of those of these calls that are open or dead,
        in that order; read as they are asked for. None where none can be looked up.

        Raises:
            QueueUnavailable: they cannot be read.
        """

    def recent(self, since: float) -> Iterator[list[tuple[Call, Kept | None]]]:
        """Open calls that were accepted since then, with None, and dead letters that
        died since then, some at a time; read as they are asked for. None where none can
        be looked up.

        Args:
            since: Unix seconds, as the ids of open ones tell it; 0 for all of them.

        Raises:
            QueueUnavailable: they cannot be read.
        """

    def kept(self, ids: Sequence[str]) -> Mapping[str, Kept]:
        """Those of these calls that it has, open or dead, by their ids. None of them
        where none can be looked up.

        Raises:
            QueueUnavailable: nobody knows.
        """

    def connected(self) -> bool | None:
        """Whether the broker is there; None for a queue without one."""

    def spooled(self) -> int | None:
        """Calls that wait for the broker to take them; None where none can."""

    def problem(self) -> str | None:
        """Why calls cannot be stored or delivered at the moment; None when they can."""

    def remark(self) -> str | None:
        """What somebody who looks should know although nothing is wrong."""


def unread(call: Call) -> str:
    """Whom a call goes to, for a queue without lanes."""
    return ""
