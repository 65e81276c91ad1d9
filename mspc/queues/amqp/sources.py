"""A queue of the broker that is consumed, and how much its consumers may hold."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is held, delivered and not settled.

    Attributes:
        main: calls of the main queue.
        calls: calls of all queues.
        bytes: of their payloads; one call alone may be larger.
    """

    main: int
    calls: int
    bytes: int


@dataclass(slots=True, eq=False)
class Source:
    """A queue that is consumed.

    Attributes:
        level: of a retry queue; None for others.
        aside: whether it is for calls that were set aside: it gets no more deliveries
            than it is told to, for what comes may be of no use.
        first: how many deliveries it may have ahead at first.
        most: and at most.
        cap: and at most while its calls are large.
        large: the size of a call for which there was no room, in bytes.
        consumers: those that are not cancelled.
        window: what these may hold together.
        held: deliveries that came of it and are not settled.
        paused: whether it is left alone until its calls are due, or wanted.
    """

    name: str
    level: int | None
    first: int
    most: int
    cap: int
    large: int = 0
    consumers: list["Consumer"] = field(default_factory=list)
    window: int = 0
    held: int = 0
    paused: bool = False
    aside: bool = False

    @property
    def main(self) -> bool:
        """Whether what comes of it is for now."""
        return self.level is None and not self.aside

    @property
    def full(self) -> bool:
        """Whether nothing more comes until something is settled."""
        if not self.consumers:
            return False
        return all(one.held >= one.prefetch for one in self.consumers)

    @property
    def free(self) -> int:
        """How many more deliveries it may have ahead."""
        return max(0, min(self.most, self.cap) - self.held)


@dataclass(slots=True, eq=False)
class Consumer:
    """One of the consumers of a queue.

    Attributes:
        held: deliveries that came for it and are not settled.
        live: whether it is not cancelled.
    """

    tag: str
    source: Source
    prefetch: int
    held: int = 0
    live: bool = True
