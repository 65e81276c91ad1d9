"""A journal that keeps what it is told."""

from mspc.journal.events import Event


class Recorded:
    """A Recorder in memory."""

    def __init__(self, *, on: bool = True, body_bytes: int = 4096) -> None:
        self.on = on
        self.body_bytes = body_bytes
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        assert self.on, "nobody listens: the event was made for nothing"
        self.events.append(event)
