"""The journal that JOURNAL 0 gives: it remembers nothing, and says so."""

from collections.abc import Callable, Sequence
from typing import NoReturn

from gevent.event import Event as Flag

from mspc.errors import JournalUnavailable
from mspc.journal.base import EVERYTHING, Filter
from mspc.journal.events import Decided, Event


class NoJournal:
    """A LossyRecorder and a View, with the start and stop of a Journal."""

    body_bytes = 0
    on = False
    scope = "instance"
    dropped = 0

    def __init__(self) -> None:
        self.to_make_up = Flag()  # never

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def problem(self) -> None: ...

    def record(self, event: Event) -> None: ...

    def listen(self, callback: Callable[[Decided], None]) -> None: ...

    def last_at(self) -> NoReturn:
        raise _off()

    def cut_off(self) -> NoReturn:
        raise _off()

    def completed(self) -> None: ...

    def knows_nothing(self) -> None: ...

    def incomplete(self) -> None: ...

    def call(self, call_id: str) -> NoReturn:
        raise _off()

    def attempts(self, call_id: str) -> NoReturn:
        raise _off()

    def calls(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> NoReturn:
        raise _off()

    def looks(
        self, wanted: Filter = EVERYTHING, after: int | None = None, limit: int = 100
    ) -> NoReturn:
        raise _off()

    def count(self, wanted: Filter, after: int | None = None) -> NoReturn:
        raise _off()

    def groups(self) -> NoReturn:
        raise _off()

    def destinations(
        self, most: int | None = None, names: Sequence[str] = ()
    ) -> NoReturn:
        raise _off()

    def tally(self) -> NoReturn:
        raise _off()

    def summary(self) -> NoReturn:
        raise _off()

    def decisions(
        self, target: str = "", kinds: Sequence[str] = (), limit: int = 100
    ) -> NoReturn:
        raise _off()


def _off() -> JournalUnavailable:
    return JournalUnavailable(
        "The journal is off: JOURNAL is 0. With JOURNAL 1 it remembers what becomes of"
        " each call from then on.",
        off=True,
    )
