"""Events that were not written down since the start, and what is to be made up for."""

from gevent.event import Event as Flag


class Losses:
    """
    Attributes:
        dropped: how many.
        since: when the last event happened that was written before the first of those
            that nobody has made up for, Unix seconds; None while nothing is missing.
        latest: when the last event happened that was written, the same; 0 for none.
        to_make_up: set when something is missing, and there is room for it again.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.since: float | None = None
        self.latest = 0.0
        self.to_make_up = Flag()

    def __bool__(self) -> bool:
        """Whether something is missing of which nobody can be told yet."""
        return self.since is not None

    def add(self, count: int = 1) -> None:
        if count:
            self.dropped += count
            if self.since is None:
                self.since = self.latest

    def wrote(self, last_at: float) -> None:
        self.latest = max(self.latest, last_at)

    def everything(self) -> None:
        """A new file has nothing of what was in the one before."""
        self.since = self.latest = 0.0
