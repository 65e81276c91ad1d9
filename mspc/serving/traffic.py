"""What the connections of a server share."""

from dataclasses import dataclass, field
from typing import Protocol

from mspc.serving.limits import Limits
from mspc.serving.lingering import Lingering
from mspc.serving.room import Room


class Open(Protocol):
    """A connection that is open.

    Attributes:
        deadline: when to give up what is being waited for, by the monotonic clock.
        waiting: nothing has come yet of a next request.
    """

    deadline: float
    waiting: bool

    def drain(self) -> None:
        """Ends it unless a request has begun to come."""

    def cut(self) -> None:
        """Makes whatever waits for the client fail at once."""

    @property
    def idle(self) -> bool:
        """Whether others may have its place: nothing has come for a while."""


@dataclass(slots=True)
class Traffic:
    """
    Attributes:
        limits: what a client may take.
        kept: the header lines of an answer after which the connection is kept.
        room: for large bodies.
        lingering: those that are closed soon.
        open: all connections.
        draining: whether each ends after the request it is in.
    """

    limits: Limits
    kept: bytes
    room: Room
    lingering: Lingering = field(default_factory=Lingering)
    open: set[Open] = field(default_factory=set)
    draining: bool = False
