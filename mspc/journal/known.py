"""What is known without a look at the file, and who is told what was decided."""

from collections.abc import Callable, Iterable

from mspc.journal.changes import Changes
from mspc.journal.counters import Counters
from mspc.journal.events import Decided, Event


class Known:
    """For one greenlet.

    Attributes:
        counters: of what is written.
        changes: how often the file has changed.
    """

    def __init__(self) -> None:
        self.counters = Counters()
        self.changes = 0
        self._listeners: list[Callable[[Decided], None]] = []

    def begin(self, counters: Counters) -> None:
        """With a file that has these calls."""
        self.counters = counters
        self.changes += 1

    def apply(self, changes: Changes) -> None:
        """They were written."""
        self.changes += 1
        self.counters.apply(changes)
        self.tell(changes.decided)

    def listen(self, callback: Callable[[Decided], None]) -> None:
        self._listeners.append(callback)

    def tell(self, events: Iterable[Event]) -> None:
        """Whoever listens is told the decisions among them."""
        for event in events:
            if isinstance(event, Decided):
                for listener in self._listeners:
                    listener(event)
